//! A part of the cluster: what concerns a few units. Whoever asks about one of ten thousand need not
//! read them all.
//!
//! Read are the units themselves, the desired values of all machines (those that name none of the
//! units are dropped at once), and what the machines that are left observe. A unit's own keys are
//! read again whenever a desired value that concerns it changes: nothing happens to a unit without.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::keys::{self, Desired, State};
use super::machine::MachineId;
use super::model::{Feed, Model};
use super::name::UnitName;
use super::standing::Places;
use super::text::Digest;
use crate::store::{Batch, Entry, Error, Event, Revision, Store, Watch, WatchEnd, read_all};

/// For more units than this, all is read: that is fewer requests.
const FEW: usize = 16;
/// So many texts are read one by one; of more, all.
const FEW_TEXTS: usize = 256;

/// A model of what concerns some units, kept right by watches.
#[derive(Debug)]
pub enum View<S> {
    All(Box<Feed>),
    Part(Box<Part<S>>),
}

impl<S: Store> View<S> {
    pub async fn open(store: &S, names: &[UnitName]) -> Result<View<S>, Error> {
        Ok(match names.len() {
            0..=FEW => View::Part(Box::new(Part::open(store, names).await?)),
            _ => View::All(Box::new(Feed::open(store).await?)),
        })
    }

    pub fn model(&self) -> &Model {
        match self {
            View::All(feed) => &feed.model,
            View::Part(part) => &part.model,
        }
    }

    /// Waits for the next change. Given up while it takes one in, the model is of no moment, and the
    /// next call says that the view has to be opened anew.
    pub async fn advance(&mut self) -> Result<(), WatchEnd> {
        match self {
            View::All(feed) => feed.advance().await,
            View::Part(part) => part.advance().await,
        }
    }
}

#[derive(Debug)]
pub struct Part<S> {
    pub model: Model,
    store: S,
    names: Vec<UnitName>,
    desired: Watch,
    /// What the machines that have to do with the units say.
    machines: BTreeMap<MachineId, Vec<Watch>>,
    taking: Taking,
}

/// Of what the leader said: it is not whole before all that it names is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    Done,
    Begun,
}

/// As much of the cluster as the units are concerned by, now.
pub async fn part(store: &impl Store, names: &[UnitName]) -> Result<Model, Error> {
    let (mut model, _) = desired(store, names).await?;
    read_units(store, names, &mut model).await?;
    let machines: Vec<MachineId> = model.desired.keys().cloned().collect();
    for id in &machines {
        read_machine(store, id, &mut model).await?;
    }
    Ok(model)
}

/// What lies under some prefixes only, all of it of one moment.
pub async fn under(store: &impl Store, prefixes: &[&str]) -> Result<Model, Error> {
    let mut model = Model::default();
    let mut at = None;
    for prefix in prefixes {
        let mut page = store.list(prefix, None, at).await?;
        let revision = *at.get_or_insert(page.revision);
        loop {
            let (more, last) = (page.more, page.entries.last());
            let after = last.map(|entry| entry.key.clone()).filter(|_| more);
            put(&mut model, revision, page.entries.into_iter());
            let Some(after) = after else { break };
            page = store.list(prefix, Some(&after), at).await?;
        }
    }
    Ok(model)
}

/// What tells of every unit where it is, without the texts.
const PLACES: [&str; 5] = [
    keys::UNITS,
    keys::MACHINES,
    keys::DESIRED,
    keys::OBSERVED,
    keys::DONE,
];

/// Where all units are, with the texts that decide about that: of templates, which may have
/// replicas, and of units that are nowhere, which may wait for their time.
pub async fn overview(store: &impl Store) -> Result<Model, Error> {
    let mut model = under(store, &PLACES).await?;
    let digests: BTreeSet<Digest> = {
        let places = Places::of(&model);
        let units = model.units.iter().filter(|(name, at)| {
            let waits = at.value.state == State::Launched && places.holders(name).is_empty();
            name.is_template() || waits
        });
        units.map(|(_, at)| at.value.digest.clone()).collect()
    };
    read_texts(store, &digests, &mut model).await?;
    Ok(model)
}

/// What machines say of all units, for a table of them.
pub async fn seen(store: &impl Store) -> Result<Model, Error> {
    let prefixes = [keys::UNITS, keys::MACHINES, keys::OBSERVED, keys::DONE];
    let mut model = under(store, &prefixes).await?;
    let templates = model.units.iter().filter(|(name, _)| name.is_template());
    let digests = templates.map(|(_, at)| at.value.digest.clone()).collect();
    read_texts(store, &digests, &mut model).await?;
    Ok(model)
}

/// Some of the units with their texts, and where they are: those that the choice picks from the
/// names of all, in their order.
pub async fn some(
    store: &impl Store,
    choose: impl FnOnce(&Model) -> Vec<UnitName>,
) -> Result<(Model, Vec<UnitName>), Error> {
    let mut model = under(store, &PLACES).await?;
    let chosen = choose(&model);
    let digest = |name| Some(model.units.get(name)?.value.digest.clone());
    let digests = chosen.iter().filter_map(digest).collect();
    read_texts(store, &digests, &mut model).await?;
    Ok((model, chosen))
}

/// A machine with what it is to hold and the texts of that.
pub async fn machine(store: &impl Store, id: &MachineId) -> Result<Model, Error> {
    let mut model = under(store, &[keys::machine(id).as_str()]).await?;
    for key in [keys::tags(id), keys::desired(id)] {
        read_into(store, key, &mut model).await?;
    }
    let held = model.desired.get(id).map(|at| at.value.units.values());
    let digests = held.into_iter().flatten().map(|held| held.digest.clone());
    read_texts(store, &digests.collect(), &mut model).await?;
    Ok(model)
}

/// All at once if they are few; more come with less work in a list of all.
async fn read_texts(
    store: &impl Store,
    digests: &BTreeSet<Digest>,
    model: &mut Model,
) -> Result<(), Error> {
    if digests.len() > FEW_TEXTS {
        let all = read_all(store, keys::TEXTS).await?;
        put(model, model.revision, all.entries.into_iter());
        return Ok(());
    }
    let reads = digests
        .iter()
        .map(|digest| async move { store.read(&keys::text(digest)).await });
    for found in all(reads).await {
        put(model, model.revision, found?.into_iter());
    }
    Ok(())
}

/// Answers in the order of the questions, which are asked together.
async fn all<T>(questions: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut open: Vec<_> = questions
        .map(|question| (Box::pin(question), None))
        .collect();
    let answered = poll_fn(|context| {
        let mut waits = false;
        for (question, answer) in &mut open {
            if answer.is_none() {
                match question.as_mut().poll(context) {
                    Poll::Ready(found) => *answer = Some(found),
                    Poll::Pending => waits = true,
                }
            }
        }
        match waits {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    });
    pin!(answered).await;
    open.into_iter().filter_map(|(_, answer)| answer).collect()
}

async fn desired(store: &impl Store, names: &[UnitName]) -> Result<(Model, Revision), Error> {
    let listing = read_all(store, keys::DESIRED).await?;
    let mut model = Model::default();
    let entries = listing.entries.into_iter();
    let concerning = entries.filter(|entry| concerns(entry, names));
    put(&mut model, listing.revision, concerning);
    Ok((model, listing.revision))
}

/// Whether the desired value names one of the units, or an instance of a template among them.
fn concerns(entry: &Entry, names: &[UnitName]) -> bool {
    // Most values name none of them, and are not worth understanding.
    let text = String::from_utf8_lossy(&entry.value);
    if !names.iter().any(|name| text.contains(name.prefix())) {
        return false;
    }
    let desired: Desired = serde_json::from_slice(&entry.value).unwrap_or_default();
    let mut all = desired.units.keys().chain(desired.releasing.keys());
    all.any(|held| {
        let is_asked = |name: &UnitName| held == name || held.template().as_ref() == Some(name);
        names.iter().any(is_asked)
    })
}

fn put(model: &mut Model, revision: Revision, entries: impl Iterator<Item = Entry>) {
    model.apply(&Batch {
        revision,
        events: entries.map(Event::Put).collect(),
    });
}

/// One key as it was at the model's revision: with the rest of it from another moment, a unit would
/// be told to be where it no longer is.
async fn read_into(store: &impl Store, key: String, model: &mut Model) -> Result<(), Error> {
    let revision = model.revision;
    let listing = store.list(&key, None, Some(revision)).await?;
    let found = listing.entries.into_iter().find(|entry| entry.key == key);
    let event = found.map_or(Event::Deleted { key }, Event::Put);
    let events = vec![event];
    model.apply(&Batch { revision, events });
    Ok(())
}

async fn read_units(
    store: &impl Store,
    names: &[UnitName],
    model: &mut Model,
) -> Result<(), Error> {
    for name in names {
        for key in [keys::unit(name), keys::done(name), keys::rollout(name)] {
            read_into(store, key, model).await?;
        }
        let digest = model.units.get(name).map(|at| at.value.digest.clone());
        if let Some(digest) = digest.filter(|digest| model.text(digest).is_none()) {
            read_into(store, keys::text(&digest), model).await?;
        }
    }
    Ok(())
}

async fn read_machine(store: &impl Store, id: &MachineId, model: &mut Model) -> Result<(), Error> {
    for key in [keys::machine(id), keys::observed(id)] {
        read_into(store, key, model).await?;
    }
    Ok(())
}

impl<S: Store> Part<S> {
    pub async fn open(store: &S, names: &[UnitName]) -> Result<Part<S>, Error> {
        let (mut model, revision) = desired(store, names).await?;
        read_units(store, names, &mut model).await?;
        let watch = store.watch(keys::DESIRED, revision + 1).await?;
        let found: Vec<MachineId> = model.desired.keys().cloned().collect();
        let mut part = Part {
            model,
            store: store.clone(),
            names: names.to_vec(),
            desired: watch,
            machines: BTreeMap::new(),
            taking: Taking::Done,
        };
        for id in found {
            part.follow(id, revision).await?;
        }
        Ok(part)
    }

    async fn follow(&mut self, id: MachineId, revision: Revision) -> Result<(), Error> {
        read_machine(&self.store, &id, &mut self.model).await?;
        let mut watches = Vec::new();
        for key in [keys::machine(&id), keys::observed(&id)] {
            // What was read already comes again, and changes nothing then.
            watches.push(self.store.watch(&key, revision + 1).await?);
        }
        self.machines.insert(id, watches);
        Ok(())
    }

    /// Waits for the next change that concerns the units.
    pub async fn advance(&mut self) -> Result<(), WatchEnd> {
        if self.taking == Taking::Begun {
            let why = "a change was not read to its end";
            return Err(WatchEnd::Lost(why.to_string()));
        }
        loop {
            match self.next().await {
                From::Machine(batch) => {
                    self.model.apply(&batch?);
                    return Ok(());
                }
                From::Leader(batch) => {
                    if self.take(batch?).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn next(&mut self) -> From {
        std::future::poll_fn(|context| {
            if let Poll::Ready(batch) = self.desired.poll(context) {
                return Poll::Ready(From::Leader(batch));
            }
            for watch in self.machines.values_mut().flatten() {
                if let Poll::Ready(batch) = watch.poll(context) {
                    return Poll::Ready(From::Machine(batch));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Whether any of it concerns the units.
    async fn take(&mut self, batch: Batch) -> Result<bool, WatchEnd> {
        let mut new: BTreeSet<MachineId> = BTreeSet::new();
        let mut events = Vec::new();
        for event in batch.events {
            let (Event::Put(Entry { key, .. }) | Event::Deleted { key }) = &event;
            let Ok(id) = key[keys::DESIRED.len()..].parse::<MachineId>() else {
                continue;
            };
            let is_known = self.machines.contains_key(&id);
            let named = matches!(&event, Event::Put(entry) if concerns(entry, &self.names));
            if named && !is_known {
                new.insert(id);
            }
            if named || is_known {
                events.push(event);
            }
        }
        if events.is_empty() {
            return Ok(false);
        }
        let revision = batch.revision;
        self.taking = Taking::Begun;
        self.model.apply(&Batch { revision, events });
        self.read_again(new, revision)
            .await
            .map_err(|error| WatchEnd::Lost(error.to_string()))?;
        self.taking = Taking::Done;
        Ok(true)
    }

    async fn read_again(
        &mut self,
        new: BTreeSet<MachineId>,
        revision: Revision,
    ) -> Result<(), Error> {
        for id in new {
            self.follow(id, revision).await?;
        }
        read_units(&self.store, &self.names, &mut self.model).await
    }
}

enum From {
    Leader(Result<Batch, WatchEnd>),
    Machine(Result<Batch, WatchEnd>),
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;

//! What all machines tell of their units, from the store, and what this one tells them.
//!
//! What was heard holds until something else is heard: a store that does not answer changes nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::place::{Places, key, prefix};
use super::status::Report;
use super::zone::Zone;
use crate::scheduler::keys;
use crate::scheduler::machine::MachineId;
use crate::store::{
    Batch, Compare, Entry, Event, Lease, Outcome, Store, Transaction, Write, read_all,
};

/// Between two writes of this machine's own value.
const QUIET: Duration = Duration::from_millis(200);
/// After an error, and while this machine is not registered.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Follower<S> {
    pub store: S,
    pub id: MachineId,
    pub cluster: String,
    /// What this machine has to tell.
    pub own: watch::Receiver<Option<Places>>,
    pub zone: watch::Sender<Arc<Zone>>,
    pub report: Rc<RefCell<Report>>,
}

/// What the store has of this machine.
#[derive(Debug, Default, PartialEq)]
struct Stored {
    places: Option<Places>,
    lease: Option<Lease>,
    /// The lease it has to be under: the machine's own, since the registration's revision.
    registered: Option<(Lease, i64)>,
}

impl Stored {
    fn is_right(&self, own: Option<&Places>) -> bool {
        let lease = self.registered.map(|(lease, _)| lease);
        own.is_none() || (self.places.as_ref() == own && self.lease == lease)
    }
}

impl<S: Store> Follower<S> {
    /// Never ends.
    pub async fn run(mut self) -> ! {
        let mut machines = self.report.borrow().machines().clone();
        self.publish(&machines);
        loop {
            let error = self.session(&mut machines).await.err();
            let problem = error.map(|error| format!("{error:#}"));
            self.report.borrow_mut().problem("store", problem);
            let until = Instant::now() + AGAIN;
            // What runs here is known here also without the store.
            while let Ok(Ok(())) = timeout_at(until, self.own.changed()).await {
                self.publish(&machines);
            }
            sleep_until(until).await;
        }
    }

    fn publish(&mut self, machines: &BTreeMap<MachineId, Places>) {
        let mut machines = machines.clone();
        if let Some(own) = self.own.borrow_and_update().clone() {
            machines.insert(self.id.clone(), own);
        }
        let zone = Zone::new(&self.cluster, machines.values());
        self.zone.send_if_modified(|before| {
            let is_news = **before != zone;
            if is_news {
                *before = Arc::new(zone);
            }
            is_news
        });
        self.report.borrow_mut().tell(machines);
    }

    /// From one reading of all to the loss of a watch.
    async fn session(&mut self, machines: &mut BTreeMap<MachineId, Places>) -> Result<()> {
        let listing = read_all(&self.store, &prefix()).await?;
        let registration = keys::machine(&self.id);
        let registered = self.store.read(&registration).await?;
        let from = listing.revision + 1;
        let mut places = self.store.watch(&prefix(), from).await?;
        let mut registrations = self.store.watch(&registration, from).await?;
        let mut stored = Stored {
            registered: registered.as_ref().and_then(registered_under),
            ..Stored::default()
        };
        *machines = BTreeMap::new();
        for entry in listing.entries {
            self.take_in(machines, &mut stored, Event::Put(entry));
        }
        self.report.borrow_mut().problem("store", None);
        let mut due = Instant::now();
        loop {
            self.publish(machines);
            let own = self.own.borrow().clone();
            let owes = stored.registered.is_some() && !stored.is_right(own.as_ref());
            tokio::select! {
                batch = places.next() => {
                    for event in batch?.events {
                        self.take_in(machines, &mut stored, event);
                    }
                }
                batch = registrations.next() => stored.registered = last(batch?, &registration)
                    .unwrap_or(stored.registered),
                changed = self.own.changed() => changed?,
                () = sleep_until(due), if owes => {
                    due = Instant::now() + match self.write(&stored, own).await? {
                        Outcome::Done(_) => QUIET,
                        Outcome::Refused => AGAIN,
                    };
                }
            }
        }
    }

    /// What cannot be understood counts as nothing: a newer version may have written it.
    fn take_in(
        &self,
        machines: &mut BTreeMap<MachineId, Places>,
        stored: &mut Stored,
        event: Event,
    ) {
        let (name, entry) = match event {
            Event::Put(entry) => (entry.key.clone(), Some(entry)),
            Event::Deleted { key } => (key, None),
        };
        let id = name
            .strip_prefix(&prefix())
            .and_then(|id| id.parse::<MachineId>().ok());
        let Some(id) = id else {
            return;
        };
        let places = entry
            .as_ref()
            .and_then(|entry| serde_json::from_slice(&entry.value).ok());
        if id == self.id {
            stored.places = places.clone();
            stored.lease = entry.and_then(|entry| entry.lease);
        }
        match places {
            Some(places) => machines.insert(id, places),
            None => machines.remove(&id),
        };
    }

    /// Only while the registration is the one that was seen: so the value ends with it.
    async fn write(&self, stored: &Stored, own: Option<Places>) -> Result<Outcome> {
        let (Some((lease, created)), Some(own)) = (stored.registered, own) else {
            return Ok(Outcome::Refused);
        };
        let transaction = Transaction {
            compares: vec![Compare::Created(keys::machine(&self.id), created)],
            writes: vec![Write::Put {
                key: key(&self.id),
                value: serde_json::to_vec(&own)?,
                lease: Some(lease),
            }],
        };
        Ok(self.store.commit(&transaction).await?)
    }
}

fn registered_under(entry: &Entry) -> Option<(Lease, i64)> {
    Some((entry.lease?, entry.created))
}

/// What became of the key at last; nothing when it is not among the events.
fn last(batch: Batch, key: &str) -> Option<Option<(Lease, i64)>> {
    let of_key = |event| match event {
        Event::Put(entry) if entry.key == key => Some(registered_under(&entry)),
        Event::Deleted { key: gone } if gone == key => Some(None),
        _ => None,
    };
    batch.events.into_iter().filter_map(of_key).next_back()
}

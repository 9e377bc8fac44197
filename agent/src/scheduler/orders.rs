//! What users order: each order is one transaction, checked before and refused as a whole when
//! somebody else was faster.

use std::collections::{BTreeMap, BTreeSet};

use super::clock;
use super::keys::{self, Move, Policy, State, Tags, Unit};
use super::machine::{Duty, MachineId};
use super::name::UnitName;
use super::requirement::Requirements;
use super::target::Target;
use super::text::{Digest, Problem, Text};
use crate::store::{Compare, MAX_OPERATIONS, Outcome, Revision, Store, Transaction, Write};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not known to the cluster")]
    NoUnit(UnitName),
    #[error("{0} is a template: start an instance of it, or give it Replicas=")]
    Template(UnitName),
    #[error("{unit} is there with another content ({})", known.short())]
    Different { unit: UnitName, known: Digest },
    #[error("{unit} and {other}, which is known, are one unit to systemd: destroy that one first")]
    Twin { unit: UnitName, other: UnitName },
    #[error(
        "{unit} would follow itself and never be placed: {follower}, which is known, follows it"
    )]
    Ring { unit: UnitName, follower: UnitName },
    #[error("{0} was changed by somebody else at the same moment: look and try again")]
    Changed(String),
    #[error("{unit} cannot be scheduled:{}", lines(problems))]
    Wrong {
        unit: UnitName,
        problems: Vec<Problem>,
    },
    #[error("what the store holds under {0} is not understood")]
    Garbled(String),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("\n  {p}")).collect()
}

/// What becomes of a unit that is known with another content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Refuse,
    Replace,
}

/// Makes the unit known, or gives it a new content; an unchanged one is left as it is.
pub async fn submit(
    store: &impl Store,
    name: &UnitName,
    text: &Text,
    known: Known,
) -> Result<Outcome, Error> {
    refuse_ring(store, name, &check(name, text)?).await?;
    let digest = text.digest();
    let (state, run, modified) = match read(store, name).await? {
        Some((unit, _)) if unit.digest == digest => return Ok(Outcome::Refused),
        Some((unit, _)) if known == Known::Refuse => {
            return Err(Error::Different {
                unit: name.clone(),
                known: unit.digest,
            });
        }
        Some((unit, modified)) => (unit.state, unit.run, modified),
        None => (State::Inactive, 0, 0),
    };
    let unit = Unit {
        digest: digest.clone(),
        state,
        run,
    };
    let writes = vec![put_text(&digest, text), put(name, &unit)];
    make_known(store, name, modified, writes).await
}

/// What an order changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    Content,
    State,
    Nothing,
}

/// Content and state in one transaction, whatever they were before.
pub async fn set(
    store: &impl Store,
    name: &UnitName,
    text: &Text,
    state: State,
) -> Result<Changed, Error> {
    refuse_ring(store, name, &check(name, text)?).await?;
    refuse_bare_template(name, text, state)?;
    let digest = text.digest();
    // Most units that come with their options are new: those take one request.
    let new = Unit {
        digest: digest.clone(),
        state,
        run: run_of(None, state),
    };
    let writes = vec![put_text(&digest, text), put(name, &new)];
    match make_known(store, name, 0, writes).await {
        Ok(_) => return Ok(Changed::Content),
        Err(Error::Changed(_)) => {}
        Err(error) => return Err(error),
    }
    let found = read(store, name).await?;
    let modified = found.as_ref().map_or(0, |(_, modified)| *modified);
    let changed = match &found {
        Some((unit, _)) if unit.digest != digest => Changed::Content,
        Some((unit, _)) if unit.state != state => Changed::State,
        Some(_) => return Ok(Changed::Nothing),
        None => Changed::Content,
    };
    let mut writes = Vec::new();
    if changed == Changed::Content {
        writes.push(put_text(&digest, text));
    }
    let former = found.map(|(unit, _)| unit);
    let run = run_of(former.as_ref(), state);
    writes.push(put(name, &Unit { digest, state, run }));
    make_known(store, name, modified, writes).await?;
    Ok(changed)
}

/// Writes the unit unless another one is known that is the same to systemd.
async fn make_known(
    store: &impl Store,
    name: &UnitName,
    modified: Revision,
    writes: Vec<Write>,
) -> Result<Outcome, Error> {
    let key = keys::unit(name);
    let Some(other) = name.twin() else {
        return change(store, &key, modified, writes).await;
    };
    let twin = keys::unit(&other);
    let transaction = Transaction {
        compares: vec![
            Compare::Modified(key.clone(), modified),
            Compare::Modified(twin.clone(), 0),
        ],
        writes,
    };
    match commit(store, &key, &transaction).await {
        Err(Error::Changed(_)) if store.read(&twin).await?.is_some() => Err(Error::Twin {
            unit: name.clone(),
            other,
        }),
        done => done,
    }
}

fn check(name: &UnitName, text: &Text) -> Result<Requirements, Error> {
    Requirements::read(name, text).map_err(|problems| Error::Wrong {
        unit: name.clone(),
        problems,
    })
}

/// Units that follow each other in a ring wait for each other for ever. A ring that two users close
/// in the same moment is not found here; `explain` tells of it.
async fn refuse_ring(
    store: &impl Store,
    unit: &UnitName,
    wanted: &Requirements,
) -> Result<(), Error> {
    let targets = |follower: &UnitName, wanted: &Requirements| {
        let units = wanted.machine_of.iter().filter_map(Target::unit);
        let pairs = units.map(|target| (target.clone(), follower.clone()));
        pairs.collect::<Vec<_>>()
    };
    let mut open = targets(unit, wanted);
    let mut met = BTreeSet::new();
    while let Some((target, follower)) = open.pop() {
        if target == *unit {
            let unit = unit.clone();
            return Err(Error::Ring { unit, follower });
        }
        if !met.insert(target.clone()) {
            continue;
        }
        match self::text(store, &target).await {
            Ok(text) => {
                let wanted = Requirements::read(&target, &text).unwrap_or_default();
                open.extend(targets(&target, &wanted));
            }
            Err(Error::NoUnit(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A template is started only with its replicas.
fn refuse_bare_template(name: &UnitName, text: &Text, state: State) -> Result<(), Error> {
    if !name.is_template() || state == State::Inactive {
        return Ok(());
    }
    match Requirements::read(name, text) {
        Ok(requirements) if requirements.replicas.count > 0 => Ok(()),
        _ => Err(Error::Template(name.clone())),
    }
}

/// A start is a new run, also when it is the second within a millisecond.
fn run_of(former: Option<&Unit>, state: State) -> u64 {
    match former {
        Some(former) if former.state == state || state != State::Launched => former.run,
        None if state != State::Launched => 0,
        _ => clock::now().max(former.map_or(0, |former| former.run) + 1),
    }
}

/// Says what is to become of a known unit.
pub async fn set_state(
    store: &impl Store,
    name: &UnitName,
    state: State,
) -> Result<Outcome, Error> {
    if name.is_template() && state != State::Inactive {
        refuse_bare_template(name, &self::text(store, name).await?, state)?;
    }
    let found = read(store, name).await?;
    let (mut unit, modified) = found.ok_or_else(|| Error::NoUnit(name.clone()))?;
    if unit.state == state {
        return Ok(Outcome::Refused);
    }
    unit.run = run_of(Some(&unit), state);
    unit.state = state;
    change(store, &keys::unit(name), modified, vec![put(name, &unit)]).await
}

/// Takes the unit from its machine and forgets it. Its text goes when nobody uses it any more.
pub async fn destroy(store: &impl Store, name: &UnitName) -> Result<Outcome, Error> {
    let key = keys::unit(name);
    let found = read(store, name).await?;
    let (_, modified) = found.ok_or_else(|| Error::NoUnit(name.clone()))?;
    let writes = [key.clone(), keys::done(name)].map(|key| Write::Delete { key });
    change(store, &key, modified, writes.into()).await
}

/// The text of a known unit.
pub async fn text(store: &impl Store, name: &UnitName) -> Result<Text, Error> {
    let found = read(store, name).await?;
    let (unit, _) = found.ok_or_else(|| Error::NoUnit(name.clone()))?;
    let key = keys::text(&unit.digest);
    let entry = store.read(&key).await?;
    let text = entry.and_then(|entry| String::from_utf8(entry.value).ok());
    let text = text.and_then(|text| Text::parse(&text).ok());
    text.ok_or(Error::Garbled(key))
}

/// What to change about a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tagging {
    /// Nothing as a value hides the key.
    pub metadata: BTreeMap<String, Option<String>>,
    pub duty: Option<Duty>,
}

pub async fn tag(store: &impl Store, id: &MachineId, tagging: Tagging) -> Result<Outcome, Error> {
    let (before, modified) = read_tags(store, id).await?;
    let mut tags = before.clone();
    tags.metadata.extend(tagging.metadata);
    if let Some(duty) = tagging.duty {
        // Whoever says this means a machine that is there.
        (tags.duty, tags.given_up) = (duty, false);
    }
    write_tags(store, id, (before, modified), tags).await
}

/// Says that a machine that is away does not come back: its units are moved, however many machines
/// are away.
pub async fn give_up(store: &impl Store, id: &MachineId) -> Result<Outcome, Error> {
    let (before, modified) = read_tags(store, id).await?;
    let tags = Tags {
        given_up: true,
        ..before.clone()
    };
    write_tags(store, id, (before, modified), tags).await
}

async fn read_tags(store: &impl Store, id: &MachineId) -> Result<(Tags, Revision), Error> {
    let key = keys::tags(id);
    let entry = store.read(&key).await?;
    let modified = entry.as_ref().map_or(0, |entry| entry.modified);
    let tags = match &entry {
        Some(entry) => serde_json::from_slice(&entry.value).map_err(|_| Error::Garbled(key))?,
        None => Tags::default(),
    };
    Ok((tags, modified))
}

async fn write_tags(
    store: &impl Store,
    id: &MachineId,
    (before, modified): (Tags, Revision),
    tags: Tags,
) -> Result<Outcome, Error> {
    let key = keys::tags(id);
    if tags == before {
        return Ok(Outcome::Refused);
    }
    let write = Write::Put {
        key: key.clone(),
        value: serde_json::to_vec(&tags).expect("a value of ours is JSON"),
        lease: None,
    };
    change(store, &key, modified, vec![write]).await
}

/// Asks the leader to move units. Those that are being moved already are left as they are.
pub async fn ask_to_move(store: &impl Store, moves: &[(UnitName, Move)]) -> Result<usize, Error> {
    let mut asked = 0;
    for part in moves.chunks(MAX_OPERATIONS) {
        let mut transaction = Transaction::default();
        for (name, wish) in part {
            let key = keys::movement(name);
            if store.read(&key).await?.is_none() {
                transaction.compares.push(Compare::Modified(key.clone(), 0));
                transaction.writes.push(Write::Put {
                    key,
                    value: serde_json::to_vec(wish).expect("a value of ours is JSON"),
                    lease: None,
                });
            }
        }
        if !transaction.writes.is_empty() {
            asked += transaction.writes.len();
            commit(store, keys::MOVES, &transaction).await?;
        }
    }
    Ok(asked)
}

/// Says how the leader is to move units by itself; nothing: not at all.
pub async fn set_policy(store: &impl Store, policy: Option<&Policy>) -> Result<Outcome, Error> {
    let key = keys::POLICY.to_string();
    let entry = store.read(&key).await?;
    let modified = entry.as_ref().map_or(0, |entry| entry.modified);
    let known = entry.map(|entry| serde_json::from_slice::<Policy>(&entry.value).ok());
    if known == policy.map(|policy| Some(*policy)) {
        return Ok(Outcome::Refused);
    }
    let write = match policy {
        Some(policy) => Write::Put {
            key: key.clone(),
            value: serde_json::to_vec(policy).expect("a value of ours is JSON"),
            lease: None,
        },
        None => Write::Delete { key: key.clone() },
    };
    change(store, &key, modified, vec![write]).await
}

async fn read(store: &impl Store, name: &UnitName) -> Result<Option<(Unit, Revision)>, Error> {
    let key = keys::unit(name);
    match store.read(&key).await? {
        None => Ok(None),
        Some(entry) => match serde_json::from_slice(&entry.value) {
            Ok(unit) => Ok(Some((unit, entry.modified))),
            Err(_) => Err(Error::Garbled(key)),
        },
    }
}

fn put(name: &UnitName, unit: &Unit) -> Write {
    Write::Put {
        key: keys::unit(name),
        value: serde_json::to_vec(unit).expect("a value of ours is JSON"),
        lease: None,
    }
}

fn put_text(digest: &Digest, text: &Text) -> Write {
    Write::Put {
        key: keys::text(digest),
        value: text.to_string().into_bytes(),
        lease: None,
    }
}

async fn change(
    store: &impl Store,
    key: &str,
    modified: Revision,
    writes: Vec<Write>,
) -> Result<Outcome, Error> {
    let transaction = Transaction {
        compares: vec![Compare::Modified(key.to_string(), modified)],
        writes,
    };
    commit(store, key, &transaction).await
}

async fn commit(
    store: &impl Store,
    key: &str,
    transaction: &Transaction,
) -> Result<Outcome, Error> {
    match store.commit(transaction).await? {
        Outcome::Done(revision) => Ok(Outcome::Done(revision)),
        Outcome::Refused => {
            let name = key.rsplit('/').next().unwrap_or(key);
            Err(Error::Changed(name.to_string()))
        }
    }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;

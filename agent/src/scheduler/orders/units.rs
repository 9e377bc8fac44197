//! Units: their content, what is to become of them, and their end.

use super::check::{check, refuse_bare_template, refuse_ring};
use super::{Error, change, commit};
use crate::scheduler::clock;
use crate::scheduler::keys::{self, State, Unit};
use crate::scheduler::name::UnitName;
use crate::scheduler::text::{Digest, Text};
use crate::store::{Compare, Outcome, Revision, Store, Transaction, Write};

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

pub(super) async fn read(
    store: &impl Store,
    name: &UnitName,
) -> Result<Option<(Unit, Revision)>, Error> {
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

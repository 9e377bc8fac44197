//! What users order: each order is one transaction, checked before and refused as a whole when
//! somebody else was faster.

use std::collections::BTreeMap;

use super::clock;
use super::keys::{self, Move, Policy, State, Tags, Unit};
use super::machine::{Duty, MachineId};
use super::name::UnitName;
use super::requirement::Requirements;
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
    check(name, text)?;
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
    check(name, text)?;
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

fn check(name: &UnitName, text: &Text) -> Result<(), Error> {
    let read = Requirements::read(name, text);
    read.map(drop).map_err(|problems| Error::Wrong {
        unit: name.clone(),
        problems,
    })
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
    let key = keys::tags(id);
    let entry = store.read(&key).await?;
    let modified = entry.as_ref().map_or(0, |entry| entry.modified);
    let before: Tags = match &entry {
        Some(entry) => {
            serde_json::from_slice(&entry.value).map_err(|_| Error::Garbled(key.clone()))?
        }
        None => Tags::default(),
    };
    let mut tags = before.clone();
    tags.metadata.extend(tagging.metadata);
    tags.duty = tagging.duty.unwrap_or(tags.duty);
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
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    fn unit(options: &str) -> Text {
        let text = format!("[Service]\nExecStart=/bin/true\n{options}");
        Text::parse(&text).expect("text")
    }

    #[tokio::test]
    async fn a_unit_is_submitted_started_replaced_and_destroyed() {
        let store = Memory::default();
        let name: UnitName = "a.service".parse().expect("name");
        let first = submit(&store, &name, &unit(""), Known::Refuse).await;
        assert!(matches!(first, Ok(Outcome::Done(_))));
        let again = submit(&store, &name, &unit("# a comment\n"), Known::Refuse).await;
        assert!(matches!(again, Ok(Outcome::Refused)));
        let started = set_state(&store, &name, State::Launched).await;
        assert!(matches!(started, Ok(Outcome::Done(_))));
        let other = unit("[X-Strake]\nMemory=1M\n");
        let error = submit(&store, &name, &other, Known::Refuse).await;
        assert!(matches!(error, Err(Error::Different { .. })));
        let replaced = submit(&store, &name, &other, Known::Replace).await;
        assert!(matches!(replaced, Ok(Outcome::Done(_))));
        assert_eq!(text(&store, &name).await.expect("text"), other);
        let (kept, _) = read(&store, &name).await.expect("unit").expect("unit");
        assert_eq!(kept.state, State::Launched);
        assert!(matches!(destroy(&store, &name).await, Ok(Outcome::Done(_))));
        let gone = set_state(&store, &name, State::Launched).await;
        assert_eq!(
            gone.expect_err("gone").to_string(),
            "a.service is not known to the cluster"
        );
    }

    #[tokio::test]
    async fn content_and_state_are_set_together() {
        let store = Memory::default();
        let name: UnitName = "a.service".parse().expect("name");
        let other = unit("[X-Strake]\nMemory=1M\n");
        for (text, state, expected) in [
            (&unit(""), State::Launched, Changed::Content),
            (&unit(""), State::Launched, Changed::Nothing),
            (&unit(""), State::Loaded, Changed::State),
            (&other, State::Launched, Changed::Content),
        ] {
            let changed = set(&store, &name, text, state).await.expect("set");
            assert_eq!(changed, expected);
            let (unit, _) = read(&store, &name).await.expect("unit").expect("unit");
            assert_eq!((unit.digest, unit.state), (text.digest(), state));
        }
        let template: UnitName = "a@.service".parse().expect("name");
        let refused = set(&store, &template, &other, State::Launched).await;
        assert!(matches!(refused, Err(Error::Template(_))));
        assert!(!store.holds(&keys::unit(&template)));
    }

    #[tokio::test]
    async fn what_is_refused_leaves_nothing_in_the_store() {
        let store = Memory::default();
        let name: UnitName = "a@.service".parse().expect("name");
        let wrong = unit("[X-Fleet]\nConflict=b\n");
        let error = submit(&store, &name, &wrong, Known::Replace).await;
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("line 4, column 1") && error.contains("did you mean Conflicts?"));
        assert!(!store.holds(&keys::unit(&name)) && !store.holds(&keys::text(&wrong.digest())));
        submit(&store, &name, &unit(""), Known::Refuse)
            .await
            .expect("a template");
        let error = set_state(&store, &name, State::Launched).await;
        assert!(matches!(error, Err(Error::Template(_))));
    }

    #[tokio::test]
    async fn a_container_and_a_service_of_one_name_are_not_known_together() {
        let store = Memory::default();
        let name = |text: &str| text.parse::<UnitName>().expect("name");
        let container = Text::parse("[Container]\nImage=web\n").expect("text");
        for (first, second) in [
            ("a.container", "a.service"),
            ("b@1.service", "b@1.container"),
        ] {
            let text = |name: &UnitName| match name.is_container() {
                true => container.clone(),
                false => unit(""),
            };
            let (first, second) = (name(first), name(second));
            let done = submit(&store, &first, &text(&first), Known::Refuse).await;
            assert!(matches!(done, Ok(Outcome::Done(_))), "{done:?}");
            let refused = submit(&store, &second, &text(&second), Known::Refuse).await;
            assert!(matches!(refused, Err(Error::Twin { .. })), "{refused:?}");
            destroy(&store, &first).await.expect("gone");
            let done = submit(&store, &second, &text(&second), Known::Refuse).await;
            assert!(matches!(done, Ok(Outcome::Done(_))), "{done:?}");
        }
        let wrong = submit(&store, &name("c.container"), &unit(""), Known::Refuse).await;
        assert!(matches!(wrong, Err(Error::Wrong { .. })), "{wrong:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_users_at_once_one_is_told_and_nothing_is_half_done() {
        use crate::store::faulty::{Faulty, Random};
        let mut told = 0;
        for seed in 0..300 {
            let memory = Memory::default();
            let way = |n: u64| Faulty::new(memory.clone(), Random::new(seed * 2 + n));
            let (one, other) = (way(0), way(1));
            let name: UnitName = "a.service".parse().expect("name");
            let known = submit(&memory, &name, &unit(""), Known::Refuse).await;
            known.expect("known");
            let text = unit("[X-Strake]\nMemory=1M\n");
            let (first, second) = tokio::join!(
                set_state(&one, &name, State::Launched),
                set(&other, &name, &text, State::Loaded),
            );
            let (now, _) = read(&memory, &name).await.expect("unit").expect("unit");
            // Whoever comes last has the last word; whoever comes between is told.
            let whole = match (&first, &second) {
                (Ok(_), Ok(_)) => now.digest == text.digest() || now.state == State::Launched,
                (Ok(_), Err(_)) => (now.digest, now.state) == (unit("").digest(), State::Launched),
                (Err(_), Ok(_)) => (now.digest, now.state) == (text.digest(), State::Loaded),
                (Err(_), Err(_)) => false,
            };
            assert!(whole, "seed {seed}: {first:?} {second:?}");
            for error in [first.err(), second.err()].into_iter().flatten() {
                assert_eq!(
                    error.to_string(),
                    "a.service was changed by somebody else at the same moment: look and try again"
                );
                told += 1;
            }
        }
        assert!(told > 5, "{told} of 300 were told");
    }

    #[tokio::test]
    async fn tags_are_added_to_those_there_are() {
        let store = Memory::default();
        let id: MachineId = "m1".parse().expect("id");
        let zone = |value: Option<&str>| Tagging {
            metadata: [("zone".to_string(), value.map(str::to_string))].into(),
            duty: None,
        };
        let drain = Tagging {
            metadata: BTreeMap::new(),
            duty: Some(Duty::Draining),
        };
        for tagging in [zone(Some("a")), drain, zone(None)] {
            let outcome = tag(&store, &id, tagging.clone()).await;
            assert!(matches!(outcome, Ok(Outcome::Done(_))));
            let again = tag(&store, &id, tagging).await;
            assert!(matches!(again, Ok(Outcome::Refused)));
        }
        let entry = store.read(&keys::tags(&id)).await.expect("answer");
        let tags: Tags = serde_json::from_slice(&entry.expect("tags").value).expect("tags");
        assert_eq!(tags.duty, Duty::Draining);
        assert_eq!(tags.metadata["zone"], None);
    }
}

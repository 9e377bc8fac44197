//! Units leave the machine before it reboots, by the scheduler's own drain, and may come again
//! after it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::scheduler::keys::{self, Desired, Observed, Scope, State};
use crate::scheduler::machine::{Duty, MachineId};
use crate::scheduler::name::UnitName;
use crate::scheduler::orders::{self, Tagging};
use crate::store::{Entry, Error, Outcome, Store, read_all};

const AGAIN: Duration = Duration::from_secs(2);

fn duty(duty: Duty) -> Tagging {
    Tagging {
        duty: Some(duty),
        ..Tagging::default()
    }
}

/// Whether this changed anything: a machine that is drained by hand stays so after the reboot.
pub(super) async fn close(store: &impl Store, id: &MachineId) -> Result<bool, orders::Error> {
    let tagged = orders::tag(store, id, duty(Duty::Draining)).await?;
    Ok(matches!(tagged, Outcome::Done(_)))
}

pub(super) async fn open(store: &impl Store, id: &MachineId) -> Result<(), orders::Error> {
    orders::tag(store, id, duty(Duty::Open)).await.map(drop)
}

/// Until all units that ran here alone are up on other machines. For as long as that takes.
pub(super) async fn wait(store: &impl Store, id: &MachineId) {
    let mut left = BTreeSet::new();
    loop {
        if let Ok(is_over) = look(store, id, &mut left).await
            && is_over
        {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// `left` grows by what is seen here: a unit counts from then on until it is up elsewhere.
async fn look(
    store: &impl Store,
    id: &MachineId,
    left: &mut BTreeSet<UnitName>,
) -> Result<bool, Error> {
    let own = store.read(&keys::desired(id)).await?;
    let own: Desired = own.as_ref().and_then(json).unwrap_or_default();
    let launched = own
        .units
        .iter()
        .filter(|(_, unit)| unit.scope == Scope::Single && unit.state == State::Launched);
    let here: BTreeSet<UnitName> = launched.map(|(name, _)| name.clone()).collect();
    // What ends is waited for here; it is nowhere then.
    let lasting = |name: &&UnitName| own.units.get(*name).is_some_and(|unit| unit.run == 0);
    left.extend(here.iter().filter(lasting).cloned());
    let observed = store.read(&keys::observed(id)).await?;
    let observed: Observed = observed.as_ref().and_then(json).unwrap_or_default();
    let is_stopping = |generation: &u64| *generation > observed.generation;
    if !here.is_empty() || own.releasing.values().any(is_stopping) {
        return Ok(false);
    }
    if left.is_empty() {
        return Ok(true);
    }
    // Some may have been stopped or destroyed by their owner meanwhile.
    for name in left.clone() {
        let unit = ordered(store, &name).await?;
        if unit.is_none_or(|unit| unit.state != State::Launched) {
            left.remove(&name);
        }
    }
    let observed = read_all(store, keys::OBSERVED).await?;
    for entry in &observed.entries {
        let observed: Observed = json(entry).unwrap_or_default();
        if entry.key == keys::observed(id) {
            continue;
        }
        for (name, seen) in &observed.units {
            if seen.started && seen.active.is_up() {
                left.remove(name);
            }
        }
    }
    Ok(left.is_empty())
}

/// What is ordered of the unit. A replica has no order of its own, but its template's.
async fn ordered(store: &impl Store, name: &UnitName) -> Result<Option<keys::Unit>, Error> {
    let unit = store.read(&keys::unit(name)).await?;
    match (unit, name.template()) {
        (None, Some(template)) => {
            let unit = store.read(&keys::unit(&template)).await?;
            Ok(unit.as_ref().and_then(json))
        }
        (unit, _) => Ok(unit.as_ref().and_then(json)),
    }
}

fn json<T: for<'a> serde::Deserialize<'a>>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.value).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::scheduler::keys::{Assignment, Seen};
    use crate::scheduler::text::Text;
    use crate::store::memory::Memory;
    use crate::systemd::Active;

    #[tokio::test]
    async fn a_machine_is_empty_once_its_units_are_up_elsewhere() {
        let store = Memory::default();
        let (a, b): (MachineId, MachineId) = ("a".parse().expect("id"), "b".parse().expect("id"));
        let text = Text::parse("[Service]\nExecStart=/bin/true\n").expect("text");
        let digest = text.digest();
        let (web, agent): (UnitName, UnitName) = (
            "web.service".parse().expect("name"),
            "agent.service".parse().expect("name"),
        );
        let unit = |state| keys::Unit {
            digest: digest.clone(),
            state,
            run: 0,
        };
        store.put(keys::unit(&web), &unit(State::Launched)).await;
        let assigned = |scope| Assignment {
            digest: digest.clone(),
            state: State::Launched,
            scope,
            run: 0,
            fence: Default::default(),
        };
        let mut desired = Desired {
            generation: 1,
            units: BTreeMap::from([
                (web.clone(), assigned(Scope::Single)),
                (agent, assigned(Scope::Global)),
            ]),
            ..Desired::default()
        };
        store.put(keys::desired(&a), &desired).await;
        let mut left = BTreeSet::new();
        assert!(!look(&store, &a, &mut left).await.expect("answer"));
        desired.units.remove(&web);
        store.put(keys::desired(&a), &desired).await;
        assert!(
            !look(&store, &a, &mut left).await.expect("answer"),
            "not up"
        );
        let seen = |active| Observed {
            generation: 1,
            units: BTreeMap::from([(
                web.clone(),
                Seen {
                    digest: digest.clone(),
                    load: "loaded".into(),
                    active,
                    sub: "running".into(),
                    run: 0,
                    started: true,
                    problem: None,
                },
            )]),
        };
        store
            .put(keys::observed(&b), &seen(Active::Activating))
            .await;
        assert!(!look(&store, &a, &mut left).await.expect("answer"));
        store.put(keys::observed(&b), &seen(Active::Active)).await;
        assert!(look(&store, &a, &mut left).await.expect("answer"));
        let mut stopped = BTreeSet::from([web.clone()]);
        store.put(keys::observed(&b), &Observed::default()).await;
        assert!(!look(&store, &a, &mut stopped).await.expect("answer"));
        store.put(keys::unit(&web), &unit(State::Inactive)).await;
        assert!(look(&store, &a, &mut stopped).await.expect("answer"));
    }

    #[tokio::test]
    async fn a_replica_is_waited_for_as_long_as_its_template_is_to_run() {
        let store = Memory::default();
        let id: MachineId = "a".parse().expect("id");
        let (template, replica): (UnitName, UnitName) = (
            "web@.service".parse().expect("name"),
            "web@1.service".parse().expect("name"),
        );
        let text = Text::parse("[Service]\nExecStart=/bin/true\n").expect("text");
        let unit = |state| keys::Unit {
            digest: text.digest(),
            state,
            run: 0,
        };
        let mut left = BTreeSet::from([replica]);
        store
            .put(keys::unit(&template), &unit(State::Launched))
            .await;
        assert!(!look(&store, &id, &mut left).await.expect("answer"));
        store
            .put(keys::unit(&template), &unit(State::Inactive))
            .await;
        assert!(look(&store, &id, &mut left).await.expect("answer"));
    }

    #[tokio::test]
    async fn closing_tells_whether_it_was_open() {
        let store = Memory::default();
        let id: MachineId = "a".parse().expect("id");
        assert!(close(&store, &id).await.expect("closed"));
        assert!(!close(&store, &id).await.expect("closed before"));
        open(&store, &id).await.expect("open");
        assert!(close(&store, &id).await.expect("closed again"));
    }
}

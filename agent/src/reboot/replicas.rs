//! Replicas: while so many of a template are down that it can spare no more, a machine with one of
//! them stays.

use std::collections::BTreeSet;

use crate::scheduler::keys::{self, Assignment, Desired, Observed, Scope, State};
use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;
use crate::scheduler::requirement::Requirements;
use crate::scheduler::text::Text;
use crate::store::{Entry, Error, Store, read_all};

/// What speaks against taking this machine's replicas away now.
///
/// A replica that waits for a machine does not count as down: it would hold up every reboot for as
/// long as there is no room for it.
pub(super) async fn scarce(store: &impl Store, own: &MachineId) -> Result<Option<String>, Error> {
    let here: Desired = value(store, &keys::desired(own)).await?.unwrap_or_default();
    let here: Vec<UnitName> = placed(&here)
        .filter_map(|(name, _)| name.template())
        .collect();
    let templates: BTreeSet<&UnitName> = here.iter().collect();
    let mut spared = Vec::new();
    for template in templates {
        if let Some(most) = most_down(store, template).await? {
            let mine = here.iter().filter(|other| *other == template).count();
            spared.push((template, most, mine));
        }
    }
    if spared.is_empty() {
        return Ok(None);
    }
    let elsewhere = read_all(store, keys::DESIRED).await?.entries;
    let mut down = Vec::new();
    for entry in &elsewhere {
        let id = entry.key.strip_prefix(keys::DESIRED);
        let Some(id) = id.and_then(|id| id.parse::<MachineId>().ok()) else {
            continue;
        };
        if id == *own {
            continue;
        }
        let desired: Desired = json(entry).unwrap_or_default();
        let seen: Observed = value(store, &keys::observed(&id))
            .await?
            .unwrap_or_default();
        let is_up = |name: &UnitName| {
            let seen = seen.units.get(name);
            seen.is_some_and(|seen| seen.started && seen.active.is_up())
        };
        let missing = placed(&desired).map(|(name, _)| name);
        down.extend(missing.filter(|name| !is_up(name)).cloned());
    }
    for (template, most, mine) in spared {
        let of_it = |name: &&UnitName| name.template().as_ref() == Some(template);
        let missing: Vec<&str> = down.iter().filter(of_it).map(UnitName::as_str).collect();
        // A machine with more of them than may be down goes when all others are up.
        if !missing.is_empty() && missing.len() + mine > most {
            return Ok(Some(format!(
                "{template} can spare no replica of this machine: MaxUnavailable={most}, and {} is down",
                missing.join(", ")
            )));
        }
    }
    Ok(None)
}

fn placed(desired: &Desired) -> impl Iterator<Item = (&UnitName, &Assignment)> {
    let lasting = |unit: &Assignment| {
        unit.scope == Scope::Single && unit.state == State::Launched && unit.run == 0
    };
    desired.units.iter().filter(move |(_, unit)| lasting(unit))
}

/// Nothing for a template without replicas.
async fn most_down(store: &impl Store, template: &UnitName) -> Result<Option<usize>, Error> {
    let unit: Option<keys::Unit> = value(store, &keys::unit(template)).await?;
    let Some(unit) = unit else {
        return Ok(None);
    };
    let text = store.read(&keys::text(&unit.digest)).await?;
    let text = text.and_then(|entry| Text::parse(&String::from_utf8_lossy(&entry.value)).ok());
    let requirements = text.and_then(|text| Requirements::read(template, &text).ok());
    let replicas = requirements.map(|requirements| requirements.replicas);
    Ok(replicas
        .filter(|replicas| replicas.count > 0)
        .map(|replicas| replicas.most_down))
}

async fn value<T: for<'a> serde::Deserialize<'a>>(
    store: &impl Store,
    key: &str,
) -> Result<Option<T>, Error> {
    Ok(store.read(key).await?.as_ref().and_then(json))
}

fn json<T: for<'a> serde::Deserialize<'a>>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::keys::Seen;
    use crate::scheduler::text::Digest;
    use crate::store::memory::Memory;
    use crate::systemd::Active;

    /// Replicas of the machine, each with whether it is up.
    async fn machine(store: &Memory, id: &str, digest: &Digest, replicas: &[(&str, bool)]) {
        let id: MachineId = id.parse().expect("id");
        let (mut desired, mut observed) = (Desired::default(), Observed::default());
        for (name, up) in replicas {
            let name: UnitName = name.parse().expect("name");
            let assignment = Assignment {
                digest: digest.clone(),
                state: State::Launched,
                scope: Scope::Single,
                run: 0,
                fence: Default::default(),
            };
            desired.units.insert(name.clone(), assignment);
            let seen = Seen {
                digest: digest.clone(),
                load: "loaded".into(),
                active: match up {
                    true => Active::Active,
                    false => Active::Failed,
                },
                sub: String::new(),
                started: true,
                run: 0,
                problem: None,
            };
            observed.units.insert(name, seen);
        }
        store.put(keys::desired(&id), &desired).await;
        store.put(keys::observed(&id), &observed).await;
    }

    /// What keeps machine `a`, for the replicas of `a` and `b`.
    async fn asked(text: &str, a: &[(&str, bool)], b: &[(&str, bool)]) -> Option<String> {
        let store = Memory::default();
        let text = Text::parse(text).expect("text");
        let digest = text.digest();
        let unit = keys::Unit {
            digest: digest.clone(),
            state: State::Launched,
            run: 0,
        };
        let template: UnitName = "web@.service".parse().expect("name");
        store.put(keys::unit(&template), &unit).await;
        let bytes = text.to_string().into_bytes();
        store.put_bytes(keys::text(&digest), bytes).await;
        machine(&store, "a", &digest, a).await;
        machine(&store, "b", &digest, b).await;
        let found = scarce(&store, &"a".parse().expect("id")).await;
        found.expect("answer")
    }

    #[tokio::test]
    async fn a_machine_stays_while_its_template_can_spare_no_replica() {
        let text = |rest: &str| {
            format!("[Service]\nExecStart=/bin/true\n[X-Strake]\nReplicas=3\n{rest}\n")
        };
        let one = [("web@1.service", true)];
        let (both_up, one_down) = (
            [("web@2.service", true), ("web@3.service", true)],
            [("web@2.service", true), ("web@3.service", false)],
        );
        let two_down = [("web@2.service", false), ("web@3.service", false)];
        assert_eq!(asked(&text(""), &one, &both_up).await, None);
        let why = asked(&text(""), &one, &one_down).await.expect("it stays");
        assert_eq!(
            why,
            "web@.service can spare no replica of this machine: MaxUnavailable=1, and web@3.service is down"
        );
        let two = text("MaxUnavailable=2");
        assert_eq!(asked(&two, &one, &one_down).await, None);
        assert!(asked(&two, &one, &two_down).await.is_some());
        // With more of them than may be down it would otherwise never reboot.
        assert_eq!(asked(&text(""), &both_up, &one).await, None);
        // Its own that is down is no reason to stay, nor is another template's.
        assert_eq!(asked(&text(""), &one_down, &one).await, None);
        assert_eq!(asked(&text(""), &[], &one_down).await, None);
        let none = "[Service]\nExecStart=/bin/true\n";
        assert_eq!(asked(none, &one, &one_down).await, None);
    }
}

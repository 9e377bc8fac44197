//! What is known of the cluster, and with it what the next change means.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::{Event, What};
use crate::scheduler::keys::{self, Desired, Observed, Scope, State, Tags, Unit};
use crate::scheduler::machine::{Duty, MachineId};
use crate::scheduler::name::UnitName;
use crate::store::{Batch, Entry, Event as Change, Revision};
use crate::systemd::Active;

/// What has to be known to tell what a change means.
#[derive(Debug, Default)]
pub struct Tracker {
    machines: BTreeSet<MachineId>,
    duties: BTreeMap<MachineId, Duty>,
    units: BTreeMap<UnitName, State>,
    desired: BTreeMap<MachineId, BTreeSet<UnitName>>,
    observed: BTreeMap<MachineId, Observed>,
    /// Where units were last that are nowhere now.
    left: BTreeMap<UnitName, MachineId>,
    seats: BTreeMap<String, (Revision, String)>,
}

impl Tracker {
    /// Events of everything there is are told as well; who begins in the middle drops them.
    pub fn step(&mut self, batch: &Batch) -> Vec<Event> {
        let mut events = Vec::new();
        for change in &batch.events {
            let (revision, what) = match change {
                Change::Put(entry) => (entry.modified, self.put(entry)),
                Change::Deleted { key } => (batch.revision, self.delete(key)),
            };
            events.extend(what.into_iter().map(|what| Event { revision, what }));
        }
        events
    }

    /// Values that cannot be understood tell nothing: a newer version may have written them.
    fn put(&mut self, entry: &Entry) -> Vec<What> {
        let (Some((kind, name)), value) = (split(&entry.key), &entry.value) else {
            return Vec::new();
        };
        match kind {
            "machines" => both(name, Some(())).map(|(id, ())| self.machine_came(id)),
            "tags" => both(name, json(value)).map(|(id, tags)| self.tagged(id, &tags)),
            "units" => both(name, json(value)).map(|(unit, value)| self.ordered(unit, &value)),
            "desired" => both(name, json(value)).map(|(id, desired)| self.desired(id, &desired)),
            "observed" => both(name, json(value)).map(|(id, seen)| self.observed(id, seen)),
            "leader" => Some(self.seated(entry)),
            _ => None,
        }
        .unwrap_or_default()
    }

    fn delete(&mut self, key: &str) -> Vec<What> {
        let Some((kind, name)) = split(key) else {
            return Vec::new();
        };
        match kind {
            "machines" => {
                let id = name.parse().ok().filter(|id| self.machines.remove(id));
                let went = id.map(|machine| What::MachineWent { machine });
                went.into_iter().collect()
            }
            "tags" => both(name, Some(()))
                .map(|(id, ())| self.tagged(id, &Tags::default()))
                .unwrap_or_default(),
            "units" => {
                let unit = name.parse::<UnitName>().ok();
                let unit = unit.filter(|unit| self.units.remove(unit).is_some());
                let destroyed = unit.map(|unit| {
                    self.left.remove(&unit);
                    What::Destroyed { unit }
                });
                destroyed.into_iter().collect()
            }
            "leader" => {
                let before = self.leader();
                self.seats.remove(key);
                self.news_of_leader(before)
            }
            _ => Vec::new(),
        }
    }

    fn machine_came(&mut self, machine: MachineId) -> Vec<What> {
        let is_new = self.machines.insert(machine.clone());
        let came = is_new.then_some(What::MachineCame { machine });
        came.into_iter().collect()
    }

    fn tagged(&mut self, machine: MachineId, tags: &Tags) -> Vec<What> {
        let duty = tags.duty;
        let before = self.duties.insert(machine.clone(), duty);
        let differs = before.unwrap_or_default() != duty;
        let told = differs.then_some(What::MachineDuty { machine, duty });
        told.into_iter().collect()
    }

    fn ordered(&mut self, unit: UnitName, value: &Unit) -> Vec<What> {
        let state = value.state;
        if state == State::Inactive {
            self.left.remove(&unit);
        }
        let before = self.units.insert(unit.clone(), state);
        let told = (before != Some(state)).then_some(What::Ordered { unit, state });
        told.into_iter().collect()
    }

    fn desired(&mut self, machine: MachineId, desired: &Desired) -> Vec<What> {
        let now: BTreeSet<UnitName> = desired.units.keys().cloned().collect();
        let before = self.desired.insert(machine.clone(), now.clone());
        let before = before.unwrap_or_default();
        let mut events = Vec::new();
        for unit in before.difference(&now).cloned() {
            let wanted = self
                .units
                .get(&unit)
                .is_some_and(|state| *state != State::Inactive);
            if wanted {
                self.left.insert(unit.clone(), machine.clone());
            }
            let machine = machine.clone();
            events.push(What::Removed { unit, machine });
        }
        for unit in now.difference(&before).cloned() {
            let scope = desired.units[&unit].scope;
            let left = self.left.remove(&unit).filter(|_| scope == Scope::Single);
            let machine = machine.clone();
            events.push(match left.filter(|from| *from != machine) {
                Some(from) => What::Moved {
                    unit,
                    from,
                    machine,
                },
                None => What::Placed { unit, machine },
            });
        }
        events
    }

    fn observed(&mut self, machine: MachineId, observed: Observed) -> Vec<What> {
        let before = self.observed.remove(&machine).unwrap_or_default();
        let mut events = Vec::new();
        for (unit, seen) in &observed.units {
            let old = before.units.get(unit);
            if let Some(problem) = &seen.problem
                && old.is_none_or(|old| old.problem.is_none())
            {
                events.push(What::Problem {
                    unit: unit.clone(),
                    machine: machine.clone(),
                    problem: problem.clone(),
                });
            }
            // Loaded and never started: nothing has happened.
            let was = old.map_or(Active::Inactive, |old| old.active);
            if was != seen.active {
                events.push(What::Changed {
                    unit: unit.clone(),
                    machine: machine.clone(),
                    active: seen.active,
                    sub: seen.sub.clone(),
                });
            }
        }
        self.observed.insert(machine, observed);
        events
    }

    fn seated(&mut self, entry: &Entry) -> Vec<What> {
        let before = self.leader();
        let value = String::from_utf8_lossy(&entry.value);
        let name = value.split(' ').next().unwrap_or_default().to_string();
        self.seats.insert(entry.key.clone(), (entry.created, name));
        self.news_of_leader(before)
    }

    fn leader(&self) -> Option<String> {
        let first = self.seats.values().min();
        first.map(|(_, name)| name.clone())
    }

    fn news_of_leader(&self, before: Option<String>) -> Vec<What> {
        let now = self.leader();
        let news = now.filter(|now| before.as_ref() != Some(now));
        let told = news.map(|machine| What::Leader { machine });
        told.into_iter().collect()
    }
}

fn split(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(keys::ALL)?.split_once('/')
}

fn json<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

fn both<K: std::str::FromStr, V>(name: &str, value: Option<V>) -> Option<(K, V)> {
    Some((name.parse().ok()?, value?))
}

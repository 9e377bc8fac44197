//! What happens in the cluster, told from the changes of its keys. Pure: entries in, events out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{self, Desired, Observed, Scope, State, Tags, Unit};
use super::machine::{Duty, MachineId};
use super::name::UnitName;
use crate::store::{Batch, Entry, Event as Change, Revision};
use crate::systemd::Active;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// It is registered.
    MachineCame {
        machine: MachineId,
    },
    /// Its lease is over.
    MachineWent {
        machine: MachineId,
    },
    /// Users drain it, or no longer.
    MachineDuty {
        machine: MachineId,
        duty: Duty,
    },
    /// It plans for the cluster now.
    Leader {
        machine: String,
    },
    /// Users want it so.
    Ordered {
        unit: UnitName,
        state: State,
    },
    Destroyed {
        unit: UnitName,
    },
    Placed {
        unit: UnitName,
        machine: MachineId,
    },
    /// Placed on another machine than before, without having been unloaded.
    Moved {
        unit: UnitName,
        from: MachineId,
        machine: MachineId,
    },
    Removed {
        unit: UnitName,
        machine: MachineId,
    },
    /// systemd's word on it has changed.
    Changed {
        unit: UnitName,
        machine: MachineId,
        active: Active,
        sub: String,
    },
    /// It cannot be loaded or started.
    Problem {
        unit: UnitName,
        machine: MachineId,
        problem: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    pub revision: Revision,
    #[serde(flatten)]
    pub what: What,
}

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

impl What {
    /// For who wants to hear of one unit only.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            What::MachineCame { .. }
            | What::MachineWent { .. }
            | What::MachineDuty { .. }
            | What::Leader { .. } => None,
            What::Ordered { unit, .. }
            | What::Destroyed { unit }
            | What::Placed { unit, .. }
            | What::Moved { unit, .. }
            | What::Removed { unit, .. }
            | What::Changed { unit, .. }
            | What::Problem { unit, .. } => Some(unit),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::MachineCame { machine } => write!(f, "machine {machine} came"),
            What::MachineWent { machine } => write!(f, "machine {machine} went"),
            What::MachineDuty { machine, duty } => match duty {
                Duty::Open => write!(f, "machine {machine} takes units again"),
                Duty::Draining => write!(f, "machine {machine} is drained"),
            },
            What::Leader { machine } => write!(f, "machine {machine} leads"),
            What::Ordered { unit, state } => write!(f, "{unit} is to be {state}"),
            What::Destroyed { unit } => write!(f, "{unit} was destroyed"),
            What::Placed { unit, machine } => write!(f, "{unit} placed on {machine}"),
            What::Moved {
                unit,
                from,
                machine,
            } => write!(f, "{unit} moved from {from} to {machine}"),
            What::Removed { unit, machine } => write!(f, "{unit} removed from {machine}"),
            What::Changed {
                unit,
                machine,
                active,
                sub,
            } => {
                let active = active.word();
                write!(f, "{unit} is {active} ({sub}) on {machine}")
            }
            What::Problem {
                unit,
                machine,
                problem,
            } => write!(f, "{unit} does not work on {machine}: {problem}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    struct Story {
        tracker: Tracker,
        revision: Revision,
    }

    impl Story {
        #[track_caller]
        fn put(&mut self, key: &str, value: Value, expected: &[&str]) {
            self.revision += 1;
            let change = Change::Put(Entry {
                key: format!("{}{key}", keys::ALL),
                value: match value {
                    Value::String(text) => text.into_bytes(),
                    value => serde_json::to_vec(&value).expect("json"),
                },
                created: self.revision,
                modified: self.revision,
                lease: None,
            });
            self.change(change, expected);
        }

        #[track_caller]
        fn delete(&mut self, key: &str, expected: &[&str]) {
            self.revision += 1;
            let key = format!("{}{key}", keys::ALL);
            self.change(Change::Deleted { key }, expected);
        }

        #[track_caller]
        fn change(&mut self, change: Change, expected: &[&str]) {
            let events = self.tracker.step(&Batch {
                revision: self.revision,
                events: vec![change],
            });
            assert!(events.iter().all(|event| event.revision == self.revision));
            let told: Vec<String> = events.iter().map(|event| event.what.to_string()).collect();
            assert_eq!(told, expected);
        }

        fn order(&mut self, state: &str, expected: &[&str]) {
            self.put(
                "units/a.service",
                json!({"digest": "d", "state": state}),
                expected,
            );
        }

        fn hold(&mut self, machine: &str, units: &[&str], expected: &[&str]) {
            let assigned = json!({"digest": "d", "state": "launched"});
            let units: serde_json::Map<_, _> = units
                .iter()
                .map(|name| (name.to_string(), assigned.clone()))
                .collect();
            let desired = json!({"generation": 1, "units": units});
            self.put(&format!("desired/{machine}"), desired, expected);
        }
    }

    fn story() -> Story {
        Story {
            tracker: Tracker::default(),
            revision: 0,
        }
    }

    const UNIT: &[&str] = &["a.service"];

    #[test]
    fn a_unit_that_moves_is_told_with_both_machines() {
        let mut story = story();
        story.put("machines/m1", json!({}), &["machine m1 came"]);
        story.put("machines/m1", json!({"facts": 2}), &[]);
        story.order("launched", &["a.service is to be launched"]);
        story.hold("m1", UNIT, &["a.service placed on m1"]);
        story.delete("machines/m1", &["machine m1 went"]);
        story.hold("m1", &[], &["a.service removed from m1"]);
        story.hold("m2", UNIT, &["a.service moved from m1 to m2"]);
        // Back where it was, after having been unloaded: that is no move.
        story.order("inactive", &["a.service is to be inactive"]);
        story.hold("m2", &[], &["a.service removed from m2"]);
        story.order("loaded", &["a.service is to be loaded"]);
        story.hold("m1", UNIT, &["a.service placed on m1"]);
        story.delete("units/a.service", &["a.service was destroyed"]);
        story.hold("m1", &[], &["a.service removed from m1"]);
    }

    #[test]
    fn what_systemd_says_is_told_when_it_changes() {
        let mut story = story();
        let seen = |active: &str, problem: Value| {
            json!({"generation": 1, "units": {"a.service": {
                "digest": "d", "load": "loaded", "active": active, "sub": "s", "started": true,
                "problem": problem,
            }}})
        };
        let none = Value::Null;
        story.put("observed/m1", seen("inactive", none.clone()), &[]);
        story.put(
            "observed/m1",
            seen("active", none.clone()),
            &["a.service is active (s) on m1"],
        );
        story.put("observed/m1", seen("active", none.clone()), &[]);
        let both = [
            "a.service does not work on m1: why",
            "a.service is failed (s) on m1",
        ];
        story.put("observed/m1", seen("failed", json!("why")), &both);
        story.put("observed/m1", seen("failed", json!("why not")), &[]);
    }

    #[test]
    fn the_seat_taken_first_leads_and_duties_are_told() {
        let mut story = story();
        story.put("leader/0", json!("m1 7"), &["machine m1 leads"]);
        story.put("leader/1", json!("m2 8"), &[]);
        story.delete("leader/0", &["machine m2 leads"]);
        story.put("leader/0", json!("m1 9"), &[]);
        story.put("tags/m1", json!({"metadata": {"a": "b"}}), &[]);
        story.put(
            "tags/m1",
            json!({"duty": "draining"}),
            &["machine m1 is drained"],
        );
        story.delete("tags/m1", &["machine m1 takes units again"]);
    }

    #[test]
    fn what_is_not_understood_tells_nothing() {
        let mut story = story();
        for key in ["units/a.service", "desired/m1", "observed/m1", "tags/m1"] {
            story.put(key, json!("nonsense"), &[]);
        }
        story.put("machines/NO ID", json!({}), &[]);
        story.put("text/d", json!("[Unit]"), &[]);
        story.delete("units/b.service", &[]);
        story.delete("machines/m9", &[]);
    }
}

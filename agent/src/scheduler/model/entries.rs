//! What the store says, taken in key by key.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{At, Model};
use crate::scheduler::keys::{self, Tags};
use crate::scheduler::machine::{Duty, Machine};
use crate::scheduler::name::UnitName;
use crate::scheduler::text::Text;
use crate::store::{Entry, Revision};

impl Model {
    /// Values that cannot be understood count as absent: a newer version may have written them.
    pub(super) fn put(&mut self, entry: &Entry) {
        let modified = entry.modified;
        match split(&entry.key) {
            Some(("machines", id)) => insert(&mut self.machines, id, json(entry)),
            Some(("tags", id)) => insert(&mut self.tags, id, at(json(entry), modified)),
            Some(("units", name)) => insert(&mut self.units, name, at(json(entry), modified)),
            Some(("desired", id)) => insert(&mut self.desired, id, at(json(entry), modified)),
            Some(("observed", id)) => insert(&mut self.observed, id, json(entry)),
            Some(("done", name)) => insert(&mut self.done, name, at(json(entry), modified)),
            Some(("moves", name)) => insert(&mut self.moves, name, at(json(entry), modified)),
            Some(("policy", "rebalance")) => self.policy = json(entry),
            Some(("rollout", name)) => {
                insert(&mut self.rollouts, name, at(json(entry), modified));
            }
            Some(("text", _)) => {
                let text = std::str::from_utf8(&entry.value).ok();
                if let Some(value) = text.and_then(|text| Text::parse(text).ok()) {
                    self.texts.insert(value.digest(), At { value, modified });
                }
            }
            Some(("leader", _)) => {
                self.seats.retain(|seat| seat.key != entry.key);
                self.seats.push(entry.clone());
            }
            _ => {}
        }
        self.refresh(&entry.key);
    }

    pub(super) fn delete(&mut self, key: &str) {
        match split(key) {
            Some(("machines", id)) => remove(&mut self.machines, id),
            Some(("tags", id)) => remove(&mut self.tags, id),
            Some(("units", name)) => remove(&mut self.units, name),
            Some(("desired", id)) => remove(&mut self.desired, id),
            Some(("observed", id)) => remove(&mut self.observed, id),
            Some(("done", name)) => remove(&mut self.done, name),
            Some(("rollout", name)) => remove(&mut self.rollouts, name),
            Some(("moves", name)) => remove(&mut self.moves, name),
            Some(("policy", "rebalance")) => self.policy = None,
            Some(("text", digest)) => self.texts.retain(|known, _| known.as_str() != digest),
            Some(("leader", _)) => self.seats.retain(|seat| seat.key != key),
            _ => {}
        }
        self.refresh(key);
    }

    fn refresh(&mut self, key: &str) {
        match split(key) {
            Some(("machines" | "tags", id)) => {
                let Ok(id) = id.parse() else { return };
                match self.machines.get(&id) {
                    Some(machine) => {
                        let tagged = tagged(machine, self.tags.get(&id).map(|at| &at.value));
                        self.effective.insert(id, Arc::new(tagged));
                    }
                    None => drop(self.effective.remove(&id)),
                }
            }
            Some(("units", name)) => {
                let Ok(name) = name.parse::<UnitName>() else {
                    return;
                };
                if !self.units.contains_key(&name) {
                    self.requirements.remove(&name);
                }
            }
            _ => {}
        }
    }
}

fn tagged(machine: &Machine, tags: Option<&Tags>) -> Machine {
    let mut machine = machine.clone();
    if let Some(tags) = tags {
        // A machine that goes down says so itself.
        if tags.duty == Duty::Draining {
            machine.duty = tags.duty;
        }
        for (key, value) in &tags.metadata {
            match value {
                Some(value) => drop(machine.metadata.insert(key.clone(), value.clone())),
                None => drop(machine.metadata.remove(key)),
            }
        }
    }
    machine
}

fn split(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(keys::ALL)?.split_once('/')
}

fn json<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.value).ok()
}

fn at<T>(value: Option<T>, modified: Revision) -> Option<At<T>> {
    value.map(|value| At { value, modified })
}

fn insert<K: Ord + std::str::FromStr, V>(map: &mut BTreeMap<K, V>, key: &str, value: Option<V>) {
    if let Ok(key) = key.parse() {
        match value {
            Some(value) => drop(map.insert(key, value)),
            None => drop(map.remove(&key)),
        }
    }
}

fn remove<K: Ord + std::str::FromStr, V>(map: &mut BTreeMap<K, V>, key: &str) {
    if let Ok(key) = key.parse() {
        map.remove(&key);
    }
}

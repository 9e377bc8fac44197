//! The whole cluster in memory, made from one list and kept right by one watch.
//!
//! `entries` takes in what the store says, `snapshot` is what the planner gets of it, and `feed`
//! follows the store.

mod entries;
mod feed;
mod snapshot;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::keys::{self, Desired, Done, Move, Observed, Policy, State, Tags, Unit};
use super::machine::{Machine, MachineId};
use super::name::UnitName;
use super::requirement::{Course, Replicas, Requirements};
use super::rollout::Rollout;
use super::text::{Digest, Text};
use super::turn::{self, Turn};
use crate::store::{Batch, Entry, Error, Event, Revision, Store, read_all};
pub use feed::Feed;

/// A value and the revision it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub modified: Revision,
}

#[derive(Debug, Default)]
pub struct Model {
    pub revision: Revision,
    pub machines: BTreeMap<MachineId, Machine>,
    pub tags: BTreeMap<MachineId, At<Tags>>,
    pub units: BTreeMap<UnitName, At<Unit>>,
    pub texts: BTreeMap<Digest, At<Text>>,
    pub desired: BTreeMap<MachineId, At<Desired>>,
    pub observed: BTreeMap<MachineId, Observed>,
    pub done: BTreeMap<UnitName, At<Done>>,
    pub rollouts: BTreeMap<UnitName, At<Rollout>>,
    pub moves: BTreeMap<UnitName, At<Move>>,
    pub policy: Option<Policy>,
    pub seats: Vec<Entry>,
    /// Machines as the planner sees them: with their tags.
    effective: BTreeMap<MachineId, Arc<Machine>>,
    requirements: HashMap<UnitName, (Digest, Arc<Requirements>)>,
    /// Of the latest snapshot: the runs that are to be, of units that end.
    runs: HashMap<UnitName, u64>,
    next_turn: Option<u64>,
    /// What the leader makes of templates with replicas.
    replicas: BTreeMap<UnitName, Unit>,
}

impl Model {
    /// All of the cluster, as it is now.
    pub async fn read(store: &impl Store) -> Result<Model, Error> {
        let listing = read_all(store, keys::ALL).await?;
        let mut model = Model::default();
        model.apply(&Batch {
            revision: listing.revision,
            events: listing.entries.into_iter().map(Event::Put).collect(),
        });
        Ok(model)
    }

    pub fn apply(&mut self, batch: &Batch) {
        for event in &batch.events {
            match event {
                Event::Put(entry) => self.put(entry),
                Event::Deleted { key } => self.delete(key),
            }
        }
        self.revision = self.revision.max(batch.revision);
    }

    pub fn machine(&self, id: &MachineId) -> Option<&Arc<Machine>> {
        self.effective.get(id)
    }

    pub fn live_machines(&self) -> impl Iterator<Item = &Arc<Machine>> {
        self.effective.values()
    }

    pub fn text(&self, digest: &Digest) -> Option<&Text> {
        self.texts.get(digest).map(|at| &at.value)
    }

    /// Machines that hold the unit or are told to.
    pub fn holders(&self, name: &UnitName) -> Vec<&MachineId> {
        let holds = |at: &At<Desired>| at.value.units.contains_key(name);
        let held = self.desired.iter().filter(|(_, at)| holds(at));
        held.map(|(id, _)| id).collect()
    }

    /// Machines without a live lease that are still to hold something.
    pub fn away(&self) -> impl Iterator<Item = &MachineId> {
        let busy = |at: &At<Desired>| !at.value.units.is_empty();
        self.desired
            .iter()
            .filter(move |(id, at)| busy(at) && !self.machines.contains_key(id))
            .map(|(id, _)| id)
    }

    fn requirements_of(&mut self, name: &UnitName, digest: &Digest) -> Option<Arc<Requirements>> {
        if let Some((known, requirements)) = self.requirements.get(name)
            && known == digest
        {
            return Some(requirements.clone());
        }
        let text = &self.texts.get(digest)?.value;
        let requirements = Arc::new(Requirements::read(name, text).ok()?);
        let known = (digest.clone(), requirements.clone());
        self.requirements.insert(name.clone(), known);
        Some(requirements)
    }

    /// Known for the units of the latest snapshot.
    pub fn requirements(&self, name: &UnitName, digest: &Digest) -> Option<&Requirements> {
        let (known, requirements) = self.requirements.get(name)?;
        (known == digest).then_some(&**requirements)
    }

    /// Templates that are to be somewhere with all their replicas.
    pub fn templates(&mut self) -> Vec<(UnitName, Unit, Replicas)> {
        let templates = self.units.iter().filter(|(name, _)| name.is_template());
        let templates: Vec<(UnitName, Unit)> = templates
            .filter(|(_, at)| at.value.state != State::Inactive)
            .map(|(name, at)| (name.clone(), at.value.clone()))
            .collect();
        let with_replicas = templates.into_iter().filter_map(|(name, unit)| {
            let replicas = self.requirements_of(&name, &unit.digest)?.replicas.clone();
            (replicas.count > 0).then_some((name, unit, replicas))
        });
        with_replicas.collect()
    }

    /// An instance that is known by itself is no replica, and its number is left out.
    pub fn replicas_of(&self, template: &UnitName, count: usize) -> Vec<UnitName> {
        let names = (1..=count).map(|number| template.numbered(number));
        names
            .filter(|name| !self.units.contains_key(name))
            .collect()
    }

    /// The replicas of a template by its text of now; none for other units.
    pub fn replicas(&self, template: &UnitName) -> Vec<UnitName> {
        if !template.is_template() {
            return Vec::new();
        }
        let requirements = self.read_requirements(template);
        let count = requirements.map_or(0, |requirements| requirements.replicas.count);
        self.replicas_of(template, count)
    }

    pub(super) fn set_replicas(&mut self, replicas: BTreeMap<UnitName, Unit>) {
        self.replicas = replicas;
    }

    /// What is to become of a unit, whether a user said so or it is a replica.
    pub fn order(&self, name: &UnitName) -> Option<&Unit> {
        let known = self.units.get(name).map(|at| &at.value);
        known.or_else(|| self.replicas.get(name))
    }

    /// Which run of the unit an assignment is for, as of the latest snapshot.
    pub fn run(&self, name: &UnitName) -> u64 {
        self.runs.get(name).copied().unwrap_or(0)
    }

    /// The last run of a unit that ends, if that is the one that was asked for.
    pub fn finished(&self, name: &UnitName) -> Option<&Done> {
        let unit = &self.units.get(name)?.value;
        let done = &self.done.get(name)?.value;
        (unit.state == State::Launched && done.run >= unit.run).then_some(done)
    }

    /// Whether the unit is to be somewhere; the time is in milliseconds since 1970.
    pub fn turn(&self, name: &UnitName, course: &Course, now: u64) -> Turn {
        if *course == Course::Lasting {
            return Turn::Now(0);
        }
        let Some(unit) = self.units.get(name) else {
            return Turn::Over;
        };
        let done = self.done.get(name).map(|at| &at.value);
        let held = match course {
            Course::Calendar(_) => {
                let held = self
                    .desired
                    .values()
                    .filter_map(|at| at.value.units.get(name));
                held.map(|assignment| assignment.run).max()
            }
            _ => None,
        };
        turn::turn(course, &unit.value, done, held, now)
    }

    /// When the next unit that waits for its time is to begin, as of the latest snapshot.
    pub fn next_turn(&self) -> Option<u64> {
        self.next_turn
    }

    /// What the unit asks for by its text of now, read anew.
    pub fn read_requirements(&self, name: &UnitName) -> Option<Requirements> {
        let text = self.text(&self.units.get(name)?.value.digest)?;
        Requirements::read(name, text).ok()
    }
}

//! The whole cluster in memory, made from one list and kept right by one watch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::keys::{self, Desired, Done, Move, Observed, Policy, Seen, Stage, State, Tags, Unit};
use super::machine::{Duty, Machine, MachineId};
use super::name::UnitName;
use super::plan::{Away, Progress, Snapshot, Wanted, Way};
use super::requirement::{Course, Replicas, Requirements};
use super::rollout::Rollout;
use super::text::{Digest, Text};
use super::turn::{self, Turn};
use crate::store::{Batch, Entry, Error, Event, Revision, Store, Watch, WatchEnd, read_all};
use crate::systemd::Active;

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

    /// Values that cannot be understood count as absent: a newer version may have written them.
    fn put(&mut self, entry: &Entry) {
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

    fn delete(&mut self, key: &str) {
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

    /// What the planner is to know; `away` says which lost machines are given up. The time is in
    /// milliseconds since 1970.
    pub fn snapshot(&mut self, away: &BTreeMap<MachineId, Away>, now: u64) -> Snapshot {
        let mut snapshot = Snapshot {
            machines: self.effective.clone(),
            away: away.clone(),
            ..Snapshot::default()
        };
        let units = self.units.iter().map(|(name, at)| (name, &at.value));
        let wanted: Vec<(UnitName, Digest)> = units
            .chain(&self.replicas)
            .filter(|(name, unit)| unit.state != State::Inactive && !name.is_template())
            .map(|(name, unit)| (name.clone(), unit.digest.clone()))
            .collect();
        self.runs.clear();
        self.next_turn = None;
        for (name, digest) in wanted {
            let Some(requirements) = self.requirements_of(&name, &digest) else {
                continue;
            };
            match self.turn(&name, &requirements.course, now) {
                Turn::Now(0) => {}
                Turn::Now(run) => drop(self.runs.insert(name.clone(), run)),
                Turn::At(time) => {
                    self.next_turn = Some(self.next_turn.map_or(time, |next| next.min(time)));
                    snapshot.finished.insert(name);
                    continue;
                }
                Turn::Over => {
                    snapshot.finished.insert(name);
                    continue;
                }
            }
            snapshot.units.insert(name, Wanted { requirements });
        }
        for (name, at) in &self.moves {
            snapshot
                .moves
                .insert(name.clone(), self.way(name, &at.value));
        }
        for (id, at) in &self.desired {
            for name in at.value.units.keys() {
                let machines = snapshot.placed.entry(name.clone()).or_default();
                machines.insert(id.clone());
            }
            if self.machines.contains_key(id) {
                for name in self.leaving(id, &at.value) {
                    let machines: &mut BTreeSet<_> = snapshot.leaving.entry(name).or_default();
                    machines.insert(id.clone());
                }
            }
        }
        snapshot
    }

    fn way(&self, name: &UnitName, wish: &Move) -> Way {
        let progress = match wish.stage {
            Stage::Begun if self.holders(name).iter().any(|id| self.is_come(name, id)) => {
                Progress::Arrived
            }
            Stage::Begun => Progress::Begun,
            Stage::Asked if self.instances_are_up(name) => Progress::Asked,
            Stage::Asked => Progress::Held,
        };
        Way {
            from: wish.from.clone(),
            to: wish.to.clone(),
            progress,
        }
    }

    /// Whether the machine has done with the unit what it was told to, well or not.
    fn is_come(&self, name: &UnitName, id: &MachineId) -> bool {
        let told = self.desired.get(id).and_then(|at| at.value.units.get(name));
        let seen = self.observed.get(id).and_then(|seen| seen.units.get(name));
        let (Some(told), Some(seen)) = (told, seen) else {
            return false;
        };
        let tried = seen.problem.is_some();
        let there = seen.digest == told.digest && seen.started == (told.state == State::Launched);
        tried || (there && seen.active != Active::Activating)
    }

    /// Whether all instances of its template are up: only then one more may be down for a while.
    fn instances_are_up(&self, name: &UnitName) -> bool {
        let Some(template) = name.template() else {
            return true;
        };
        let desired = self.desired.iter();
        let mut held = desired.flat_map(|(id, at)| at.value.units.iter().map(move |u| (id, u)));
        held.all(|(id, (other, told))| {
            let seen = self.observed.get(id).and_then(|seen| seen.units.get(other));
            let up = |seen: &Seen| {
                let runs = seen.started && seen.active.is_up();
                seen.digest == told.digest && (runs || told.state != State::Launched)
            };
            other.template().as_ref() != Some(&template) || seen.is_some_and(up)
        })
    }

    /// What the machine may still run although it is no longer to.
    fn leaving(&self, id: &MachineId, desired: &Desired) -> BTreeSet<UnitName> {
        let observed = self.observed.get(id);
        let generation = observed.map_or(0, |observed| observed.generation);
        let released = desired.releasing.iter();
        let released = released
            .filter(|(_, taken)| **taken > generation)
            .map(|(name, _)| name);
        let seen = observed.into_iter().flat_map(|seen| seen.units.keys());
        released
            .chain(seen)
            .filter(|name| !desired.units.contains_key(*name))
            .cloned()
            .collect()
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

/// A model and the watch that keeps it right.
#[derive(Debug)]
pub struct Feed {
    pub model: Model,
    watch: Watch,
}

impl Feed {
    pub async fn open(store: &impl Store) -> Result<Feed, Error> {
        let model = Model::read(store).await?;
        let watch = store.watch(keys::ALL, model.revision + 1).await?;
        Ok(Feed { model, watch })
    }

    /// Waits for the next change and takes in all that have come.
    pub async fn advance(&mut self) -> Result<(), WatchEnd> {
        let mut batch = self.watch.next().await?;
        loop {
            self.model.apply(&batch);
            match self.watch.ready() {
                Some(next) => batch = next?,
                None => return Ok(()),
            }
        }
    }
}

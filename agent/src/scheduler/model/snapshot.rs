//! What the planner is told of the cluster: units, machines, and how far each move has come.

use std::collections::{BTreeMap, BTreeSet};

use super::Model;
use crate::scheduler::keys::{Desired, Move, Seen, Stage, State};
use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;
use crate::scheduler::plan::{Away, Progress, Snapshot, Wanted, Way};
use crate::scheduler::text::Digest;
use crate::scheduler::turn::Turn;
use crate::systemd::Active;

impl Model {
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

//! What the planner works on: the snapshot in a form that is quick to ask.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::class::Classes;
use super::obstacle::{self, Obstacle, Purpose};
use super::{Cause, Change, Pending, Plan, Snapshot, Step, Verdict};
use crate::scheduler::machine::{Machine, MachineId};
use crate::scheduler::name::UnitName;
use crate::scheduler::requirement::{Reach, Requirements};
use crate::scheduler::target::Target;

#[derive(Debug, Clone, Copy)]
pub(super) struct Resident<'s> {
    pub name: &'s UnitName,
    pub requirements: &'s Requirements,
}

/// One live machine and what it is to hold after the plan.
#[derive(Debug)]
pub(super) struct Slot<'s> {
    pub id: &'s MachineId,
    pub machine: &'s Machine,
    pub residents: Vec<Resident<'s>>,
    pub memory: u64,
    pub memory_size: u64,
    pub cpu: u64,
    pub cpu_size: u64,
    /// How many residents keep others away.
    pub guards: usize,
    /// What may still run there although it is to go.
    pub leaving: Vec<(&'s UnitName, Option<&'s Requirements>)>,
}

#[derive(Debug)]
pub(super) struct Work<'s> {
    pub snapshot: &'s Snapshot,
    pub classes: Classes<'s>,
    pub slots: Vec<Slot<'s>>,
    pub holders: HashMap<&'s UnitName, Vec<usize>>,
    /// Units of a class (for `Spread=`) by metadata key and value.
    pub spread: HashMap<(usize, &'s str, &'s str), i64>,
    /// Single units that stay with a machine that is away.
    pub elsewhere: BTreeSet<&'s UnitName>,
    changes: Vec<Change>,
    pub pending: BTreeMap<UnitName, Pending>,
    pub moves: BTreeMap<UnitName, Step>,
}

impl<'s> Work<'s> {
    pub(super) fn new(snapshot: &'s Snapshot) -> Work<'s> {
        let slots = snapshot.machines.iter().map(|(id, machine)| Slot {
            id,
            machine,
            residents: Vec::new(),
            memory: 0,
            memory_size: machine.amount("memory").unwrap_or(0),
            cpu: 0,
            cpu_size: machine.amount("cpus").unwrap_or(0) * 1000,
            guards: 0,
            leaving: Vec::new(),
        });
        let mut work = Work {
            snapshot,
            classes: Classes::of(snapshot),
            slots: slots.collect(),
            holders: HashMap::with_capacity(snapshot.units.len()),
            spread: HashMap::new(),
            elsewhere: BTreeSet::new(),
            changes: Vec::new(),
            pending: BTreeMap::new(),
            moves: BTreeMap::new(),
        };
        for (unit, machines) in &snapshot.leaving {
            for machine in machines {
                work.leaves(unit, machine);
            }
        }
        work
    }

    fn leaves(&mut self, unit: &'s UnitName, machine: &MachineId) {
        let snapshot = self.snapshot;
        let wanted = snapshot.units.get(unit);
        if let Some(index) = self.index_of(machine) {
            let requirements = wanted.map(|wanted| &*wanted.requirements);
            self.slots[index].leaving.push((unit, requirements));
        }
    }

    /// Counts the unit as held by the machine.
    pub(super) fn settle(&mut self, name: &'s UnitName, index: usize) {
        let class = self.classes.of_unit[name];
        let requirements = self.classes.all[class].requirements;
        let slot = &mut self.slots[index];
        slot.memory += requirements.memory;
        slot.cpu += requirements.cpu;
        slot.guards += guards(requirements);
        slot.residents.push(Resident { name, requirements });
        for key in &requirements.spread {
            if let Some(value) = slot.machine.metadata.get(key) {
                *self.spread.entry((class, key, value)).or_default() += 1;
            }
        }
        self.holders.entry(name).or_default().push(index);
    }

    pub(super) fn unsettle(&mut self, name: &UnitName, index: usize) {
        let class = self.classes.of_unit[name];
        let requirements = self.classes.all[class].requirements;
        let slot = &mut self.slots[index];
        slot.memory -= requirements.memory;
        slot.cpu -= requirements.cpu;
        slot.guards -= guards(requirements);
        slot.residents.retain(|resident| resident.name != name);
        for key in &requirements.spread {
            if let Some(value) = slot.machine.metadata.get(key)
                && let Some(count) = self.spread.get_mut(&(class, key, value))
            {
                *count -= 1;
            }
        }
        if let Some(holders) = self.holders.get_mut(name) {
            holders.retain(|holder| *holder != index);
        }
    }

    pub(super) fn place(&mut self, name: &'s UnitName, index: usize) {
        self.settle(name, index);
        self.changes.push(Change::Place {
            unit: name.clone(),
            machine: self.slots[index].id.clone(),
        });
    }

    pub(super) fn remove(&mut self, unit: &UnitName, machine: &MachineId, cause: Cause) {
        let snapshot = self.snapshot;
        if let Some((placed, _)) = snapshot.placed.get_key_value(unit) {
            self.leaves(placed, machine);
        }
        self.changes.push(Change::Remove {
            unit: unit.clone(),
            machine: machine.clone(),
            cause,
        });
    }

    /// Takes a unit away that was to stay or was just placed.
    pub(super) fn evict(&mut self, unit: &UnitName, index: usize, cause: Cause) {
        self.unsettle(unit, index);
        let machine = self.slots[index].id.clone();
        let placed_now = |change: &Change| matches!(change, Change::Place { unit: u, machine: m } if u == unit && *m == machine);
        match self.changes.iter().rposition(placed_now) {
            Some(at) => drop(self.changes.remove(at)),
            None => self.remove(unit, &machine, cause),
        }
        self.pending.insert(unit.clone(), Pending::Leaving);
    }

    pub(super) fn index_of(&self, id: &MachineId) -> Option<usize> {
        self.slots.binary_search_by(|slot| slot.id.cmp(id)).ok()
    }

    /// Machines that hold all of what the unit follows; nothing when it follows none.
    pub(super) fn followed(&self, requirements: &Requirements) -> Option<BTreeSet<usize>> {
        let mut targets = requirements.machine_of.iter();
        let first = self.held(targets.next()?);
        Some(targets.fold(first, |machines, target| &machines & &self.held(target)))
    }

    /// Machines that hold the target, or one of the units that it stands for.
    fn held(&self, target: &Target) -> BTreeSet<usize> {
        match target {
            Target::Unit(unit) => {
                let holders = self.holders.get(unit).into_iter().flatten();
                holders.copied().collect()
            }
            Target::AnyOf(_) => {
                let named = self.holders.iter().filter(|(unit, _)| target.is(unit));
                named.flat_map(|(_, holders)| holders).copied().collect()
            }
        }
    }

    pub(super) fn verdict(&self, unit: &UnitName, index: usize) -> Option<Verdict> {
        let class = *self.classes.of_unit.get(unit)?;
        let requirements = self.classes.all[class].requirements;
        let slot = &self.slots[index];
        if slot.residents.iter().any(|resident| resident.name == unit) {
            return Some(Verdict::Holds);
        }
        let purpose = match requirements.reach {
            Reach::Single => Purpose::Place,
            Reach::Global => Purpose::Everywhere,
        };
        let absent = || {
            let targets = requirements.machine_of.iter();
            targets
                .filter(|target| !self.held(target).contains(&index))
                .map(Obstacle::Follows)
                .next()
        };
        let found = obstacle::of_machine(requirements, slot.machine, purpose)
            .or_else(absent)
            .or_else(|| slot.against(unit, requirements));
        Some(match found {
            Some(obstacle) => Verdict::MayNot(obstacle.to_string()),
            None => Verdict::May {
                cost: self.cost(class, index),
            },
        })
    }

    /// Removals first, each kind by unit and machine.
    pub(super) fn into_plan(mut self) -> Plan {
        self.changes.sort_by(|a, b| key(a).cmp(&key(b)));
        Plan {
            changes: self.changes,
            pending: self.pending,
            moves: self.moves,
        }
    }
}

fn key(change: &Change) -> (u8, &UnitName, &MachineId) {
    match change {
        Change::Remove { unit, machine, .. } => (0, unit, machine),
        Change::Place { unit, machine } => (1, unit, machine),
    }
}

fn guards(requirements: &Requirements) -> usize {
    usize::from(!requirements.conflicts.is_empty() || !requirements.replaces.is_empty())
}

impl Slot<'_> {
    /// How full the machine is, 0 to 200.
    pub(super) fn share(&self) -> i64 {
        let percent = |used: u64, size: u64| match size {
            0 => 0,
            size => (u128::from(used) * 100 / u128::from(size)) as i64,
        };
        percent(self.memory, self.memory_size) + percent(self.cpu, self.cpu_size)
    }
}

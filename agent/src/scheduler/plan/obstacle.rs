//! Why a machine may not hold a unit.

use std::fmt;

use super::work::{Resident, Slot};
use crate::scheduler::machine::{Duty, Machine};
use crate::scheduler::name::UnitName;
use crate::scheduler::requirement::{Course, Hold, Requirements};
use crate::scheduler::target::Target;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle<'s> {
    OtherMachine(&'s str),
    Metadata(&'s str),
    Condition(&'s str),
    Draining,
    Follows(&'s Target),
    Memory {
        asked: u64,
        free: u64,
    },
    Cpu {
        asked: u64,
        free: u64,
    },
    /// The unit's own glob names the other.
    KeepsAway(&'s UnitName),
    /// The other's glob names the unit.
    KeptAway(&'s UnitName),
    Replaced(&'s UnitName),
}

/// Conditions on live facts and the duty of the machine count when a unit is put somewhere; what
/// is there already stays there when a load goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Place,
    Keep,
    /// Global units stay on a machine that drains, and come to it.
    Everywhere,
}

pub(super) fn of_machine<'s>(
    requirements: &'s Requirements,
    machine: &Machine,
    purpose: Purpose,
) -> Option<Obstacle<'s>> {
    if let Some(id) = &requirements.machine_id
        && !machine.id.is_named(id)
    {
        return Some(Obstacle::OtherMachine(id));
    }
    let has = |key: &str, values: &std::collections::BTreeSet<String>| {
        let value = machine.metadata.get(key);
        value.is_some_and(|value| values.contains(value))
    };
    let missing = requirements.metadata.iter().find(|(k, v)| !has(k, v));
    if let Some((key, _)) = missing {
        return Some(Obstacle::Metadata(key));
    }
    let counts = |live: bool| purpose == Purpose::Place || !live;
    let broken = requirements
        .require
        .iter()
        .find(|condition| counts(condition.is_live()) && !condition.holds(machine));
    if let Some(condition) = broken {
        return Some(Obstacle::Condition(condition.as_str()));
    }
    // What ends is let come to its end.
    let waited_for = requirements.hold == Hold::Sticky || requirements.course != Course::Lasting;
    let stays = purpose == Purpose::Everywhere || (purpose == Purpose::Keep && waited_for);
    (machine.duty == Duty::Draining && !stays).then_some(Obstacle::Draining)
}

impl<'s> Slot<'s> {
    /// What speaks against one more unit, of those that are there.
    pub(super) fn against(
        &self,
        name: &UnitName,
        requirements: &Requirements,
    ) -> Option<Obstacle<'s>> {
        self.room(requirements)
            .or_else(|| self.company(name, requirements))
            .or_else(|| self.departing(name, requirements))
    }

    /// What is on its way out keeps away, and is kept away from, until it has left.
    fn departing(&self, name: &UnitName, requirements: &Requirements) -> Option<Obstacle<'s>> {
        let hits = |globs: &[crate::scheduler::glob::Glob], name: &UnitName| {
            globs.iter().any(|glob| glob.matches(name.as_str()))
        };
        let mut others = self.leaving.iter().filter(|(other, _)| *other != name);
        others.find_map(|(other, theirs)| match theirs {
            _ if hits(&requirements.conflicts, other) => Some(Obstacle::KeepsAway(other)),
            Some(theirs) if hits(&theirs.conflicts, name) => Some(Obstacle::KeptAway(other)),
            _ => None,
        })
    }

    pub(super) fn room(&self, requirements: &Requirements) -> Option<Obstacle<'s>> {
        let free = self.memory_size.saturating_sub(self.memory);
        if requirements.memory > free {
            let asked = requirements.memory;
            return Some(Obstacle::Memory { asked, free });
        }
        let free = self.cpu_size.saturating_sub(self.cpu);
        let asked = requirements.cpu;
        (asked > free).then_some(Obstacle::Cpu { asked, free })
    }

    pub(super) fn company(
        &self,
        name: &UnitName,
        requirements: &Requirements,
    ) -> Option<Obstacle<'s>> {
        if requirements.conflicts.is_empty() && requirements.replaces.is_empty() && self.guards == 0
        {
            return None;
        }
        let others = self.residents.iter().filter(|other| other.name != name);
        others
            .filter_map(|other| between(name, requirements, other))
            .next()
    }
}

fn between<'s>(name: &UnitName, own: &Requirements, other: &Resident<'s>) -> Option<Obstacle<'s>> {
    let hits = |globs: &[crate::scheduler::glob::Glob], name: &UnitName| {
        globs.iter().any(|glob| glob.matches(name.as_str()))
    };
    if hits(&own.conflicts, other.name) {
        return Some(Obstacle::KeepsAway(other.name));
    }
    if hits(&other.requirements.conflicts, name) {
        return Some(Obstacle::KeptAway(other.name));
    }
    let replaced = hits(&other.requirements.replaces, name) && !hits(&own.replaces, other.name);
    replaced.then_some(Obstacle::Replaced(other.name))
}

/// Whether the first is to push the second off its machine.
pub(super) fn replaces(
    (name, own): (&UnitName, &Requirements),
    (other_name, other): (&UnitName, &Requirements),
) -> bool {
    let hits = |globs: &[crate::scheduler::glob::Glob], name: &UnitName| {
        globs.iter().any(|glob| glob.matches(name.as_str()))
    };
    name != other_name && hits(&own.replaces, other_name) && !hits(&other.replaces, name)
}

impl fmt::Display for Obstacle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: &u64| *bytes as f64 / (1024.0 * 1024.0);
        match self {
            Obstacle::OtherMachine(id) => write!(f, "MachineID asks for {id}"),
            Obstacle::Metadata(key) => write!(f, "MachineMetadata: {key} is not as asked"),
            Obstacle::Condition(text) => write!(f, "Require: {text} does not hold"),
            Obstacle::Draining => f.write_str("the machine is being drained"),
            Obstacle::Follows(target) => write!(f, "MachineOf: {target} is not there"),
            Obstacle::Memory { asked, free } => write!(
                f,
                "Memory: {:.0}M asked, {:.0}M free",
                mebibytes(asked),
                mebibytes(free)
            ),
            Obstacle::Cpu { asked, free } => write!(
                f,
                "CPU: {} asked, {} free",
                *asked as f64 / 1000.0,
                *free as f64 / 1000.0
            ),
            Obstacle::KeepsAway(unit) => write!(f, "Conflicts: {unit} is there"),
            Obstacle::KeptAway(unit) => write!(f, "{unit} is there and conflicts with it"),
            Obstacle::Replaced(unit) => write!(f, "{unit} is there and replaces it"),
        }
    }
}

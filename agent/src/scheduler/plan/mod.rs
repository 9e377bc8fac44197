//! The planner: a snapshot of the cluster in, changes out. Pure, total and deterministic.
//!
//! A unit that must leave a machine is removed in one plan and placed by a later one, when the
//! snapshot no longer shows that it may run where it was. So one plan never lets a single unit
//! run twice, whatever happens between its writes.

mod brake;
mod class;
mod keep;
mod moving;
mod obstacle;
mod place;
mod rebalance;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use brake::{Brake, WITHIN};
pub use moving::{Progress, Step, Way};
pub use obstacle::Obstacle;
pub use rebalance::{Move, rebalance};

use super::machine::{Machine, MachineId};
use super::name::UnitName;
use super::requirement::{Reach, Requirements};
use work::Work;

/// A unit that is to be on a machine (loaded or launched: for placing it that is the same).
#[derive(Debug, Clone)]
pub struct Wanted {
    pub requirements: Arc<Requirements>,
}

/// A machine whose lease is over and that still has units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// Not long enough, or too many at once: its units stay where they are.
    Waiting,
    /// Long enough: its units go elsewhere.
    Over,
}

#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub units: BTreeMap<UnitName, Wanted>,
    /// Machines with a live lease.
    pub machines: BTreeMap<MachineId, Arc<Machine>>,
    pub away: BTreeMap<MachineId, Away>,
    /// What the machines' desired keys say now.
    pub placed: BTreeMap<UnitName, BTreeSet<MachineId>>,
    /// Units that have ended and are to be nowhere any more.
    pub finished: BTreeSet<UnitName>,
    /// Units that somebody wants on another machine.
    pub moves: BTreeMap<UnitName, Way>,
    /// Live machines that may still run a unit their desired key no longer names.
    pub leaving: BTreeMap<UnitName, BTreeSet<MachineId>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Place {
        unit: UnitName,
        machine: MachineId,
    },
    Remove {
        unit: UnitName,
        machine: MachineId,
        cause: Cause,
    },
}

/// Why a unit has to leave a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    NotWanted,
    /// What was to be done there is done.
    Finished,
    MachineLost,
    /// It may not be there, as the obstacle says.
    Obstacle(String),
    ReplacedBy(UnitName),
    PreemptedBy(UnitName),
    /// Somebody wants it there.
    MovedTo(MachineId),
}

/// A unit that should be somewhere and is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pending {
    /// It is still being stopped where it was.
    Leaving,
    NoMachine,
    /// What it follows is nowhere.
    FollowsNothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub pending: BTreeMap<UnitName, Pending>,
    /// What comes of moves that were asked for.
    pub moves: BTreeMap<UnitName, Step>,
}

/// Whether one machine may hold the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    May { cost: i64 },
    MayNot(String),
}

pub fn plan(snapshot: &Snapshot) -> Plan {
    finished(snapshot).into_plan()
}

/// For each live machine why it may or may not hold the unit, as things stand after the next plan.
pub fn explain(snapshot: &Snapshot, unit: &UnitName) -> BTreeMap<MachineId, Verdict> {
    let work = finished(snapshot);
    let verdict = |index: usize| work.verdict(unit, index);
    snapshot
        .machines
        .keys()
        .enumerate()
        .filter_map(|(index, id)| Some((id.clone(), verdict(index)?)))
        .collect()
}

fn finished(snapshot: &Snapshot) -> Work<'_> {
    let mut work = Work::new(snapshot);
    keep::keep(&mut work);
    moving::begin(&mut work);
    place::globals(&mut work);
    moving::arrive(&mut work);
    place::singles(&mut work);
    work
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        for (unit, pending) in &self.pending {
            writeln!(f, "wait {unit}: {pending}")?;
        }
        for (unit, step) in &self.moves {
            if let Step::Over(why) = step {
                writeln!(f, "move of {unit} is over: {why}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Place { unit, machine } => write!(f, "place {unit} on {machine}"),
            Change::Remove {
                unit,
                machine,
                cause,
            } => write!(f, "remove {unit} from {machine}: {cause}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::NotWanted => f.write_str("it is no longer wanted"),
            Cause::Finished => f.write_str("it has ended"),
            Cause::MachineLost => f.write_str("the machine's lease is over"),
            Cause::Obstacle(obstacle) => f.write_str(obstacle),
            Cause::ReplacedBy(unit) => write!(f, "{unit} replaces it"),
            Cause::PreemptedBy(unit) => write!(f, "{unit} has a higher priority"),
            Cause::MovedTo(machine) => write!(f, "it is to be moved to {machine}"),
        }
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pending::Leaving => "it is still being stopped where it was",
            Pending::NoMachine => "no machine may hold it",
            Pending::FollowsNothing => "what it follows is on no one machine",
        })
    }
}

impl Wanted {
    pub(super) fn reach(&self) -> Reach {
        self.requirements.reach
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;

//! What happens in the cluster, told from the changes of its keys. Pure: entries in, events out.

mod tracker;

use std::fmt;

use serde::Serialize;

use super::keys::State;
use super::machine::{Duty, MachineId};
use super::name::UnitName;
use crate::store::Revision;
use crate::systemd::Active;
pub use tracker::Tracker;

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
mod tests;

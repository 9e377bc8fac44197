//! What a unit asks of the cluster: its `[X-Fleet]` and `[X-Strake]` options, checked.
//!
//! Here is what was found; `read` finds it, with the options of one section in `fleet` and those of
//! the other in `strake`, and `consistency` refuses what does not go together.

mod consistency;
mod fleet;
mod read;
mod strake;

use std::collections::{BTreeMap, BTreeSet};

use super::calendar::Calendar;
use super::condition::Condition;
use super::glob::Glob;
use super::keys::Fence;
use super::target::Target;

const FLEET: &str = "X-Fleet";
const STRAKE: &str = "X-Strake";

/// Whether a unit runs on one machine or on every one that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Reach {
    #[default]
    Single,
    Global,
}

/// Whether a unit that was placed may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Hold {
    #[default]
    Movable,
    Sticky,
}

/// How long a unit is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Course {
    /// Until somebody says otherwise.
    #[default]
    Lasting,
    /// Until it has ended, well or not.
    Once,
    /// At each of these times until it has ended.
    Calendar(Box<Calendar>),
}

/// How many instances a template has, and how their texts are replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replicas {
    pub count: usize,
    /// How many of them may be down for being replaced.
    pub most_down: usize,
    /// A replica has to be up for so many seconds to be healthy,
    pub healthy_for: u64,
    /// and it has to be healthy within so many.
    pub healthy_within: u64,
}

impl Default for Replicas {
    fn default() -> Replicas {
        Replicas {
            count: 0,
            most_down: 1,
            healthy_for: 10,
            healthy_within: 300,
        }
    }
}

/// Units with equal requirements form one class for the planner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Requirements {
    pub machine_id: Option<String>,
    /// It has to be beside each of these.
    pub machine_of: BTreeSet<Target>,
    /// One of the values for each key.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    pub conflicts: Vec<Glob>,
    pub replaces: Vec<Glob>,
    pub reach: Reach,
    pub require: Vec<Condition>,
    pub prefer: Vec<(i64, Condition)>,
    /// Other units this one would rather not share a machine with.
    pub avoid: Vec<Glob>,
    /// Metadata keys over whose values units of the same name before `@` are spread.
    pub spread: Vec<String>,
    /// Bytes.
    pub memory: u64,
    /// Thousandths of a processor.
    pub cpu: u64,
    pub priority: i32,
    pub hold: Hold,
    pub course: Course,
    pub fence: Fence,
    /// Of a template only.
    pub replicas: Replicas,
}

#[cfg(test)]
mod tests;

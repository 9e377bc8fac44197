//! What lies where in the store. Each key has one writer; values are JSON.
//!
//! | key below `/strake/v1/` | value | writer |
//! |---|---|---|
//! | `machines/ID` | `Machine`, under the machine's lease | that machine |
//! | `tags/ID` | `Tags` | users |
//! | `units/NAME` | `Unit` | users |
//! | `text/DIGEST` | the unit's text | users; the leader removes what nobody uses |
//! | `desired/ID` | `Desired` | the leader |
//! | `observed/ID` | `Observed` | that machine |
//! | `rollout/NAME` | `Rollout` of a template with replicas | the leader |
//! | `done/NAME` | `Done` | the machine that the unit is on; the leader removes what no unit has |
//! | `moves/NAME` | `Move` | users and, by the policy, the leader; the leader removes what is done |
//! | `policy/rebalance` | `Policy` | users |
//! | `leader/N` | a seat of the election | candidates |

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::machine::{Duty, MachineId};
use super::name::UnitName;
use super::requirement::Reach;
use super::text::Digest;
use crate::systemd::Active;

pub const ALL: &str = "/strake/v1/";
pub const UNITS: &str = "/strake/v1/units/";
pub const TEXTS: &str = "/strake/v1/text/";
pub const DONE: &str = "/strake/v1/done/";
pub const MACHINES: &str = "/strake/v1/machines/";
pub const TAGS: &str = "/strake/v1/tags/";
pub const DESIRED: &str = "/strake/v1/desired/";
pub const OBSERVED: &str = "/strake/v1/observed/";
pub const LEADER: &str = "/strake/v1/leader/";
pub const MOVES: &str = "/strake/v1/moves/";
pub const POLICY: &str = "/strake/v1/policy/rebalance";

pub fn machine(id: &MachineId) -> String {
    format!("{MACHINES}{id}")
}

pub fn tags(id: &MachineId) -> String {
    format!("{TAGS}{id}")
}

pub fn unit(name: &UnitName) -> String {
    format!("{UNITS}{name}")
}

pub fn text(digest: &Digest) -> String {
    format!("{TEXTS}{digest}")
}

pub fn desired(id: &MachineId) -> String {
    format!("{DESIRED}{id}")
}

pub fn observed(id: &MachineId) -> String {
    format!("{OBSERVED}{id}")
}

pub fn rollout(template: &UnitName) -> String {
    format!("{ALL}rollout/{template}")
}

pub fn movement(name: &UnitName) -> String {
    format!("{MOVES}{name}")
}

pub fn done(name: &UnitName) -> String {
    format!("{DONE}{name}")
}

/// What is to become of a unit, in fleet's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Known, on no machine.
    Inactive,
    /// Given to a machine, not started.
    Loaded,
    /// Started.
    Launched,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Inactive => "inactive",
            State::Loaded => "loaded",
            State::Launched => "launched",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state of a unit: inactive, loaded or launched")]
pub struct NoState(String);

impl FromStr for State {
    type Err = NoState;

    fn from_str(text: &str) -> Result<State, NoState> {
        let all = [State::Inactive, State::Loaded, State::Launched];
        let found = all.into_iter().find(|state| state.word() == text);
        found.ok_or_else(|| NoState(text.to_string()))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    pub digest: Digest,
    pub state: State,
    /// When it was started last (milliseconds since 1970, and never the same twice): the name of
    /// that run, for units that end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub run: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What users say about a machine, over what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tags {
    /// Nothing as a value hides a key of the machine's own metadata.
    #[serde(default)]
    pub metadata: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub duty: Duty,
    /// Whether somebody has said that the machine, which is away, does not come back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    pub digest: Digest,
    pub state: State,
    #[serde(default, skip_serializing_if = "Scope::is_single")]
    pub scope: Scope,
    /// Which run of a unit that ends; 0 for all others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub run: u64,
    #[serde(default, skip_serializing_if = "Fence::is_no")]
    pub fence: Fence,
}

/// What a machine does about the unit before its lease is over and another machine may start it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Fence {
    /// Nothing: a silent store stops nothing.
    #[default]
    No,
    /// It is stopped.
    Yes,
}

impl Fence {
    fn is_no(&self) -> bool {
        *self == Fence::No
    }
}

/// Whether the unit runs here only. After a restart without the store, only what runs everywhere
/// may be started from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    #[default]
    Single,
    Global,
}

impl Scope {
    fn is_single(&self) -> bool {
        *self == Scope::Single
    }
}

impl From<Reach> for Scope {
    fn from(reach: Reach) -> Scope {
        match reach {
            Reach::Single => Scope::Single,
            Reach::Global => Scope::Global,
        }
    }
}

/// All that one machine is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Desired {
    /// One more with each write.
    pub generation: u64,
    pub units: BTreeMap<UnitName, Assignment>,
    /// Units that were taken away and the generation that did it: until the machine has observed
    /// that generation, they may still run there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub releasing: BTreeMap<UnitName, u64>,
    /// For how many seconds the machine is to take its lease; nothing: as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<u64>,
}

/// What one machine holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observed {
    /// The latest generation of the desired value whose removals are all done.
    pub generation: u64,
    pub units: BTreeMap<UnitName, Seen>,
}

/// What systemd says of a unit, in its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub digest: Digest,
    pub load: String,
    pub active: Active,
    pub sub: String,
    /// Whether the machine was told to start it and did tell systemd.
    pub started: bool,
    /// The run it was started for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub run: u64,
    /// Why loading or starting it does not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a run of a unit ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// systemd's word: `success`, `exit-code`, `signal`, `timeout`, ...
    pub result: String,
    /// The exit code, or the signal that ended it.
    pub code: i32,
    /// Milliseconds since 1970, by the machine's clock.
    pub at: u64,
    /// The last lines that it wrote.
    #[serde(default)]
    pub log: Vec<String>,
}

impl Ended {
    pub fn is_well(&self) -> bool {
        self.result == "success"
    }
}

/// The last run that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub run: u64,
    pub digest: Digest,
    pub machine: MachineId,
    #[serde(flatten)]
    pub ended: Ended,
}

/// A unit that is to leave a machine for another one, since somebody asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub from: MachineId,
    /// Where it goes if it can still be there when it has left; anywhere else otherwise.
    pub to: MachineId,
    #[serde(default)]
    pub stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    #[default]
    Asked,
    /// It was taken from its machine for this. It is not taken from one again.
    Begun,
}

impl Move {
    pub fn new(from: MachineId, to: MachineId) -> Move {
        Move {
            from,
            to,
            stage: Stage::Asked,
        }
    }
}

/// How the leader moves units by itself to where they are better off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Seconds from one look to the next.
    pub every: u64,
    /// The most units moved after one look.
    pub moves: usize,
    /// By how much a unit has to cost less elsewhere.
    pub gain: i64,
}

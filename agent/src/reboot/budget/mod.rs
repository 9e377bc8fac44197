//! The failure budget: a release that fell back on too many machines is refused by the whole
//! cluster, until somebody lifts that.
//!
//! | key below `/strake/v1/` | value | writer |
//! |---|---|---|
//! | `fallbacks/VERSION/ID` | `FallBack` | that machine, before it gives the reboot lock back |
//! | `refused/VERSION` | `Refused` | the machine whose fall back used the budget up |
//! | `trying/VERSION/ID` | nothing | that machine, from before its reboot until it knows |
//! | `proven/VERSION` | nothing | the first machine that is healthy on it |
//!
//! Until a release is proven somewhere, no more machines try it at once than the budget has left:
//! a release that fails everywhere touches no more machines than that.
//!
//! What a machine has told is on its STATE and is not told again: a lifted release starts anew.

mod report;
mod standing;
#[cfg(test)]
mod tests;
mod trial;

use serde::{Deserialize, Serialize};
use strake_updates::time::Timestamp;
use strake_updates::version::Version;

use crate::apply::write;
use crate::scheduler::keys::{ALL, MACHINES};
use crate::store::{self, Store, Write, read_all};
use crate::update::node;
pub use report::tell;
pub use standing::{Standing, lift, refusals, standings};
pub use trial::{Obstacle, enter, leave, prove};

/// Below so many machines one fall back is enough.
const SMALL: usize = 10;
const PERCENT: usize = 2;
/// How the cause of a refusal begins that is not this machine's own.
pub const BY_CLUSTER: &str = "the cluster refuses it: ";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallBack {
    pub machine: String,
    pub cause: String,
    pub boots: u32,
    /// By that machine's clock.
    pub time: Timestamp,
    /// Last lines of the failed boots, oldest first.
    pub journal: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub since: Timestamp,
    /// Fall backs that were enough.
    pub budget: usize,
    /// The cause of the last one.
    pub cause: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error("remembering what the cluster was told")]
    Told(#[source] write::Error),
}

fn fallbacks(version: Version) -> String {
    format!("{ALL}fallbacks/{version}/")
}

pub fn refused_prefix() -> String {
    format!("{ALL}refused/")
}

fn refused(version: Version) -> String {
    format!("{}{version}", refused_prefix())
}

fn trying(version: Version) -> String {
    format!("{ALL}trying/{version}/")
}

fn proven(version: Version) -> String {
    format!("{ALL}proven/{version}")
}

async fn is_refused(store: &impl Store, version: Version) -> Result<bool, store::Error> {
    Ok(store.read(&refused(version)).await?.is_some())
}

/// Of so many machines.
pub fn default_budget(machines: usize) -> usize {
    match machines {
        0..SMALL => 1,
        more => (more * PERCENT / 100).max(1),
    }
}

async fn budget_of(store: &impl Store, given: Option<usize>) -> Result<usize, store::Error> {
    Ok(match given {
        Some(budget) => budget,
        None => default_budget(read_all(store, MACHINES).await?.entries.len()),
    })
}

fn put(key: String, value: &impl Serialize) -> Write {
    Write::Put {
        key,
        // Types of ours, whose serialisation cannot fail.
        value: serde_json::to_vec(value).unwrap_or_default(),
        lease: None,
    }
}

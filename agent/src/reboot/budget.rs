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

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use strake_updates::time::Timestamp;
use strake_updates::version::Version;

use crate::apply::tree::Node as File;
use crate::apply::write::{self, write_one};
use crate::root::Root;
use crate::scheduler::keys::{ALL, MACHINES};
use crate::store::{self, Compare, MAX_OPERATIONS, Store, Transaction, Write, read_all};
use crate::update::clock;
use crate::update::node::{self, Node, Refusal};

const TOLD: &str = "/state/reboot-told.json";
/// Refusals told and remembered; the machine itself remembers fewer.
const MOST: usize = 64;
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

/// One release that fell back somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub version: Version,
    pub refused: Option<Refused>,
    pub fallbacks: Vec<FallBack>,
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

/// What keeps a machine from rebooting into a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    Refused,
    /// So many others try it already, or have fallen back, and nobody is healthy on it yet.
    Unproven {
        others: usize,
    },
}

/// Asked right before the reboot into the release. Without an obstacle the machine counts as one
/// that tries it, until `prove`, `tell` or `leave` say how it went.
pub async fn enter(
    store: &impl Store,
    id: &str,
    version: Version,
    budget: Option<usize>,
) -> Result<Option<Obstacle>, store::Error> {
    if is_refused(store, version).await? {
        return Ok(Some(Obstacle::Refused));
    }
    let key = format!("{}{id}", trying(version));
    let transaction = Transaction {
        compares: vec![Compare::Created(key.clone(), 0)],
        writes: vec![put(key.clone(), &"")],
    };
    // Refused: it is there since an earlier try, which may have ended in any way.
    store.commit(&transaction).await?;
    if store.read(&proven(version)).await?.is_some() {
        return Ok(None);
    }
    let tries = read_all(store, &trying(version)).await?.entries;
    let own = tries.iter().find(|entry| entry.key == key);
    // In the order in which they came, so that of two who look at once one goes on.
    let is_earlier = |created: i64| own.is_none_or(|own| created < own.created);
    let earlier = tries
        .iter()
        .filter(|entry| is_earlier(entry.created))
        .count();
    let fell_back = read_all(store, &fallbacks(version)).await?.entries.len();
    let others = earlier + fell_back;
    if others < budget_of(store, budget).await? {
        return Ok(None);
    }
    leave(store, id, version).await?;
    Ok(Some(Obstacle::Unproven { others }))
}

/// It was not tried after all.
pub async fn leave(store: &impl Store, id: &str, version: Version) -> Result<(), store::Error> {
    let key = format!("{}{id}", trying(version));
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Delete { key }],
    };
    store.commit(&transaction).await.map(drop)
}

/// It runs here, and the boot was healthy.
pub async fn prove(store: &impl Store, id: &str, version: Version) -> Result<(), store::Error> {
    let key = proven(version);
    let transaction = Transaction {
        compares: vec![Compare::Created(key.clone(), 0)],
        writes: vec![put(key, &"")],
    };
    // Refused: another one was first.
    store.commit(&transaction).await?;
    leave(store, id, version).await
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

/// Of so many machines.
pub fn default_budget(machines: usize) -> usize {
    match machines {
        0..SMALL => 1,
        more => (more * PERCENT / 100).max(1),
    }
}

type Mark = (Version, Timestamp);

fn told(root: &Root) -> Vec<Mark> {
    let text = root.read_text(TOLD).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// This machine's own refusals that the cluster does not know.
fn untold(node: &Node, told: &[Mark]) -> Vec<Refusal> {
    let is_own = |refusal: &&Refusal| !refusal.cause.starts_with(BY_CLUSTER);
    let is_new = |refusal: &&Refusal| !told.contains(&(refusal.version, refusal.time));
    let refused = node.refused.iter();
    refused.filter(is_own).filter(is_new).cloned().collect()
}

/// Tells the cluster what fell back here, and refuses for all what was too much. On return it is
/// told, also when this machine dies right after.
pub async fn tell(
    root: &Root,
    store: &impl Store,
    id: &str,
    budget: Option<usize>,
) -> Result<(), Error> {
    let mut known = told(root);
    for refusal in untold(&Node::load(root)?, &known) {
        let version = refusal.version;
        let fall_back = FallBack {
            machine: id.to_string(),
            cause: refusal.cause,
            boots: refusal.boots,
            time: refusal.time,
            journal: refusal.journal,
        };
        let key = format!("{}{id}", fallbacks(version));
        let tried = format!("{}{id}", trying(version));
        let transaction = Transaction {
            compares: Vec::new(),
            writes: vec![put(key, &fall_back), Write::Delete { key: tried }],
        };
        store.commit(&transaction).await?;
        refuse_for_all(store, version, &fall_back.cause, budget).await?;
        known.push((version, refusal.time));
        let excess = known.len().saturating_sub(MOST);
        known.drain(..excess);
        let text = serde_json::to_string(&known).unwrap_or_default() + "\n";
        write_one(root, TOLD, File::text(text)).map_err(Error::Told)?;
    }
    Ok(())
}

async fn refuse_for_all(
    store: &impl Store,
    version: Version,
    cause: &str,
    budget: Option<usize>,
) -> Result<(), store::Error> {
    let fell_back = read_all(store, &fallbacks(version)).await?.entries.len();
    let budget = budget_of(store, budget).await?;
    if fell_back < budget {
        return Ok(());
    }
    let value = Refused {
        since: clock(),
        budget,
        cause: cause.to_string(),
    };
    let key = refused(version);
    let transaction = Transaction {
        compares: vec![Compare::Created(key.clone(), 0)],
        writes: vec![put(key, &value)],
    };
    // Refused: another machine was first.
    store.commit(&transaction).await.map(drop)
}

async fn is_refused(store: &impl Store, version: Version) -> Result<bool, store::Error> {
    Ok(store.read(&refused(version)).await?.is_some())
}

/// Every release that fell back or is refused, newest first.
pub async fn standings(store: &impl Store) -> Result<Vec<Standing>, store::Error> {
    let prefix = format!("{ALL}fallbacks/");
    let mut versions: BTreeSet<Version> = refusals(store).await?;
    let entries = read_all(store, &prefix).await?.entries;
    let version_of = |key: &str| -> Option<Version> {
        key.strip_prefix(&prefix)?.split('/').next()?.parse().ok()
    };
    versions.extend(entries.iter().filter_map(|entry| version_of(&entry.key)));
    let mut standings = Vec::new();
    for version in versions.into_iter().rev() {
        let own = entries
            .iter()
            .filter(|entry| version_of(&entry.key) == Some(version));
        let mut fallbacks: Vec<FallBack> = own
            .filter_map(|entry| serde_json::from_slice(&entry.value).ok())
            .collect();
        fallbacks.sort_by_key(|fall_back| fall_back.time);
        let entry = store.read(&refused(version)).await?;
        let refused = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        standings.push(Standing {
            version,
            refused,
            fallbacks,
        });
    }
    Ok(standings)
}

/// The releases that the cluster refuses now.
pub async fn refusals(store: &impl Store) -> Result<BTreeSet<Version>, store::Error> {
    let prefix = refused_prefix();
    let listing = read_all(store, &prefix).await?;
    let versions = listing.entries.iter();
    Ok(versions
        .filter_map(|entry| entry.key.strip_prefix(&prefix)?.parse().ok())
        .collect())
}

/// Lets the cluster try the release again, as if it had not fallen back; false when nothing was
/// known against it.
pub async fn lift(store: &impl Store, version: Version) -> Result<bool, store::Error> {
    let entries = read_all(store, &fallbacks(version)).await?.entries;
    let mut keys: Vec<String> = entries.into_iter().map(|entry| entry.key).collect();
    if is_refused(store, version).await? {
        keys.push(refused(version));
    }
    if store.read(&proven(version)).await?.is_some() && !keys.is_empty() {
        keys.push(proven(version));
    }
    let was_known = !keys.is_empty();
    for some in keys.chunks(MAX_OPERATIONS) {
        let writes = some.iter().cloned().map(|key| Write::Delete { key });
        let transaction = Transaction {
            compares: Vec::new(),
            writes: writes.collect(),
        };
        store.commit(&transaction).await?;
    }
    Ok(was_known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    fn version(text: &str) -> Version {
        text.parse().expect("version")
    }

    fn refusal(text: &str, time: u64, cause: &str) -> Refusal {
        Refusal {
            version: version(text),
            time: Timestamp::from_unix(time),
            cause: cause.into(),
            boots: 3,
            journal: vec!["-- boot 1".into(), "it broke".into()],
        }
    }

    fn machine(refusals: &[Refusal]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let mut node = Node::default();
        refusals
            .iter()
            .cloned()
            .for_each(|refusal| node.refuse(refusal));
        node.save(&root).expect("saved");
        (dir, root)
    }

    async fn live(store: &Memory, machines: usize) {
        for index in 0..machines {
            let writes = vec![put(format!("{MACHINES}m{index}"), &"")];
            let transaction = Transaction {
                compares: Vec::new(),
                writes,
            };
            store.commit(&transaction).await.expect("written");
        }
    }

    #[test]
    fn one_machine_is_enough_in_a_small_cluster_and_a_fiftieth_in_a_large_one() {
        let cases = [
            (0, 1),
            (1, 1),
            (9, 1),
            (10, 1),
            (99, 1),
            (100, 2),
            (149, 2),
            (10_000, 200),
        ];
        for (machines, budget) in cases {
            assert_eq!(default_budget(machines), budget, "{machines}");
        }
    }

    #[tokio::test]
    async fn what_fell_back_is_told_once_and_lifting_it_starts_anew() {
        let store = Memory::default();
        let by_cluster = format!("{BY_CLUSTER}kernel panic");
        let (_dir, root) = machine(&[
            refusal("1.1.0", 100, "kernel panic"),
            refusal("1.0.5", 50, &by_cluster),
        ]);
        for _ in 0..2 {
            tell(&root, &store, "a", None).await.expect("told");
        }
        let known = standings(&store).await.expect("answer");
        assert_eq!(known.len(), 1);
        assert_eq!(
            (known[0].version, known[0].fallbacks.len()),
            (version("1.1.0"), 1)
        );
        assert_eq!(known[0].fallbacks[0].journal[1], "it broke");
        let refused = known[0].refused.as_ref().expect("refused");
        assert_eq!(
            (refused.budget, refused.cause.as_str()),
            (1, "kernel panic")
        );
        assert!(is_refused(&store, version("1.1.0")).await.expect("answer"));
        assert!(lift(&store, version("1.1.0")).await.expect("lifted"));
        assert!(!lift(&store, version("1.1.0")).await.expect("nothing there"));
        tell(&root, &store, "a", None).await.expect("told before");
        assert_eq!(standings(&store).await.expect("answer"), Vec::new());
        // It was tried again here, and fell back again.
        let mut node = Node::load(&root).expect("node");
        node.refuse(refusal("1.1.0", 200, "kernel panic"));
        node.save(&root).expect("saved");
        tell(&root, &store, "a", None).await.expect("told");
        assert_eq!(refusals(&store).await.expect("answer").len(), 1);
    }

    #[tokio::test]
    async fn an_unproven_release_is_tried_by_no_more_than_the_budget_at_once() {
        let store = Memory::default();
        live(&store, 5).await;
        let bad = version("2.0.0");
        let enter = async |id: &str, given| {
            let entered = enter(&store, id, bad, given).await;
            entered.expect("answer")
        };
        let others = |others| Some(Obstacle::Unproven { others });
        assert_eq!(enter("a", None).await, None);
        assert_eq!(enter("a", None).await, None, "it may ask twice");
        assert_eq!(enter("b", None).await, others(1));
        assert_eq!(enter("b", Some(2)).await, None);
        assert_eq!(enter("c", Some(2)).await, others(2));
        leave(&store, "a", bad).await.expect("left");
        leave(&store, "b", bad).await.expect("left");
        assert_eq!(enter("c", None).await, None);
        assert_eq!(enter("d", None).await, others(1));
        prove(&store, "c", bad).await.expect("proven");
        for id in ["d", "e", "f"] {
            assert_eq!(enter(id, None).await, None);
        }
        let (_dir, root) = machine(&[refusal("2.0.0", 100, "it hung")]);
        tell(&root, &store, "d", None).await.expect("told");
        assert_eq!(enter("g", None).await, Some(Obstacle::Refused));
        assert!(lift(&store, bad).await.expect("lifted"));
        assert_eq!(
            enter("g", None).await,
            others(2),
            "e and f are not back yet"
        );
    }

    #[tokio::test]
    async fn a_release_is_refused_by_all_when_the_budget_is_used_up_and_not_before() {
        let bad = version("2.0.0");
        for (machines, given, enough) in [(100, None, 2), (3, Some(3), 3), (500, None, 10)] {
            let store = Memory::default();
            live(&store, machines).await;
            for count in 1..=enough {
                let (_dir, root) = machine(&[refusal("2.0.0", 100, "it hung")]);
                let id = format!("m{count}");
                tell(&root, &store, &id, given).await.expect("told");
                let refused = is_refused(&store, bad).await.expect("answer");
                assert_eq!(refused, count == enough, "{count} of {machines}");
            }
        }
    }
}

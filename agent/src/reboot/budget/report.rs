//! What fell back here is told to the cluster, which refuses the release when that was too much.

use strake_updates::time::Timestamp;
use strake_updates::version::Version;

use super::{BY_CLUSTER, Error, FallBack, Refused, budget_of, fallbacks, put, refused, trying};
use crate::apply::tree::Node as File;
use crate::apply::write::write_one;
use crate::root::Root;
use crate::store::{self, Compare, Store, Transaction, Write, read_all};
use crate::update::clock;
use crate::update::node::{Node, Refusal};

const TOLD: &str = "/state/reboot-told.json";
/// Refusals told and remembered; the machine itself remembers fewer.
const MOST: usize = 64;

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

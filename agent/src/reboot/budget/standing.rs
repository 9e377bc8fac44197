//! What the cluster knows against releases, and how people lift that.

use std::collections::BTreeSet;

use serde::Serialize;
use strake_updates::version::Version;

use super::{FallBack, Refused, fallbacks, is_refused, proven, refused, refused_prefix};
use crate::scheduler::keys::ALL;
use crate::store::{self, MAX_OPERATIONS, Store, Transaction, Write, read_all};

/// One release that fell back somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub version: Version,
    pub refused: Option<Refused>,
    pub fallbacks: Vec<FallBack>,
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

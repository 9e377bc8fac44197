//! Trying a release: who may reboot into one that nobody is healthy on yet, and how it went.

use strake_updates::version::Version;

use super::{budget_of, fallbacks, is_refused, proven, put, trying};
use crate::store::{self, Compare, Store, Transaction, Write, read_all};

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

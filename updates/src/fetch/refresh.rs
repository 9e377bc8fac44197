//! Brings what is known of a repository up to date.
//!
//! A machine that is current makes two requests: for a next root that does not exist, and for the
//! timestamp. Everything else has its version in its name and comes from the store's copies, which
//! are verified again like any bytes from outside.

use super::{FetchError, Request, Transport, bytes};
use crate::channel::Channel;
use crate::time::Timestamp as Time;
use crate::tuf::chain::Chain;
use crate::tuf::role::Targets;
use crate::tuf::store::{Store, StoreError, Trust};
use crate::tuf::workflow::{Refused, Verified, Wanted};
use crate::tuf::{ROOT_LIMIT, ROOT_STEPS};

/// Directory of the metadata files in a repository.
pub const METADATA: &str = "metadata";

/// Why nothing new is known. What was known before stays.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error("reading the repository")]
    Fetch(#[from] FetchError),
    #[error("checking the repository")]
    Refused(#[from] Refused),
    #[error("keeping what was learnt")]
    Store(#[from] StoreError),
}

/// Follows the repository from the newest root that is trusted. `shipped` is the root the release
/// came with; `clock` is the machine's own, or the build time of the release when that is later.
pub async fn refresh<T: Transport>(
    transport: &T,
    store: &Store,
    shipped: &[u8],
    clock: Time,
) -> Result<Verified, RefreshError> {
    let kept = store.load()?;
    let mut chain = Chain::start(shipped)?;
    if let Some(trust) = &kept {
        let known = Chain::start(trust.root.as_bytes())?;
        if known.next_version() > chain.next_version() {
            chain = known;
        }
    }
    let seen = kept.map(|trust| trust.seen).unwrap_or_default();
    for _ in 0..ROOT_STEPS {
        let path = format!("{METADATA}/{}.root.json", chain.next_version());
        match bytes(transport, &Request::whole(path, ROOT_LIMIT)).await {
            Ok(file) => chain.extend(&file)?,
            Err(error) if error.is_not_found() => break,
            Err(error) => return Err(error.into()),
        }
    }
    let anchor = chain.close(seen, clock)?;
    let root = String::from_utf8_lossy(anchor.bytes()).into_owned();
    let timestamp = fetch(transport, &anchor.wanted()).await?;
    let timed = anchor.timestamp(&timestamp)?;
    store.save(&Trust {
        root: root.clone(),
        seen: timed.seen().clone(),
    })?;

    let wanted = timed.wanted();
    let snapshot = either(transport, store, &wanted, |file| {
        timed.clone().snapshot(file)
    })
    .await?;
    let wanted = snapshot.wanted()?;
    let verified = either(transport, store, &wanted, |file| {
        snapshot.clone().targets(file)
    })
    .await?;
    store.save(&Trust {
        root,
        seen: verified.seen().clone(),
    })?;
    Ok(verified)
}

/// What a channel offers at present.
pub async fn channel<T: Transport>(
    transport: &T,
    store: &Store,
    verified: &Verified,
    channel: &Channel,
) -> Result<Targets, RefreshError> {
    let name = channel.as_str();
    let wanted = verified.wanted(name)?;
    either(transport, store, &wanted, |file| {
        verified.channel(name, file)
    })
    .await
}

/// The store's copy if it is still the right one, else the repository's.
async fn either<T: Transport, R>(
    transport: &T,
    store: &Store,
    wanted: &Wanted,
    check: impl Fn(&[u8]) -> Result<R, Refused>,
) -> Result<R, RefreshError> {
    if let Some(copy) = store.copy(&wanted.name)
        && let Ok(checked) = check(&copy)
    {
        return Ok(checked);
    }
    let file = fetch(transport, wanted).await?;
    let checked = check(&file)?;
    store.keep_copy(&wanted.name, &file)?;
    Ok(checked)
}

async fn fetch<T: Transport>(transport: &T, wanted: &Wanted) -> Result<Vec<u8>, FetchError> {
    let path = format!("{METADATA}/{}", wanted.name);
    bytes(transport, &Request::whole(path, wanted.limit)).await
}

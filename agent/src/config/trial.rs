//! The user's config is on trial until a boot with it was healthy.
//!
//! In `/state/config`: `pending` is the text on trial, `last-good` the last one that passed,
//! `failed.json` names the one that did not, `tries.json` counts the boots with one of which
//! nobody could tell. The before-boot phase writes `pending` and `tries.json`, health the others.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::record::digest;
use crate::apply::tree::Node;
use crate::apply::write;
use crate::root::Root;

pub const PENDING: &str = "/state/config/pending";
pub const LAST_GOOD: &str = "/state/config/last-good";
pub const FAILED: &str = "/state/config/failed.json";

pub const TRIES: &str = "/state/config/tries.json";

/// A config that keeps health from ever being asked (it restarts the machine, or masks the
/// service) gets this many boots; a power cut alone is not held against it.
pub const MOST_TRIES: u32 = 3;

/// Content of `tries.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tries {
    digest: String,
    boots: u32,
}

/// Boots that began with this text and did not end in a verdict yet, the present one included.
pub fn tries(root: &Root, user: &[u8]) -> u32 {
    let text = root.read_text(TRIES).unwrap_or_default();
    let tries: Option<Tries> = serde_json::from_str(&text).ok();
    let same = tries.filter(|tries| tries.digest == digest(user));
    same.map_or(0, |tries| tries.boots)
}

/// The count with the boot that begins now; none for a text that is not on trial.
pub fn one_more(root: &Root, user: Option<&[u8]>) -> Result<(u32, Node)> {
    let on_trial = user.filter(|user| last_good(root).is_some_and(|good| good != *user));
    let Some(user) = on_trial else {
        return Ok((0, Node::Absent));
    };
    let tries = Tries {
        digest: digest(user),
        boots: tries(root, user).saturating_add(1),
    };
    let text = serde_json::to_string(&tries).context("writing JSON")?;
    Ok((tries.boots, Node::text(text + "\n")))
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub digest: String,
    pub reason: String,
}

pub fn last_good(root: &Root) -> Option<Vec<u8>> {
    root.read(LAST_GOOD).ok()
}

pub fn failed(root: &Root) -> Option<Failed> {
    serde_json::from_str(&root.read_text(FAILED).ok()?).ok()
}

/// The boot was healthy: what was on trial is the last good one now.
pub fn passed(root: &Root) -> Result<()> {
    let (pending, last_good) = (
        root.follow(PENDING.as_ref())?,
        root.follow(LAST_GOOD.as_ref())?,
    );
    match std::fs::rename(&pending, &last_good) {
        Ok(()) => {
            let dir = last_good.parent().unwrap_or(Path::new("/"));
            std::fs::File::open(dir)
                .and_then(|dir| dir.sync_all())
                .context("syncing STATE")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).context("keeping the last good config"),
    }
}

/// The boot was not healthy. Only a config on trial that has a predecessor is to blame.
pub fn did_not_pass(root: &Root, reason: &str) -> Result<()> {
    let Ok(pending) = root.read(PENDING) else {
        return Ok(());
    };
    if last_good(root).is_none() {
        return Ok(());
    }
    let failed = Failed {
        digest: digest(&pending),
        reason: reason.to_string(),
    };
    let text = serde_json::to_string_pretty(&failed).context("writing JSON")?;
    write::write_one(root, FAILED, Node::text(text + "\n")).context("writing failed.json")
}

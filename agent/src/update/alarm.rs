//! What stops updates and needs somebody. An alarm never stops the node or a rollback.

use serde::Serialize;
use strake_updates::time::Timestamp;
use strake_updates::tuf::store::Store;

use super::disk::Disk;
use super::entries::{Entries, is_given_up};
use super::live::{FailureKind, Live};
use super::look::TRUST;
use super::node::{self, Node};
use super::{clock, running};
use crate::root::Root;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What was remembered of updates is gone or cannot be read.
    State,
    Clock,
    /// What the server says is not believed.
    Repository,
    /// There is nothing to fall back to.
    PassiveSlot,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    pub kind: Kind,
    pub text: String,
}

fn alarm(kind: Kind, text: impl Into<String>) -> Alarm {
    let text = text.into();
    Alarm { kind, text }
}

/// All that is wrong at present.
pub fn alarms(root: &Root, live: &Live) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    alarms.extend(state(root));
    alarms.extend(wrong_clock(root, clock()));
    let refused = live.last_error.as_ref();
    let refused = refused.filter(|failure| failure.kind == FailureKind::Alarm);
    alarms.extend(refused.map(|failure| alarm(Kind::Repository, failure.text.clone())));
    alarms.extend(passive_slot(root));
    alarms
}

/// Whether updates may go on by themselves: what was proven before must be known.
pub fn state(root: &Root) -> Option<Alarm> {
    match Node::load(root) {
        Err(node::Error::Damaged(_)) => {
            let text = format!(
                "{} is damaged: which releases failed here is not known. Updates are stopped; \
                 remove the file to go on without that knowledge",
                node::PATH
            );
            return Some(alarm(Kind::State, text));
        }
        Err(error) => return Some(alarm(Kind::State, format!("STATE cannot be read: {error}"))),
        Ok(_) => {}
    }
    let store = Store::new(root.follow(TRUST.as_ref()).ok()?);
    match store.load() {
        Err(error) => {
            let text = format!(
                "{error}. Updates are stopped; remove {TRUST} and run `strake update check` to \
                 trust the shipped root anew"
            );
            Some(alarm(Kind::State, text))
        }
        // A second release on the ESP was put there by an update.
        Ok(None) if has_updated(root) => {
            let text = format!(
                "STATE was lost: this machine has been updated before, and {TRUST} is empty. \
                 Updates are stopped; `strake update check` trusts the shipped root anew"
            );
            Some(alarm(Kind::State, text))
        }
        Ok(_) => None,
    }
}

fn has_updated(root: &Root) -> bool {
    let Ok(running) = running(root) else {
        return false;
    };
    Entries::read(root).is_ok_and(|entries| entries.other(running).is_some())
}

/// No clock is right that shows less than a signed file has proven.
fn wrong_clock(root: &Root, now: Timestamp) -> Option<Alarm> {
    let store = Store::new(root.follow(TRUST.as_ref()).ok()?);
    let floor = store.load().ok()??.seen.clock;
    let text = format!(
        "the clock shows {now}, and the repository has proven that it is {floor} or later; \
         updates count from there"
    );
    (now < floor).then(|| alarm(Kind::Clock, text))
}

fn passive_slot(root: &Root) -> Option<Alarm> {
    let entries = Entries::read(root).ok()?;
    let other = entries.other(running(root).ok()?)?;
    // One that failed here is no fall-back, whatever is in its slot.
    if is_given_up(&other) {
        return None;
    }
    let hash = entries.root_hash(other)?;
    let error = Disk::find(root)
        .and_then(|disk| disk.passive_holds(hash))
        .err()?;
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    let text = format!(
        "release {} has a boot entry and its slot cannot be used: {error}{}. There is nothing to \
         fall back to until the next update",
        other.version,
        cause.unwrap_or_default()
    );
    Some(alarm(Kind::PassiveSlot, text))
}

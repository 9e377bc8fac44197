//! What `strake update status` tells, and `strake status` in short. Refuses to fail because a part
//! is missing: what cannot be found out is empty.

use serde::Serialize;
use strake_updates::entry::Counter;
use strake_updates::time::Timestamp;
use strake_updates::version::Version;

use super::alarm::{Alarm, alarms};
use super::entries::Entries;
use super::live::{Failure, Live};
use super::look::staged;
use super::node::{Attempt, Node, Refusal};
use super::running;
use super::settings::Settings;
use crate::root::Root;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub running: Option<Version>,
    /// Whether the running release may be replaced: it is blessed. None: not known.
    pub blessed: Option<bool>,
    pub channel: Option<String>,
    /// None: updates are off.
    pub server: Option<String>,
    pub pinned: Option<Version>,
    /// In the passive slot, booted by the next reboot.
    pub staged: Option<Version>,
    /// In the passive slot, to fall back to or to roll back to.
    pub fallback: Option<Version>,
    pub attempt: Option<Attempt>,
    pub operation: &'static str,
    pub progress: f64,
    pub last_check: Option<Timestamp>,
    pub next_check: Option<Timestamp>,
    pub last_error: Option<Failure>,
    pub refused: Vec<Refusal>,
    pub alarms: Vec<Alarm>,
    /// What could not be found out and why: without root, the boot entries.
    pub not_known: Vec<String>,
}

pub fn collect(root: &Root) -> Status {
    let live = Live::read(root);
    let mut not_known = Vec::new();
    let mut note = |error: &dyn std::error::Error| not_known.push(chain(error));
    let node = Node::load(root).unwrap_or_else(|error| {
        note(&error);
        Node::default()
    });
    let settings = Settings::read(root).ok();
    let running = running(root).ok();
    let entries = Entries::read(root).map_err(|error| note(&error)).ok();
    let both = || Some((running?, entries.as_ref()?));
    let staged = both().and_then(|(running, entries)| staged(&node, entries, running));
    let other = both().and_then(|(running, entries)| entries.other(running));
    let own = both().and_then(|(running, entries)| entries.of(running));
    let is_blessed = |counter| counter == Counter::Blessed;
    Status {
        running,
        blessed: own.map(|own| is_blessed(own.counter)),
        channel: settings
            .as_ref()
            .map(|settings| settings.channel.to_string()),
        server: settings.and_then(|settings| settings.server),
        pinned: node.pinned,
        staged: staged.map(|entry| entry.version),
        fallback: other
            .filter(|other| is_blessed(other.counter))
            .map(|other| other.version),
        operation: live.operation.word(),
        progress: live.progress,
        last_check: live.last_check,
        next_check: live.next_check,
        last_error: live.last_error.clone(),
        alarms: alarms(root, &live),
        attempt: node.attempt,
        refused: node.refused,
        not_known,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

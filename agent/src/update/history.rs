//! What happened on this machine: `/state/update/history.jsonl`, one event a line, newest last.

use serde::{Deserialize, Serialize};
use strake_updates::time::Timestamp;
use strake_updates::version::Version;

use super::node::own_file;
use crate::apply::write::{Error, write_one};
use crate::root::Root;

const PATH: &str = "/state/update/history.jsonl";
/// Events kept; older ones go.
const MOST: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub time: Timestamp,
    pub what: What,
    pub version: Version,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Installed,
    Blessed,
    FellBack,
    RolledBack,
    Discarded,
    Pinned,
    Unpinned,
    Retried,
    Failed,
}

impl What {
    pub fn word(self) -> &'static str {
        match self {
            What::Installed => "installed",
            What::Blessed => "blessed",
            What::FellBack => "fell back",
            What::RolledBack => "rolled back",
            What::Discarded => "discarded",
            What::Pinned => "pinned",
            What::Unpinned => "unpinned",
            What::Retried => "retried",
            What::Failed => "failed",
        }
    }
}

/// Oldest first. A line that cannot be read is left out: this is for people.
pub fn read(root: &Root) -> Vec<Event> {
    let text = root.read_text(PATH).unwrap_or_default();
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Adds an event, unless the newest one says the same.
pub fn add(root: &Root, event: Event) -> Result<(), Error> {
    let mut events = read(root);
    let same = |last: &Event| {
        (last.what, last.version, &last.note) == (event.what, event.version, &event.note)
    };
    if events.last().is_some_and(same) {
        return Ok(());
    }
    events.push(event);
    let skip = events.len().saturating_sub(MOST);
    let lines = events[skip..]
        .iter()
        .filter_map(|event| serde_json::to_string(event).ok());
    let text: String = lines.map(|line| line + "\n").collect();
    write_one(root, PATH, own_file(text))
}

//! What this machine remembers of updates: `/state/update/node.json`.
//!
//! One writer at a time, under the lock of [`super::lock`]. A file that cannot be read is an alarm
//! and never taken for "nothing known": the list of refused releases would be lost with it.

use serde::{Deserialize, Serialize};
use strake_updates::channel::Channel;
use strake_updates::report::Event;
use strake_updates::time::Timestamp;
use strake_updates::version::Version;

use crate::apply::tree::Node as File;
use crate::apply::write::{self, write_one};
use crate::root::Root;

pub const PATH: &str = "/state/update/node.json";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Only this release is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Version>,
    /// A release that got a boot entry and is not yet known to be good or bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Releases that did not come up healthy here, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// What the server has not been told yet, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<Event>,
}

/// A release on its way to be blessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub version: Version,
    pub from: Version,
    pub channel: Channel,
    pub kind: Kind,
    pub time: Timestamp,
    /// The boot in which it was made ready; later boots belong to it.
    pub boot_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Update,
    Rollback,
}

/// Why a release is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub version: Version,
    pub time: Timestamp,
    pub cause: String,
    /// Boots it was given.
    pub boots: u32,
    /// Last lines of the failed boots' journals, oldest first.
    pub journal: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading {PATH}")]
    Read(#[source] std::io::Error),
    #[error("{PATH} is damaged")]
    Damaged(#[source] serde_json::Error),
    #[error("writing {PATH}")]
    Write(#[source] write::Error),
}

impl Node {
    pub fn load(root: &Root) -> Result<Node, Error> {
        match root.read_optional(PATH).map_err(Error::Read)? {
            Some(text) => serde_json::from_str(&text).map_err(Error::Damaged),
            None => Ok(Node::default()),
        }
    }

    /// On return it is on the disk; after a power cut it is the old or the new one.
    pub fn save(&self, root: &Root) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).map_err(Error::Damaged)? + "\n";
        write_one(root, PATH, own_file(text)).map_err(Error::Write)
    }

    pub fn refusal(&self, version: Version) -> Option<&Refusal> {
        self.refused
            .iter()
            .find(|refusal| refusal.version == version)
    }

    /// A release is refused once, with the latest cause.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.refused
            .retain(|known| known.version != refusal.version);
        self.refused.insert(0, refusal);
        self.refused.truncate(MOST_REFUSED);
    }

    /// For the server, when there is one that listens.
    pub fn tell(&mut self, event: Event) {
        self.untold.push(event);
        let excess = self.untold.len().saturating_sub(MOST_UNTOLD);
        self.untold.drain(..excess);
    }

    /// Lets a release be tried again; false when it was not refused.
    pub fn forgive(&mut self, version: Version) -> bool {
        let before = self.refused.len();
        self.refused.retain(|known| known.version != version);
        self.refused.len() < before
    }
}

/// Older refusals are of releases that are long superseded.
const MOST_REFUSED: usize = 16;
/// A server that does not answer for long learns the latest.
const MOST_UNTOLD: usize = 16;

/// A file of the program's own, owned by whoever runs it.
pub(super) fn own_file(content: impl Into<Vec<u8>>) -> File {
    File::File {
        content: content.into(),
        mode: 0o644,
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    }
}

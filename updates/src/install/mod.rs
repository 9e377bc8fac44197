//! Puts an offered release into the passive slot.
//!
//! The order is the safety: the slot's tree loses its root block first, so that nothing can take a
//! half-written slot for a release; then blocks, then the tree, then everything is read back past
//! the page cache, and only then the root block is written. After a cut at any point the slot is
//! not a release or is the whole new one. A second run finds by hashing what the first one wrote.
//!
//! A whole installation is: [`esp::Entries::check_space`] and `retire`, [`fill::install`],
//! [`uki::fetch`] into [`esp::Entries::part`], `activate`. The caller names the release that runs.
//! Partitions are handed in as open files; the work blocks the thread it runs on.

use std::fs::File;
use std::io;

use crate::digest::Digest;
use crate::fetch::FetchError;
use crate::payload::frames::InvalidFrames;
use crate::payload::ladder::Rung;
use crate::payload::patch::InvalidPatch;
use crate::payload::tree::{InvalidTree, Tree};

mod download;
pub mod esp;
pub mod fill;
pub mod partitions;
pub mod remote;
mod tree;
pub mod uki;
mod workers;

/// What runs now: where known blocks are read from.
#[derive(Debug)]
pub struct Active {
    /// The slot's file system; best through dm-verity.
    pub data: File,
    /// Its tree, checked against the root hash of the running release.
    pub tree: Tree,
    /// Its boot entry.
    pub uki: Option<File>,
}

/// How far an installation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the slot looked at for what is there already.
    Scanned { done: u64, total: u64 },
    /// Blocks taken from the active slot.
    Copied { done: u64, total: u64 },
    /// Bytes fetched, of those predicted.
    Fetched { done: u64, total: u64 },
    /// Bytes read back.
    Verified { done: u64, total: u64 },
}

/// Called with every step forward.
pub type Watch<'a> = dyn FnMut(Progress) + Send + 'a;

/// What an installation took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub present_blocks: u64,
    pub copied_blocks: u64,
    pub fetched_blocks: u64,
    /// All bytes fetched for the slot: tree, tables and blocks.
    pub fetched_bytes: u64,
    /// Ways that were tried and given up, with the reason.
    pub given_up: Vec<(Rung, String)>,
}

/// Why a release is not in the slot.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("fetching the payload")]
    Fetch(#[from] FetchError),
    #[error("the channel has no target {0}")]
    Target(String),
    #[error("{target}: sha256 is {found}, signed is {signed}")]
    Sha256 {
        target: String,
        found: Digest,
        signed: Digest,
    },
    #[error("{target} is no hash tree of the release")]
    Tree { target: String, source: InvalidTree },
    #[error("{target} is no patch")]
    Patch {
        target: String,
        source: InvalidPatch,
    },
    #[error("{target} is not in frames")]
    Frames {
        target: String,
        source: InvalidFrames,
    },
    #[error("{target} makes block {block} with other content than signed")]
    Block { target: String, block: u64 },
    #[error("the release needs {needed} bytes in {place}, which has {found}")]
    TooSmall {
        place: &'static str,
        needed: u64,
        found: u64,
    },
    #[error("{0}")]
    Device(&'static str, #[source] io::Error),
    #[error("block {block} of {place} reads back with other content than written")]
    ReadBack { place: &'static str, block: u64 },
}

impl InstallError {
    /// The whole chain of causes, for a report.
    fn to_text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text += &format!(": {cause}");
            source = cause.source();
        }
        text
    }
}

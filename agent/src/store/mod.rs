//! The cluster's store, as the node services see it: keys with values under revisions,
//! transactions with comparisons, leases, and watches from a revision.
//!
//! Two implementations with one behaviour: `etcd` is the real one, `memory` the one for tests and
//! simulations; `tests/store.rs` holds both to the same suite. An error of `commit` says nothing
//! about whether it was done: whoever gets one reads again.

pub mod election;
pub mod etcd;
#[cfg(test)]
pub(crate) mod faulty;
pub mod measured;
pub mod memory;

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;

/// The most operations of one transaction: etcd's own default.
pub const MAX_OPERATIONS: usize = 128;
/// The most bytes that are put into one transaction; etcd takes 1.5 MiB.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Entries fetched at a time by whoever reads a whole prefix.
pub const PAGE: usize = 500;

pub type Revision = i64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    pub created: Revision,
    pub modified: Revision,
    /// With which the key ends; nothing: it stays until it is deleted.
    pub lease: Option<Lease>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease(pub i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    Renewed,
    /// The lease is over and its keys are gone.
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key exists since exactly this revision; 0: it does not exist.
    Created(String, Revision),
    /// The key was last written at this revision; 0: it does not exist.
    Modified(String, Revision),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Put {
        key: String,
        value: Vec<u8>,
        lease: Option<Lease>,
    },
    Delete {
        key: String,
    },
}

/// All writes happen, at one revision, when all comparisons hold; otherwise none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    pub compares: Vec<Compare>,
    pub writes: Vec<Write>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done(Revision),
    /// A comparison did not hold; nothing was written.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// There are more behind the last of these.
    pub more: bool,
    /// The revision all of this is from.
    pub revision: Revision,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Put(Entry),
    Deleted { key: String },
}

/// What happened at one revision, or up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub revision: Revision,
    pub events: Vec<Event>,
}

/// Why a watch ended. Whoever watches reads everything again and watches from there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// What happened since this revision is still known.
    #[error("the store has forgotten what happened before revision {0}")]
    Compacted(Revision),
    #[error("the connection to the store is lost: {0}")]
    Lost(String),
}

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    receiver: mpsc::UnboundedReceiver<Result<Batch, WatchEnd>>,
}

pub(crate) type WatchSender = mpsc::UnboundedSender<Result<Batch, WatchEnd>>;

impl Watch {
    pub(crate) fn channel() -> (WatchSender, Watch) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Watch { receiver })
    }

    /// May be dropped half way: nothing is lost then.
    pub async fn next(&mut self) -> Result<Batch, WatchEnd> {
        let ended = || Err(WatchEnd::Lost("the watch was closed".to_string()));
        self.receiver.recv().await.unwrap_or_else(ended)
    }

    /// For whoever waits for several.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch, WatchEnd>> {
        let ended = || Err(WatchEnd::Lost("the watch was closed".to_string()));
        let next = self.receiver.poll_recv(context);
        next.map(|batch| batch.unwrap_or_else(ended))
    }

    /// What has come already.
    pub fn ready(&mut self) -> Option<Result<Batch, WatchEnd>> {
        self.receiver.try_recv().ok()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No answer, or one that says to try again.
    Unreachable,
    LeaseGone,
    /// The request can never be taken as it is.
    Invalid,
}

#[derive(Debug, thiserror::Error)]
#[error("asking the store to {doing}")]
pub struct Error {
    pub kind: Kind,
    doing: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    pub fn new(
        kind: Kind,
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error {
            kind,
            doing: doing.into(),
            source: source.into(),
        }
    }
}

#[allow(async_fn_in_trait, reason = "used in this crate only, on one thread")]
pub trait Store: Clone + 'static {
    async fn read(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// At most `PAGE` entries under the prefix with keys greater than `after`, as of the revision
    /// when one is given.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
    ) -> Result<Listing, Error>;

    async fn commit(&self, transaction: &Transaction) -> Result<Outcome, Error>;

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error>;

    /// Starts the lease's time anew, unless it is over.
    async fn keep_alive(&self, lease: Lease) -> Result<Renewal, Error>;

    async fn revoke(&self, lease: Lease) -> Result<(), Error>;

    /// What happens under the prefix from this revision on, that one included.
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error>;
}

/// Everything under the prefix at one revision.
pub async fn read_all(store: &impl Store, prefix: &str) -> Result<Listing, Error> {
    let mut all = store.list(prefix, None, None).await?;
    while all.more {
        let after = all.entries.last().map(|entry| entry.key.clone());
        let page = store.list(prefix, after.as_deref(), Some(all.revision));
        let page = page.await?;
        all.more = page.more;
        all.entries.extend(page.entries);
    }
    Ok(all)
}

impl Write {
    pub fn size(&self) -> usize {
        match self {
            Write::Put { key, value, .. } => key.len() + value.len(),
            Write::Delete { key } => key.len(),
        }
    }
}

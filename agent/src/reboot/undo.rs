//! Taking back what a reboot has left in the cluster: the machine is open to units again, and the
//! lock is another's turn. May be done twice.

use crate::lock::keys::Group;
use crate::lock::{self, Claimant, Lock};
use crate::root::Root;
use crate::scheduler::orders;
use crate::store::{self, Store};
use crate::update::engine::text;
use crate::update::node::Node;
use crate::update::{self, boot_id, running};

use super::pending::{self, Pending};
use super::{budget, drain};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("telling the cluster what fell back here")]
    Tell(#[from] budget::Error),
    #[error("another process finds out what became of the last release")]
    Busy,
    #[error("giving the reboot lock back")]
    Lock(#[source] lock::Error),
    #[error("leaving the queue for the reboot lock")]
    Queue(#[source] lock::Error),
    #[error("letting units come again")]
    Open(#[source] orders::Error),
    #[error(transparent)]
    Pending(#[from] pending::Error),
    #[error("the lock was taken in a store that is set no longer; `strake lock unlock` frees it")]
    NoStore,
}

impl Error {
    /// Whether trying again later can help.
    pub fn is_passing(&self) -> bool {
        let passes = |error: &store::Error| error.kind != store::Kind::Invalid;
        match self {
            Error::Lock(error) | Error::Queue(error) => match error {
                lock::Error::Store(error) => passes(error),
                lock::Error::Contended => true,
                _ => false,
            },
            Error::Open(orders::Error::Store(error)) => passes(error),
            Error::Open(error) => matches!(error, orders::Error::Changed(_)),
            Error::Tell(budget::Error::Store(error)) => passes(error),
            Error::Busy => true,
            Error::Tell(_) | Error::Pending(_) | Error::NoStore => false,
        }
    }
}

/// What it took back, in words; nothing when there was nothing.
pub async fn settle<S: Store>(
    root: &Root,
    store: Option<&S>,
    who: &Claimant,
    budget: Option<usize>,
) -> Result<Option<&'static str>, Error> {
    let Some(pending) = Pending::read(root)? else {
        return Ok(None);
    };
    // The next machine in the queue must know of a fall back before it has its turn.
    if pending.boot != boot_id(root) {
        find_out(root)?;
        if let Some(store) = store {
            budget::tell(root, store, &who.id, budget).await?;
        }
    }
    if let (Some(target), Some(store)) = (pending.target, store) {
        let ended = match running(root) == Ok(target) {
            true => budget::prove(store, &who.id, target).await,
            false => budget::leave(store, &who.id, target).await,
        };
        ended.map_err(budget::Error::from)?;
    }
    let mut told = "nothing was taken";
    if pending.store.is_some() || pending.drained {
        let store = store.ok_or(Error::NoStore)?;
        // The machine takes units again before another one may send its own away.
        if let Some(id) = who.id.parse().ok().filter(|_| pending.drained) {
            drain::open(store, &id).await.map_err(Error::Open)?;
        }
        let lock = Lock::new(store.clone(), Group::named(&pending.group));
        lock.leave(&who.id).await.map_err(Error::Queue)?;
        if lock.give_back(who).await.map_err(Error::Lock)? {
            told = "gave the lock back";
        }
    }
    Pending::remove(root)?;
    Ok(Some(told))
}

/// What became of the release that was rebooted into. What cannot be found out is told by the
/// updater's alarms; it does not keep the lock for ever.
fn find_out(root: &Root) -> Result<(), Error> {
    let attempt = Node::load(root).ok().and_then(|node| node.attempt);
    if attempt.is_none_or(|attempt| running(root) == Ok(attempt.version)) {
        return Ok(());
    }
    match update::lock(root) {
        Ok(None) => Err(Error::Busy),
        Ok(Some(_lock)) => {
            if let Err(error) = update::settle::settle(root) {
                eprintln!("strake: reboot: {}", text(&error));
            }
            Ok(())
        }
        Err(_) => Ok(()),
    }
}

//! Taking back what a reboot has left in the cluster: the machine is open to units again, and the
//! lock is another's turn. May be done twice.

use crate::lock::keys::Group;
use crate::lock::{self, Claimant, Lock, Standing};
use crate::root::Root;
use crate::scheduler::orders;
use crate::store::{self, Store};

use super::drain;
use super::pending::{self, Pending};

#[derive(Debug, thiserror::Error)]
pub enum Error {
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
            Error::Pending(_) | Error::NoStore => false,
        }
    }
}

/// What it took back, in words; nothing when there was nothing.
pub async fn settle<S: Store>(
    root: &Root,
    store: Option<&S>,
    who: &Claimant,
) -> Result<Option<&'static str>, Error> {
    let Some(pending) = Pending::read(root)? else {
        return Ok(None);
    };
    let mut told = "nothing was taken";
    if pending.store.is_some() || pending.drained {
        let store = store.ok_or(Error::NoStore)?;
        // The machine takes units again before another one may send its own away.
        if let Some(id) = who.id.parse().ok().filter(|_| pending.drained) {
            drain::open(store, &id).await.map_err(Error::Open)?;
        }
        let lock = Lock::new(store.clone(), Group::named(&pending.group));
        lock.leave(&who.id).await.map_err(Error::Queue)?;
        // What a person took in this machine's name, or another machine holds under its id, is not
        // this one's to free.
        let standing = lock.standing(who).await.map_err(Error::Lock)?;
        if matches!(standing, Standing::Held(_)) && lock.unlock(who).await.map_err(Error::Lock)? {
            told = "gave the lock back";
        }
    }
    Pending::remove(root)?;
    Ok(Some(told))
}

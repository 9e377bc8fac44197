//! Waiting for the lock without asking: each waiter watches the one before it, and only the first
//! watches the lock itself.

use std::time::Duration;

use super::semaphore::Taken;
use super::takeover::Losses;
use super::{Claim, Claimant, Error, Lock, Read};
use crate::store::{
    self, Compare, Entry, Event, Kind, Lease, Outcome, Renewal, Revision, Store, Transaction,
    WatchEnd, Write, read_all,
};

/// How a waiter waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The place in the queue of a machine that is not registered is kept this long without a word
    /// from it; that of others ends with their registration.
    pub lease: Duration,
    /// After an error, before the next try.
    pub pause: Duration,
    /// The first in the queue looks this often whether a holder is lost, and whether a share of
    /// the machines became another number. Less than a machine's registration lasts.
    pub look: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            lease: Duration::from_secs(60),
            pause: Duration::from_secs(5),
            look: Duration::from_secs(20),
        }
    }
}

/// A place in the queue.
struct Place {
    created: Revision,
}

/// With what the place in the queue ends.
enum Hold {
    /// A lease of its own, which has to be renewed.
    Own(Lease),
    /// The machine's registration with the cluster, as of this revision; its scheduler renews it.
    Registration {
        key: String,
        lease: Lease,
        since: Revision,
    },
}

impl Hold {
    fn lease(&self) -> Lease {
        match self {
            Hold::Own(lease) | Hold::Registration { lease, .. } => *lease,
        }
    }
}

enum Ahead {
    Nobody,
    Someone {
        key: String,
        seen: Revision,
    },
    /// Our own place is gone: the lease ran out.
    Lost,
}

impl<S: Store> Lock<S> {
    /// Waits until the lock is ours, for as long as it takes: first come, first served. A store
    /// that is silent is waited for. Ends early only with what waiting cannot mend. To give up,
    /// drop it and call `leave`.
    pub async fn wait(
        &self,
        who: &Claimant,
        claim: &Claim,
        patience: Patience,
    ) -> Result<Taken, Error> {
        loop {
            match self.wait_once(who, claim, patience).await {
                Err(Error::Store(error)) if error.kind != Kind::Invalid => {
                    tokio::time::sleep(patience.pause).await;
                }
                Err(Error::Contended) => tokio::time::sleep(patience.pause).await,
                other => return other,
            }
        }
    }

    /// Gives up the place in the queue.
    pub async fn leave(&self, id: &str) -> Result<(), Error> {
        let transaction = Transaction {
            compares: Vec::new(),
            writes: vec![super::delete(self.group.waiting(id))],
        };
        self.store.commit(&transaction).await?;
        Ok(())
    }

    async fn wait_once(
        &self,
        who: &Claimant,
        claim: &Claim,
        patience: Patience,
    ) -> Result<Taken, Error> {
        let hold = self.hold(who, patience).await?;
        let waited = {
            let waiting = self.wait_in_queue(who, claim, hold.lease(), patience);
            let keeping = self.keep(&hold, patience);
            tokio::select! {
                taken = waiting => taken,
                ended = keeping => Err(ended),
            }
        };
        if let Hold::Own(lease) = hold {
            // The lease ends by itself when this fails.
            let _ = self.store.revoke(lease).await;
        }
        waited
    }

    /// A registered machine waits for as long as it is registered: its place ends with it, and
    /// keeping it costs nothing.
    async fn hold(&self, who: &Claimant, patience: Patience) -> Result<Hold, Error> {
        if let Some(key) = super::registration(&who.id)
            && let Some(found) = self.store.read(&key).await?
            && let Some(lease) = found.lease
        {
            let since = found.modified;
            return Ok(Hold::Registration { key, lease, since });
        }
        Ok(Hold::Own(self.store.grant(patience.lease).await?))
    }

    /// Ends when the place in the queue has to be taken on anew.
    async fn keep(&self, hold: &Hold, patience: Patience) -> Error {
        match hold {
            Hold::Own(lease) => self.renew(*lease, patience).await,
            Hold::Registration { key, lease, since } => {
                let ended = self.until_registered_anew(key, *lease, *since).await;
                ended.err().unwrap_or_else(|| {
                    let source = "the machine is registered anew, or no longer";
                    Error::Store(store::Error::new(Kind::LeaseGone, "wait", source))
                })
            }
        }
    }

    async fn until_registered_anew(
        &self,
        key: &str,
        lease: Lease,
        since: Revision,
    ) -> Result<(), Error> {
        let mut watch = self.store.watch(key, since + 1).await?;
        let other = |event: &Event| match event {
            Event::Put(entry) => entry.key == key && entry.lease != Some(lease),
            Event::Deleted { key: gone } => gone == key,
        };
        loop {
            let batch = watch.next().await.map_err(lost)?;
            if batch.events.iter().any(other) {
                return Ok(());
            }
        }
    }

    async fn wait_in_queue(
        &self,
        who: &Claimant,
        claim: &Claim,
        lease: Lease,
        patience: Patience,
    ) -> Result<Taken, Error> {
        if self.read().await?.semaphore.is_held_by(&who.id) {
            return self.try_lock(who, claim).await;
        }
        let mut place = self.enqueue(who, claim, lease).await?;
        loop {
            match self.ahead(&who.id, &place).await? {
                Ahead::Lost => place = self.enqueue(who, claim, lease).await?,
                Ahead::Someone { key, seen } => self.until_gone(&key, seen).await?,
                Ahead::Nobody => return self.first_in_queue(who, claim, patience).await,
            }
        }
    }

    /// A place that an earlier try of this claim has left is taken on with the new lease, at its
    /// old position.
    async fn enqueue(&self, who: &Claimant, claim: &Claim, lease: Lease) -> Result<Place, Error> {
        let key = self.group.waiting(&who.id);
        let found = self.store.read(&key).await?;
        let other = found
            .as_ref()
            .and_then(|entry| super::json::<Claim>(&entry.value));
        if let Some(other) = other.filter(|other| !who.made(other)) {
            return Err(who.twin(other));
        }
        let transaction = Transaction {
            compares: vec![Compare::Modified(
                key.clone(),
                found.as_ref().map_or(0, |entry| entry.modified),
            )],
            writes: vec![Write::Put {
                key,
                value: serde_json::to_vec(claim).unwrap_or_default(),
                lease: Some(lease),
            }],
        };
        match self.store.commit(&transaction).await? {
            Outcome::Done(revision) => Ok(Place {
                created: found.map_or(revision, |entry| entry.created),
            }),
            Outcome::Refused => Err(Error::Contended),
        }
    }

    async fn ahead(&self, id: &str, place: &Place) -> Result<Ahead, Error> {
        let own = self.group.waiting(id);
        let queue = read_all(&self.store, &self.group.queue()).await?;
        let is_own = |entry: &&Entry| entry.key == own && entry.created == place.created;
        if !queue.entries.iter().any(|entry| is_own(&entry)) {
            return Ok(Ahead::Lost);
        }
        let before = queue.entries.into_iter();
        let before = before.filter(|entry| entry.created < place.created);
        Ok(match before.max_by_key(|entry| entry.created) {
            Some(entry) => Ahead::Someone {
                key: entry.key,
                seen: queue.revision,
            },
            None => Ahead::Nobody,
        })
    }

    async fn until_gone(&self, key: &str, seen: Revision) -> Result<(), Error> {
        let mut watch = self.store.watch(key, seen + 1).await?;
        let gone = |event: &Event| matches!(event, Event::Deleted { key: gone } if gone == key);
        loop {
            let batch = watch.next().await.map_err(lost)?;
            if batch.events.iter().any(gone) {
                return Ok(());
            }
        }
    }

    /// Only the first in the queue gets here, so only one machine of all asks for anything.
    async fn first_in_queue(
        &self,
        who: &Claimant,
        claim: &Claim,
        patience: Patience,
    ) -> Result<Taken, Error> {
        let mut losses = Losses::default();
        loop {
            let read = self.read().await?;
            match self.try_lock(who, claim).await {
                Err(Error::Full(_)) => {}
                taken => return taken,
            }
            let changed = self.until_changed(&read);
            // Late is as good as changed: both lead to the next try.
            if let Ok(ended) = tokio::time::timeout(patience.look, changed).await {
                ended?;
                continue;
            }
            self.follow_share().await?;
            self.take_over_from_lost(&who.id, &mut losses).await?;
        }
    }

    async fn until_changed(&self, read: &Read) -> Result<(), Error> {
        let key = self.group.semaphore();
        let mut watch = self.store.watch(&key, read.modified + 1).await?;
        let of_lock = |event: &Event| match event {
            Event::Put(entry) => entry.key == key,
            Event::Deleted { key: gone } => *gone == key,
        };
        loop {
            let batch = watch.next().await.map_err(lost)?;
            if batch.events.iter().any(of_lock) {
                return Ok(());
            }
        }
    }

    async fn renew(&self, lease: Lease, patience: Patience) -> Error {
        loop {
            tokio::time::sleep(patience.lease / 3).await;
            match self.store.keep_alive(lease).await {
                Ok(Renewal::Renewed) => {}
                Ok(Renewal::Over) => {
                    let source = "the place in the queue ran out";
                    return Error::Store(store::Error::new(Kind::LeaseGone, "wait", source));
                }
                // Tried again: the lease has two thirds of its time left.
                Err(_) => {}
            }
        }
    }
}

/// Whoever watches asks anew from the start.
fn lost(end: WatchEnd) -> Error {
    Error::Store(store::Error::new(Kind::Unreachable, "watch the lock", end))
}

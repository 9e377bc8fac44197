//! The reboot lock: locksmith's semaphore in the store, with a queue, a claim beside each holder,
//! and takeover from machines that are lost.
//!
//! Every change is one transaction that compares the semaphore as it was read, so that no order of
//! requests, crashes and lost answers lets more machines hold it than its max. A store that does
//! not answer grants nothing.

pub mod fleetlock;
pub mod keys;
pub mod semaphore;

mod queue;
#[cfg(test)]
mod sim;
mod standing;
mod takeover;
#[cfg(test)]
mod tests;
mod twin;

use serde::{Deserialize, Serialize};
use strake_updates::time::{Span, Timestamp};

use self::keys::Group;
pub use self::queue::Patience;
use self::semaphore::{Corrupt, Full, Max, Semaphore, Taken, TooSmall};
pub use self::standing::Standing;
pub use self::takeover::Takeover;
pub use self::twin::Twin;
use crate::scheduler;
use crate::scheduler::machine::MachineId;
use crate::store::{self, Compare, Outcome, Revision, Store, Transaction, Write, read_all};

/// Lost races in one call before it gives up: each means that somebody else got on.
const TRIES: usize = 200;

/// Which machine start holds the lock, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Of whom: see `Claimant`.
    pub token: String,
    /// In which boot it was made.
    pub boot: String,
    pub release: String,
    pub reason: String,
    pub since: Timestamp,
    /// How long the machine may take to be healthy again before others think it lost.
    pub deadline: Span,
    /// Whether the machine is registered with the cluster, so that its loss can be known.
    pub registered: bool,
    /// Its failure domain, when it names one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
}

/// Who asks. Two machines may have one machine id, and even a copied STATE: what tells them apart is
/// that neither knows the boots of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    pub id: String,
    /// Drawn once and kept across reboots.
    pub token: String,
    /// In which it has made claims. An answer may be lost, and its claim be found much later.
    pub boots: Vec<String>,
}

impl Claimant {
    fn made(&self, claim: &Claim) -> bool {
        claim.token == self.token && self.boots.contains(&claim.boot)
    }

    fn twin(&self, claim: Claim) -> Error {
        Error::Twin {
            id: self.id.clone(),
            boot: claim.boot,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the reboot lock {key} is corrupt: {source}; `strake lock reset` makes it anew")]
    Corrupt { key: String, source: Corrupt },
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    TooSmall(#[from] TooSmall),
    #[error(
        "the lock is held under machine id {id} by another machine, which runs since boot {boot}"
    )]
    Twin { id: String, boot: String },
    #[error("others changed the lock {TRIES} times meanwhile; try again")]
    Contended,
}

/// The semaphore as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub semaphore: Semaphore,
    /// 0: nobody has written it yet.
    modified: Revision,
}

/// What people are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub semaphore: Semaphore,
    pub max: Max,
    /// Each holder, and its claim when it left one: locksmith and FleetLock clients do not.
    pub holders: Vec<(String, Option<Claim>)>,
    pub waiting: Vec<Claim>,
    pub takeovers: Vec<Takeover>,
    pub twins: Vec<Twin>,
}

/// One group's lock.
#[derive(Debug, Clone)]
pub struct Lock<S> {
    store: S,
    group: Group,
}

impl<S: Store> Lock<S> {
    pub fn new(store: S, group: Group) -> Lock<S> {
        Lock { store, group }
    }

    pub fn group(&self) -> &Group {
        &self.group
    }

    pub async fn read(&self) -> Result<Read, Error> {
        let key = self.group.semaphore();
        let Some(entry) = self.store.read(&key).await? else {
            return Ok(Read {
                semaphore: Semaphore::default(),
                modified: 0,
            });
        };
        let semaphore =
            Semaphore::parse(&entry.value).map_err(|source| Error::Corrupt { key, source })?;
        Ok(Read {
            semaphore,
            modified: entry.modified,
        })
    }

    pub async fn status(&self) -> Result<Status, Error> {
        let semaphore = self.read().await?.semaphore;
        let mut holders = Vec::new();
        for id in semaphore.holders() {
            holders.push((id.to_string(), self.claim(id).await?));
        }
        let mut queue = read_all(&self.store, &self.group.queue()).await?.entries;
        queue.sort_by_key(|entry| entry.created);
        let takeovers = read_all(&self.store, &self.group.takeovers()).await?;
        Ok(Status {
            max: self.wanted_max(&semaphore).await?,
            twins: self.twins().await?,
            semaphore,
            holders,
            // What cannot be read was not written by us and tells nothing.
            waiting: queue
                .iter()
                .filter_map(|entry| json(&entry.value))
                .collect(),
            takeovers: takeovers
                .entries
                .iter()
                .filter_map(|entry| json(&entry.value))
                .collect(),
        })
    }

    /// The claim of a holder, when it left one that can be read.
    pub async fn claim(&self, id: &str) -> Result<Option<Claim>, Error> {
        let entry = self.store.read(&self.group.holder(id)).await?;
        Ok(entry.and_then(|entry| json(&entry.value)))
    }

    /// Takes a place now or says why not. Once more by the holder: it keeps it.
    pub async fn try_lock(&self, who: &Claimant, claim: &Claim) -> Result<Taken, Error> {
        for _ in 0..TRIES {
            if let Some(taken) = self.attempt(who, claim).await? {
                return Ok(taken);
            }
        }
        Err(Error::Contended)
    }

    /// Nothing: somebody was faster.
    async fn attempt(&self, who: &Claimant, claim: &Claim) -> Result<Option<Taken>, Error> {
        let mut read = self.read().await?;
        if read.semaphore.lock(&who.id)? == Taken::Before {
            return match self.claim(&who.id).await? {
                Some(held) if !who.made(&held) => Err(who.twin(held)),
                _ => Ok(Some(Taken::Before)),
            };
        }
        let writes = vec![
            put(self.group.holder(&who.id), claim),
            // Who holds it does not wait for it.
            delete(self.group.waiting(&who.id)),
        ];
        let outcome = self.change(read, writes).await?;
        Ok((outcome == Step::Done).then_some(Taken::Now))
    }

    /// Asked right before the reboot: a machine that was cut off may have lost the lock.
    pub async fn is_held_by(&self, who: &Claimant) -> Result<bool, Error> {
        let held = self.read().await?.semaphore.is_held_by(&who.id);
        let claim = self.claim(&who.id).await?;
        Ok(held && claim.is_some_and(|claim| who.made(&claim)))
    }

    /// Gives the place back; whether there was one. Not that of a twin.
    pub async fn unlock(&self, who: &Claimant) -> Result<bool, Error> {
        for _ in 0..TRIES {
            let read = self.read().await?;
            if let Some(claim) = self.claim(&who.id).await?.filter(|claim| !who.made(claim)) {
                return Err(who.twin(claim));
            }
            if let Some(held) = self.free(read, &who.id).await? {
                return Ok(held);
            }
        }
        Err(Error::Contended)
    }

    /// Takes a place for a machine without a claim, as people may.
    pub async fn lock_by_hand(&self, id: &str) -> Result<Taken, Error> {
        for _ in 0..TRIES {
            let mut read = self.read().await?;
            if read.semaphore.lock(id)? == Taken::Before {
                return Ok(Taken::Before);
            }
            if self.change(read, Vec::new()).await? == Step::Done {
                return Ok(Taken::Now);
            }
        }
        Err(Error::Contended)
    }

    /// Frees a place whosever it is, as people may.
    pub async fn unlock_by_hand(&self, id: &str) -> Result<bool, Error> {
        for _ in 0..TRIES {
            let read = self.read().await?;
            if let Some(held) = self.free(read, id).await? {
                return Ok(held);
            }
        }
        Err(Error::Contended)
    }

    /// Nothing: somebody was faster.
    async fn free(&self, mut read: Read, id: &str) -> Result<Option<bool>, Error> {
        if !read.semaphore.unlock(id) {
            return Ok(Some(false));
        }
        let writes = vec![delete(self.group.holder(id))];
        let step = self.change(read, writes).await?;
        Ok((step == Step::Done).then_some(true))
    }

    /// The max before and after. A share is of the machines that are registered now, and is
    /// followed from then on.
    pub async fn set_max(&self, max: Max) -> Result<(i64, i64), Error> {
        for _ in 0..TRIES {
            let mut read = self.read().await?;
            let before = read.semaphore.max();
            let now = max.of(self.live_machines(max).await?);
            read.semaphore.set_max(now)?;
            let policy = match max {
                Max::Machines(_) => delete(self.group.max()),
                Max::Percent(_) => put(self.group.max(), &max),
            };
            if self.change(read, vec![policy]).await? == Step::Done {
                return Ok((before, now));
            }
        }
        Err(Error::Contended)
    }

    /// Adapts the max to the number of machines, where it is a share of them.
    pub async fn follow_share(&self) -> Result<(), Error> {
        let mut read = self.read().await?;
        let wanted = self.wanted_max(&read.semaphore).await?;
        let now = wanted.of(self.live_machines(wanted).await?);
        if now != read.semaphore.max() && matches!(wanted, Max::Percent(_)) {
            read.semaphore.set_max(now)?;
            // When somebody was faster, the next one to look does it.
            self.change(read, Vec::new()).await?;
        }
        Ok(())
    }

    /// Throws a value away that cannot be read, and every claim; the max is 1 again.
    pub async fn reset(&self) -> Result<(), Error> {
        let claims = read_all(&self.store, &self.group.holders()).await?;
        let mut keys: Vec<String> = claims.entries.into_iter().map(|entry| entry.key).collect();
        keys.extend([self.group.max(), self.group.semaphore()]);
        for some in keys.chunks(store::MAX_OPERATIONS) {
            let writes = some.iter().cloned().map(delete).collect();
            let transaction = Transaction {
                compares: Vec::new(),
                writes,
            };
            self.store.commit(&transaction).await?;
        }
        Ok(())
    }

    async fn wanted_max(&self, semaphore: &Semaphore) -> Result<Max, Error> {
        let entry = self.store.read(&self.group.max()).await?;
        let wanted = entry.and_then(|entry| json(&entry.value));
        Ok(wanted.unwrap_or(Max::Machines(semaphore.max())))
    }

    async fn live_machines(&self, max: Max) -> Result<usize, Error> {
        match max {
            Max::Machines(_) => Ok(0),
            Max::Percent(_) => {
                let machines = read_all(&self.store, scheduler::keys::MACHINES).await?;
                Ok(machines.entries.len())
            }
        }
    }

    /// Writes the semaphore, and more with it, unless somebody changed it since it was read.
    async fn change(&self, read: Read, mut writes: Vec<Write>) -> Result<Step, Error> {
        let key = self.group.semaphore();
        writes.push(Write::Put {
            key: key.clone(),
            value: read.semaphore.to_json(),
            lease: None,
        });
        let transaction = Transaction {
            compares: vec![Compare::Modified(key, read.modified)],
            writes,
        };
        Ok(match self.store.commit(&transaction).await? {
            Outcome::Done(_) => Step::Done,
            Outcome::Refused => Step::Overtaken,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Done,
    /// Somebody else changed the lock first.
    Overtaken,
}

/// Where the machine's registration lies; nothing when the id is no machine's.
fn registration(id: &str) -> Option<String> {
    let machine: MachineId = id.parse().ok()?;
    Some(scheduler::keys::machine(&machine))
}

fn json<T: for<'a> Deserialize<'a>>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

fn put(key: String, value: &impl Serialize) -> Write {
    Write::Put {
        key,
        // Types of ours, whose serialisation cannot fail.
        value: serde_json::to_vec(value).unwrap_or_default(),
        lease: None,
    }
}

fn delete(key: String) -> Write {
    Write::Delete { key }
}

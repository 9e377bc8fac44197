//! Taking the lock from a machine that is lost, so that one dead machine does not stop the updates
//! of all.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strake_updates::time::Timestamp;
use tokio::time::Instant;

use super::{Claim, Error, Lock, put, registration};
use crate::store::{Compare, Outcome, Store, Transaction, Write};

/// That it happened, kept for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// From whom.
    pub id: String,
    pub claim: Claim,
    /// Who did it.
    pub by: String,
    /// By the clock of that one.
    pub at: Timestamp,
    /// For how long the machine had not been registered, as that one saw it.
    pub lost_seconds: u64,
}

/// Since when holders are seen to be away. By the time that passes, not by any clock: clocks
/// step. Whoever looks for the first time starts from there, which is late but never early.
#[derive(Debug, Default)]
pub(super) struct Losses {
    since: BTreeMap<String, Instant>,
}

impl Losses {
    /// For how long this holder, away now, has been seen away.
    fn away(&mut self, id: &str) -> Duration {
        let since = self
            .since
            .entry(id.to_string())
            .or_insert_with(Instant::now);
        since.elapsed()
    }

    fn seen(&mut self, id: &str) {
        self.since.remove(id);
    }
}

impl<S: Store> Lock<S> {
    /// One look at all holders. A store that does not answer says nothing about machines: what
    /// was measured before it is thrown away with the error.
    pub(super) async fn take_over_from_lost(
        &self,
        by: &str,
        losses: &mut Losses,
    ) -> Result<(), Error> {
        let semaphore = self.read().await?.semaphore;
        losses.since.retain(|id, _| semaphore.is_held_by(id));
        for id in semaphore.holders() {
            // Whoever was never registered cannot be known to be lost: people decide.
            let claim = self.claim(id).await?.filter(|claim| claim.registered);
            let (Some(claim), Some(key)) = (claim, registration(id)) else {
                continue;
            };
            if self.store.read(&key).await?.is_some() {
                losses.seen(id);
                continue;
            }
            let away = losses.away(id);
            if away > Duration::from_secs(claim.deadline.0) {
                self.take_over(id, by, away).await?;
            }
        }
        Ok(())
    }

    /// Not when the machine, its claim or the lock changed meanwhile.
    async fn take_over(&self, id: &str, by: &str, away: Duration) -> Result<(), Error> {
        let mut read = self.read().await?;
        let holder = self.group.holder(id);
        let (Some(entry), Some(machine)) = (self.store.read(&holder).await?, registration(id))
        else {
            return Ok(());
        };
        let Some(claim) = super::json::<Claim>(&entry.value) else {
            return Ok(());
        };
        if !read.semaphore.unlock(id) {
            return Ok(());
        }
        let takeover = Takeover {
            id: id.to_string(),
            claim,
            by: by.to_string(),
            at: Timestamp::from_unix(crate::update::clock().unix()),
            lost_seconds: away.as_secs(),
        };
        let semaphore = self.group.semaphore();
        let transaction = Transaction {
            compares: vec![
                Compare::Modified(semaphore.clone(), read.modified),
                Compare::Modified(holder.clone(), entry.modified),
                Compare::Created(machine, 0),
            ],
            writes: vec![
                Write::Put {
                    key: semaphore,
                    value: read.semaphore.to_json(),
                    lease: None,
                },
                super::delete(holder),
                put(self.group.takeover(id), &takeover),
            ],
        };
        match self.store.commit(&transaction).await? {
            // Refused: the next look sees why.
            Outcome::Done(_) | Outcome::Refused => Ok(()),
        }
    }
}

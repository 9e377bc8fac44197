//! How this machine stands to the lock.

use super::{Claim, Claimant, Error, Lock, Step, TRIES};
use crate::store::Store;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Free,
    /// By a claim of this machine's, of this boot or an earlier one.
    Held(Claim),
    /// A person, or a program of another kind, took it in this machine's name.
    ByHand,
    /// By another machine that has this one's id.
    Twin(Claim),
}

impl<S: Store> Lock<S> {
    pub async fn standing(&self, who: &Claimant) -> Result<Standing, Error> {
        if !self.read().await?.semaphore.is_held_by(&who.id) {
            return Ok(Standing::Free);
        }
        Ok(match self.claim(&who.id).await? {
            Some(claim) if who.made(&claim) => Standing::Held(claim),
            Some(claim) => Standing::Twin(claim),
            None => Standing::ByHand,
        })
    }

    /// Gives back what this machine's claims have taken; whether that was anything. Requests of an
    /// earlier try may still be on their way to the store: they compare the semaphore as it was,
    /// so it is written once more also when there is nothing to give back, and they come to nothing.
    pub async fn give_back(&self, who: &Claimant) -> Result<bool, Error> {
        for _ in 0..TRIES {
            let read = self.read().await?;
            let claim = match read.semaphore.is_held_by(&who.id) {
                true => Some(self.claim(&who.id).await?),
                false => None,
            };
            let is_over = match claim {
                None => self.change(read, Vec::new()).await? == Step::Done,
                // A person's, or another machine's: no request of ours takes it a second time.
                Some(None) => return Ok(false),
                Some(Some(claim)) if !who.made(&claim) => return Ok(false),
                Some(Some(_)) => match self.free(read, &who.id).await? {
                    Some(freed) => return Ok(freed),
                    None => false,
                },
            };
            if is_over {
                return Ok(false);
            }
        }
        Err(Error::Contended)
    }
}

//! How this machine stands to the lock.

use super::{Claim, Claimant, Error, Lock};
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
}

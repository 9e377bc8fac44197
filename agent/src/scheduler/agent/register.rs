//! The machine's own key, under its lease.

use super::{Agent, Cache, Host, Registration};
use crate::scheduler::keys;
use crate::store::{Compare, Outcome, Store, Transaction, Write};

impl<S: Store, H: Host, C: Cache> Agent<S, H, C> {
    /// Writes the machine's key: when it is not registered, only if the desired value is still the
    /// one obeyed here. The key is compared too: an earlier write of ours that was lost on its way
    /// and arrives now would bind it to a lease that nobody renews any more.
    pub(super) async fn register(&mut self, key: &str) -> anyhow::Result<Outcome> {
        let machine = self.machine.borrow_and_update().clone();
        let own = keys::machine(&machine.id);
        let found = self.store.read(&own).await?;
        let lease = match self.registration {
            Registration::In(lease) => lease,
            Registration::Out => self.store.grant(self.pace.lease_ttl).await?,
        };
        let mut transaction = Transaction {
            compares: vec![Compare::Modified(
                own.clone(),
                found.map_or(0, |entry| entry.modified),
            )],
            writes: vec![Write::Put {
                key: own,
                value: serde_json::to_vec(&machine)?,
                lease: Some(lease),
            }],
        };
        if self.registration == Registration::Out {
            let obeyed = Compare::Modified(key.to_string(), self.modified);
            transaction.compares.push(obeyed);
        }
        let outcome = self.store.commit(&transaction).await?;
        match outcome {
            Outcome::Done(_) => self.registration = Registration::In(lease),
            Outcome::Refused if self.registration == Registration::Out => {
                let _ = self.store.revoke(lease).await;
            }
            Outcome::Refused => {}
        }
        Ok(outcome)
    }
}

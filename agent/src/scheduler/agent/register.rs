//! The machine's own key, under its lease.

use super::{Agent, Cache, Host, Registration};
use crate::scheduler::keys;
use crate::store::{Compare, Error, Lease, Outcome, Renewal, Store, Transaction, Write};
use tokio::time::Instant;

impl<S: Store, H: Host, C: Cache> Agent<S, H, C> {
    pub(super) async fn renew(&mut self, lease: Lease) -> Result<Renewal, Error> {
        let sent = Instant::now();
        let renewal = self.store.keep_alive(lease).await?;
        if renewal == Renewal::Renewed {
            self.failures = 0;
            self.fuse.renewed(sent, self.lease_ttl);
        }
        Ok(renewal)
    }

    /// Writes the machine's key: when it is not registered, only if the desired value is still the
    /// one obeyed here. The key is compared too: an earlier write of ours that was lost on its way
    /// and arrives now would bind it to a lease that nobody renews any more.
    pub(super) async fn register(&mut self, key: &str) -> anyhow::Result<Outcome> {
        let machine = self.machine.borrow_and_update().clone();
        let own = keys::machine(&machine.id);
        let found = self.store.read(&own).await?;
        let sent = Instant::now();
        let lease_ttl = self.pace.lease(self.desired.lease);
        let lease = match self.registration {
            Registration::In(lease) => lease,
            Registration::Out => self.store.grant(lease_ttl).await?,
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
            Outcome::Done(_) if self.registration == Registration::Out => {
                self.registration = Registration::In(lease);
                self.lease_ttl = lease_ttl;
                self.failures = 0;
                self.fuse.renewed(sent, lease_ttl);
            }
            Outcome::Done(_) => {}
            Outcome::Refused if self.registration == Registration::Out => {
                let _ = self.store.revoke(lease).await;
            }
            Outcome::Refused => {}
        }
        Ok(outcome)
    }
}

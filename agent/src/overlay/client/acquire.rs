//! A lease is found again or taken, against others that do the same.

use super::choice::own;
use super::{Client, Error, Held, Origin, TRIES};
use crate::overlay::config::Config;
use crate::overlay::lease::Lease;
use crate::store::{
    self, Compare, Entry, Kind, Outcome, Renewal, Store, Transaction, Write, read_all,
};

impl<S: Store> Client<S> {
    /// `offer` is the lease as this machine wants it; its subnets are those of before.
    pub async fn acquire(
        &self,
        config: &Config,
        offer: &Lease,
        chance: &mut impl FnMut() -> u128,
    ) -> Result<Held, Error> {
        let mut term = None;
        let held = self.try_acquire(config, offer, chance, &mut term).await;
        if let (Some(term), true) = (term, held.is_err()) {
            // Nothing hangs on it, or the next try finds it: either way it would only lie about.
            let _ = self.store.revoke(term).await;
        }
        held
    }

    async fn try_acquire(
        &self,
        config: &Config,
        offer: &Lease,
        chance: &mut impl FnMut() -> u128,
        term: &mut Option<store::Lease>,
    ) -> Result<Held, Error> {
        for _ in 0..TRIES {
            let leases = read_all(&self.store, &self.subnets()).await?.entries;
            let known = self.parse(&leases);
            let step = match own(config, offer, &known) {
                Some((entry, lease)) => {
                    if let Some(unused) = term.take() {
                        self.store.revoke(unused).await?;
                    }
                    self.keep(offer, entry, lease).await?
                }
                None => self.take(config, offer, &known, chance, term).await?,
            };
            if let Some(held) = step {
                return Ok(held);
            }
        }
        Err(Error::Contended)
    }

    /// Brings what is there up to date, under the term it has. Nothing: others were faster.
    async fn keep(
        &self,
        offer: &Lease,
        entry: &Entry,
        found: &Lease,
    ) -> Result<Option<Held>, Error> {
        if let Some(term) = entry.lease
            && self.store.keep_alive(term).await? == Renewal::Over
        {
            return Ok(None);
        }
        let lease = Lease {
            subnets: found.subnets,
            ..offer.clone()
        };
        let value = lease.to_json();
        if value != entry.value {
            let transaction = Transaction {
                compares: vec![Compare::Modified(entry.key.clone(), entry.modified)],
                writes: vec![Write::Put {
                    key: entry.key.clone(),
                    value,
                    lease: entry.lease,
                }],
            };
            if self.commit(&transaction).await? == Outcome::Refused {
                return Ok(None);
            }
        }
        Ok(Some(Held {
            lease,
            key: entry.key.clone(),
            term: entry.lease,
            origin: match entry.lease {
                Some(_) => Origin::Kept,
                None => Origin::Reserved,
            },
        }))
    }

    /// Nothing: others were faster.
    async fn take(
        &self,
        config: &Config,
        offer: &Lease,
        known: &[(&Entry, Lease)],
        chance: &mut impl FnMut() -> u128,
        term: &mut Option<store::Lease>,
    ) -> Result<Option<Held>, Error> {
        let (subnets, origin) = self.free(config, offer, known, chance)?;
        let lease = Lease {
            subnets,
            ..offer.clone()
        };
        let granted = match *term {
            Some(granted) => granted,
            None => *term.insert(self.store.grant(self.ttl).await?),
        };
        let key = format!("{}{}", self.subnets(), subnets.to_key());
        let transaction = Transaction {
            compares: vec![Compare::Created(key.clone(), 0)],
            writes: vec![Write::Put {
                key: key.clone(),
                value: lease.to_json(),
                lease: Some(granted),
            }],
        };
        let created = match self.commit(&transaction).await {
            Ok(Outcome::Done(revision)) => revision,
            Ok(Outcome::Refused) => return Ok(None),
            Err(error) if error.kind == Kind::LeaseGone => {
                *term = None;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        // Two keys that differ may still overlap: whoever came later gives way.
        let entries = read_all(&self.store, &self.subnets()).await?.entries;
        let beaten = self
            .parse(&entries)
            .iter()
            .any(|(entry, other)| entry.created < created && other.subnets.overlaps(&subnets));
        if beaten {
            let transaction = Transaction {
                compares: vec![Compare::Created(key.clone(), created)],
                writes: vec![Write::Delete { key }],
            };
            self.commit(&transaction).await?;
            return Ok(None);
        }
        Ok(Some(Held {
            lease,
            key,
            term: Some(granted),
            origin,
        }))
    }
}

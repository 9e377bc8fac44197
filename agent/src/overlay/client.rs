//! The machine's lease in the store: found again, taken, kept.
//!
//! A lease is the machine's when it carries its id; one without an id (of flannel, or a
//! reservation) when it has the machine's public address. An error says nothing about what was
//! done: the next try finds whatever it left.

use std::collections::BTreeSet;
use std::time::Duration;

use super::allocate::{Full, choose};
use super::cidr::{Cidr, Family};
use super::config::{Config, Problems};
use super::lease::{Lease, Subnets};
use crate::store::{
    self, Compare, Entry, Kind, Outcome, Renewal, Revision, Store, Transaction, Write, read_all,
};

/// flannel's own.
pub const DEFAULT_PREFIX: &str = "/coreos.com/network";
pub const TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Lost races for a subnet: each means that another machine got one.
const TRIES: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("{key} is wrong: {source}")]
    Config { key: String, source: Problems },
    #[error("others took {TRIES} subnets meanwhile")]
    Contended,
}

/// Where the lease comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Kept,
    /// It was there, under no time limit: somebody reserved it.
    Reserved,
    /// The subnet of before was free still.
    Again,
    New,
    /// There was a subnet before, and another machine has it now.
    Moved(Subnets),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub lease: Lease,
    pub key: String,
    /// Nothing for a reservation, which needs no renewing.
    pub term: Option<store::Lease>,
    pub origin: Origin,
}

/// Everything under the prefix at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub config: Option<Vec<u8>>,
    /// By key, as they are written.
    pub leases: Vec<Entry>,
    pub revision: Revision,
}

#[derive(Debug, Clone)]
pub struct Client<S> {
    store: S,
    prefix: String,
    ttl: Duration,
    /// Where no new subnet may be.
    pub avoided: Vec<Cidr>,
}

impl<S: Store> Client<S> {
    pub fn new(store: S, prefix: &str, ttl: Duration) -> Client<S> {
        Client {
            store,
            prefix: prefix.trim_end_matches('/').to_string(),
            ttl,
            avoided: Vec::new(),
        }
    }

    pub fn store(&self) -> &S {
        &self.store
    }

    /// What everything of the network lies below.
    pub fn all(&self) -> String {
        format!("{}/", self.prefix)
    }

    pub fn config_key(&self) -> String {
        format!("{}/config", self.prefix)
    }

    pub fn subnets(&self) -> String {
        format!("{}/subnets/", self.prefix)
    }

    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let listing = read_all(&self.store, &self.all()).await?;
        let (config_key, subnets) = (self.config_key(), self.subnets());
        let mut snapshot = Snapshot {
            config: None,
            leases: Vec::new(),
            revision: listing.revision,
        };
        for entry in listing.entries {
            if entry.key == config_key {
                snapshot.config = Some(entry.value);
            } else if entry.key.starts_with(&subnets) {
                snapshot.leases.push(entry);
            }
        }
        Ok(snapshot)
    }

    pub fn parse_config(&self, text: &[u8]) -> Result<Config, Error> {
        Config::parse(text).map_err(|source| Error::Config {
            key: self.config_key(),
            source,
        })
    }

    /// Writes the network's config; nothing when there is one already.
    pub async fn write_config(&self, text: &[u8]) -> Result<bool, Error> {
        let key = self.config_key();
        let transaction = Transaction {
            compares: vec![Compare::Created(key.clone(), 0)],
            writes: vec![Write::Put {
                key,
                value: text.to_vec(),
                lease: None,
            }],
        };
        let outcome = self.store.commit(&transaction).await?;
        Ok(matches!(outcome, Outcome::Done(_)))
    }

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

    fn parse<'a>(&self, entries: &'a [Entry]) -> Vec<(&'a Entry, Lease)> {
        let prefix = self.subnets();
        let parsed = entries.iter().filter_map(|entry| {
            let key = entry.key.strip_prefix(&prefix)?;
            // What cannot be read still has its place when its key can.
            let lease = Lease::parse(key, &entry.value).or_else(|_| Lease::parse(key, b"{}"));
            Some((entry, lease.ok()?))
        });
        parsed.collect()
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

    async fn commit(&self, transaction: &Transaction) -> Result<Outcome, store::Error> {
        self.store.commit(transaction).await
    }

    pub async fn renew(&self, held: &Held) -> Result<Renewal, Error> {
        Ok(match held.term {
            Some(term) => self.store.keep_alive(term).await?,
            None => Renewal::Renewed,
        })
    }

    /// Ends a lease of this machine's that no longer fits.
    pub async fn give_up(&self, entry: &Entry) -> Result<(), Error> {
        let transaction = Transaction {
            compares: vec![Compare::Modified(entry.key.clone(), entry.modified)],
            writes: vec![Write::Delete {
                key: entry.key.clone(),
            }],
        };
        self.commit(&transaction).await?;
        Ok(())
    }

    /// Leases with this machine's id beside the one it holds: from before the network was changed.
    pub fn leftovers<'a>(&self, leases: &'a [Entry], held: &Held) -> Vec<&'a Entry> {
        let is_own = |lease: &Lease| lease.machine.is_some() && lease.machine == held.lease.machine;
        let known = self.parse(leases).into_iter();
        known
            .filter(|(entry, lease)| {
                entry.key != held.key && entry.lease.is_some() && is_own(lease)
            })
            .map(|(entry, _)| entry)
            .collect()
    }
}

fn is_own(lease: &Lease, offer: &Lease) -> bool {
    match &lease.machine {
        Some(machine) => Some(machine) == offer.machine.as_ref(),
        None => lease.shares_address(offer),
    }
}

fn fits(config: &Config, subnets: &Subnets) -> bool {
    [Family::V4, Family::V6].into_iter().all(|family| {
        match (config.ranges(family), subnets.of(family)) {
            (Some(ranges), Some(subnet)) => {
                // A reservation may lie outside of what is given by chance.
                ranges.network.covers(&subnet) && subnet.length() == ranges.length()
            }
            (None, None) => true,
            _ => false,
        }
    })
}

/// The lease that this machine has: a reservation before others, the subnet of before next.
fn own<'a>(
    config: &Config,
    offer: &Lease,
    known: &'a [(&'a Entry, Lease)],
) -> Option<(&'a Entry, &'a Lease)> {
    let mine = known
        .iter()
        .filter(|(_, lease)| is_own(lease, offer) && fits(config, &lease.subnets));
    let best = mine.min_by_key(|(entry, lease)| {
        (
            entry.lease.is_some(),
            lease.subnets != offer.subnets,
            entry.created,
        )
    });
    best.map(|(entry, lease)| (*entry, lease))
}

impl<S> Client<S> {
    /// The subnet of before when nobody else has it, otherwise any.
    fn free(
        &self,
        config: &Config,
        offer: &Lease,
        known: &[(&Entry, Lease)],
        chance: &mut impl FnMut() -> u128,
    ) -> Result<(Subnets, Origin), Full> {
        let before = offer.subnets;
        let is_avoided = |subnet: Option<Cidr>| {
            subnet.is_some_and(|subnet| self.avoided.iter().any(|one| one.overlaps(&subnet)))
        };
        let is_taken = |subnets: &Subnets| {
            let mut all = known.iter();
            all.any(|(_, lease)| lease.subnets.overlaps(subnets))
                || is_avoided(subnets.v4)
                || is_avoided(subnets.v6)
        };
        let had_one = before.v4.is_some() || before.v6.is_some();
        let fitting = fits(config, &before);
        if had_one && fitting && !is_taken(&before) {
            return Ok((before, Origin::Again));
        }
        let mut one_of = |family| {
            let Some(ranges) = config.ranges(family) else {
                return Ok(None);
            };
            let taken = known
                .iter()
                .filter_map(|(_, lease)| lease.subnets.of(family));
            let avoided = self.avoided.iter().copied();
            let avoided = avoided.filter(|one| one.family() == family);
            let taken: BTreeSet<Cidr> = taken.chain(avoided).collect();
            choose(ranges, &taken, chance()).map(Some)
        };
        let subnets = Subnets {
            v4: one_of(Family::V4)?,
            v6: one_of(Family::V6)?,
        };
        let origin = match had_one && fitting {
            true => Origin::Moved(before),
            false => Origin::New,
        };
        Ok((subnets, origin))
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;

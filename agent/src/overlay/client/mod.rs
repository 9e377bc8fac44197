//! The machine's lease in the store: found again, taken, kept.
//!
//! A lease is the machine's when it carries its id; one without an id (of flannel, or a
//! reservation) when it has the machine's public address. An error says nothing about what was
//! done: the next try finds whatever it left.

mod acquire;
mod choice;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::allocate::Full;
use super::cidr::Cidr;
use super::config::{Config, Problems};
use super::lease::{Lease, Subnets};
use crate::store::{
    self, Compare, Entry, Outcome, Renewal, Revision, Store, Transaction, Write, read_all,
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

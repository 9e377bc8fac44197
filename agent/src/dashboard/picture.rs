//! What the store says of the cluster: read once, then kept right by watches.

use std::collections::BTreeMap;

use crate::lock;
use crate::overlay::client::DEFAULT_PREFIX;
use crate::scheduler::keys::ALL;
use crate::scheduler::model::Model;
use crate::store::{Batch, Entry, Error, Event, Store, Watch, WatchEnd, read_all};

/// Below `ALL`: what the failure budget keeps, which is no part of the scheduler's model.
const OF_RELEASES: [&str; 4] = ["trying/", "fallbacks/", "refused/", "proven/"];

/// What lies below the prefixes that are watched.
#[derive(Debug, Default)]
pub struct Picture {
    pub model: Model,
    /// Of releases, locks and subnets, by key.
    pub entries: BTreeMap<String, Entry>,
    /// Where subnets are, with a slash at the end.
    pub subnets: String,
}

impl Picture {
    pub fn apply(&mut self, batch: &Batch) {
        self.model.apply(batch);
        for event in &batch.events {
            match event {
                Event::Put(entry) if self.keeps(&entry.key) => {
                    self.entries.insert(entry.key.clone(), entry.clone());
                }
                Event::Put(_) => {}
                Event::Deleted { key } => drop(self.entries.remove(key)),
            }
        }
    }

    fn keeps(&self, key: &str) -> bool {
        match key.strip_prefix(ALL) {
            Some(rest) => OF_RELEASES.iter().any(|kind| rest.starts_with(kind)),
            None => key.starts_with(lock::keys::ALL) || key.starts_with(&self.subnets),
        }
    }

    pub fn below<'p>(&'p self, prefix: &'p str) -> impl Iterator<Item = (&'p str, &'p Entry)> {
        let from = self.entries.range(prefix.to_string()..);
        let strip =
            move |(key, entry): (&'p String, &'p Entry)| Some((key.strip_prefix(prefix)?, entry));
        from.map_while(strip)
    }
}

/// A picture and the watches that keep it right.
#[derive(Debug)]
pub struct Watched {
    pub picture: Picture,
    watches: [Watch; 3],
}

impl Watched {
    /// `network` is where the overlay network keeps its leases; flannel's place when nothing is
    /// given.
    pub async fn open(store: &impl Store, network: Option<&str>) -> Result<Watched, Error> {
        let network = network.unwrap_or(DEFAULT_PREFIX).trim_end_matches('/');
        let subnets = format!("{network}/subnets/");
        let mut picture = Picture {
            subnets: subnets.clone(),
            ..Picture::default()
        };
        let mut watch = async |prefix: &str| {
            let listing = read_all(store, prefix).await?;
            picture.apply(&Batch {
                revision: listing.revision,
                events: listing.entries.into_iter().map(Event::Put).collect(),
            });
            store.watch(prefix, listing.revision + 1).await
        };
        let watches = [
            watch(ALL).await?,
            watch(lock::keys::ALL).await?,
            watch(&subnets).await?,
        ];
        Ok(Watched { picture, watches })
    }

    /// Waits for the next change and takes in all that have come.
    pub async fn advance(&mut self) -> Result<(), WatchEnd> {
        let [cluster, locks, subnets] = &mut self.watches;
        let batch = tokio::select! {
            batch = cluster.next() => batch,
            batch = locks.next() => batch,
            batch = subnets.next() => batch,
        };
        self.picture.apply(&batch?);
        for watch in &mut self.watches {
            while let Some(batch) = watch.ready() {
                self.picture.apply(&batch?);
            }
        }
        Ok(())
    }
}

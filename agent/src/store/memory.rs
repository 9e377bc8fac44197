//! A store in memory, with etcd's behaviour on tokio's clock: revisions, leases that run out,
//! watches from the past, compaction.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{
    Batch, Compare, Entry, Error, Event, Kind, Lease, Listing, MAX_OPERATIONS, Outcome, PAGE,
    Renewal, Revision, Store, Transaction, Watch, WatchEnd, WatchSender, Write,
};

#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    entries: BTreeMap<String, Entry>,
    history: Vec<Batch>,
    compacted: Revision,
    leases: BTreeMap<Lease, LeaseState>,
    last_lease: i64,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct LeaseState {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<String>,
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    sender: WatchSender,
}

impl Memory {
    /// Forgets what happened before the revision.
    pub fn compact(&self, revision: Revision) {
        let mut state = self.lock();
        state.compacted = revision;
        state.history.retain(|batch| batch.revision >= revision);
    }

    /// Whether there is such a key now, for those who check from outside.
    pub fn holds(&self, key: &str) -> bool {
        self.lock().entries.contains_key(key)
    }

    /// What a test begins with, as JSON and under no lease.
    #[cfg(test)]
    pub(crate) async fn put(&self, key: impl Into<String>, value: &impl serde::Serialize) {
        let value = serde_json::to_vec(value).expect("JSON");
        self.put_bytes(key, value).await;
    }

    #[cfg(test)]
    pub(crate) async fn put_bytes(&self, key: impl Into<String>, value: Vec<u8>) {
        let transaction = Transaction {
            compares: Vec::new(),
            writes: vec![Write::Put {
                key: key.into(),
                value,
                lease: None,
            }],
        };
        self.commit(&transaction).await.expect("written");
    }

    /// Of the lease that the key is under.
    #[cfg(test)]
    pub(crate) fn ttl(&self, key: &str) -> Option<Duration> {
        let state = self.lock();
        let lease = state.entries.get(key)?.lease?;
        Some(state.leases.get(&lease)?.ttl)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned state is whole: it is changed by no code that can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expire_in_time(&self, lease: Lease, ends: Instant) {
        let memory = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(ends).await;
            let mut state = memory.lock();
            let over = |lease: &LeaseState| lease.ends <= Instant::now();
            if state.leases.get(&lease).is_some_and(over) {
                state.end_lease(lease);
            }
        });
    }
}

impl State {
    fn end_lease(&mut self, lease: Lease) {
        let Some(ended) = self.leases.remove(&lease) else {
            return;
        };
        let writes: Vec<Write> = ended
            .keys
            .into_iter()
            .map(|key| Write::Delete { key })
            .collect();
        self.apply(&writes);
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Created(key, revision) => {
                self.entries.get(key).map_or(0, |entry| entry.created) == *revision
            }
            Compare::Modified(key, revision) => {
                self.entries.get(key).map_or(0, |entry| entry.modified) == *revision
            }
        }
    }

    fn apply(&mut self, writes: &[Write]) -> Revision {
        let next = self.revision + 1;
        let mut events = Vec::new();
        for write in writes {
            match write {
                Write::Put { key, value, lease } => {
                    self.detach(key);
                    if let Some(with) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
                        with.keys.insert(key.clone());
                    }
                    let before = self.entries.get(key);
                    let entry = Entry {
                        key: key.clone(),
                        value: value.clone(),
                        created: before.map_or(next, |entry| entry.created),
                        modified: next,
                        lease: *lease,
                    };
                    self.entries.insert(key.clone(), entry.clone());
                    events.push(Event::Put(entry));
                }
                Write::Delete { key } => {
                    self.detach(key);
                    if self.entries.remove(key).is_some() {
                        events.push(Event::Deleted { key: key.clone() });
                    }
                }
            }
        }
        if events.is_empty() {
            return self.revision;
        }
        self.revision = next;
        let batch = Batch {
            revision: next,
            events,
        };
        self.watchers
            .retain(|watcher| send(watcher, &batch).is_ok());
        self.history.push(batch);
        next
    }

    fn detach(&mut self, key: &str) {
        let lease = self.entries.get(key).and_then(|entry| entry.lease);
        if let Some(with) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            with.keys.remove(key);
        }
    }
}

fn send(watcher: &Watcher, batch: &Batch) -> Result<(), ()> {
    let here = |event: &&Event| match event {
        Event::Put(entry) => entry.key.starts_with(&watcher.prefix),
        Event::Deleted { key } => key.starts_with(&watcher.prefix),
    };
    let events: Vec<Event> = batch.events.iter().filter(here).cloned().collect();
    if events.is_empty() {
        return if watcher.sender.is_closed() {
            Err(())
        } else {
            Ok(())
        };
    }
    let batch = Batch {
        revision: batch.revision,
        events,
    };
    watcher.sender.send(Ok(batch)).map_err(drop)
}

impl Store for Memory {
    async fn read(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.lock().entries.get(key).cloned())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
    ) -> Result<Listing, Error> {
        let state = self.lock();
        let start = match after {
            Some(key) => Bound::Excluded(key.to_string()),
            None => Bound::Included(prefix.to_string()),
        };
        let found = state.entries.range((start, Bound::Unbounded));
        let mut found = found
            .map(|(_, entry)| entry.clone())
            .take_while(|entry| entry.key.starts_with(prefix));
        let entries: Vec<Entry> = found.by_ref().take(PAGE).collect();
        Ok(Listing {
            more: found.next().is_some(),
            entries,
            // An older revision cannot be read here; from it a watch sees the difference again.
            revision: at.unwrap_or(state.revision),
        })
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Outcome, Error> {
        let mut state = self.lock();
        let refuse = |kind, why: &str| Err(Error::new(kind, "write", why.to_string()));
        if transaction.writes.len() > MAX_OPERATIONS {
            return refuse(Kind::Invalid, "too many operations");
        }
        if !transaction.compares.iter().all(|c| state.holds(c)) {
            return Ok(Outcome::Refused);
        }
        for write in &transaction.writes {
            if let Write::Put {
                lease: Some(lease), ..
            } = write
                && !state.leases.contains_key(lease)
            {
                return refuse(Kind::LeaseGone, "there is no such lease");
            }
        }
        Ok(Outcome::Done(state.apply(&transaction.writes)))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let ends = Instant::now() + ttl;
        let lease = {
            let mut state = self.lock();
            state.last_lease += 1;
            let lease = Lease(state.last_lease);
            let keys = BTreeSet::new();
            state.leases.insert(lease, LeaseState { ttl, ends, keys });
            lease
        };
        self.expire_in_time(lease, ends);
        Ok(lease)
    }

    async fn keep_alive(&self, lease: Lease) -> Result<Renewal, Error> {
        let ends = {
            let mut state = self.lock();
            let Some(lease) = state.leases.get_mut(&lease) else {
                return Ok(Renewal::Over);
            };
            lease.ends = Instant::now() + lease.ttl;
            lease.ends
        };
        self.expire_in_time(lease, ends);
        Ok(Renewal::Renewed)
    }

    async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        self.lock().end_lease(lease);
        Ok(())
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        let (sender, watch) = Watch::channel();
        let mut state = self.lock();
        let watcher = Watcher {
            prefix: prefix.to_string(),
            sender,
        };
        if from < state.compacted {
            // Whoever asked still holds the other end.
            let _ = watcher
                .sender
                .send(Err(WatchEnd::Compacted(state.compacted)));
            return Ok(watch);
        }
        let first = state.history.partition_point(|batch| batch.revision < from);
        for batch in &state.history[first..] {
            let _ = send(&watcher, batch);
        }
        state.watchers.push(watcher);
        Ok(watch)
    }
}

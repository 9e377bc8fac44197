//! A store whose round trips are counted and timed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Entry, Error, Lease, Listing, Outcome, Renewal, Revision, Store, Transaction, Watch};
use crate::metrics::{Counter, Histogram, Registry};

#[derive(Debug, Clone)]
pub struct Measured<S> {
    store: S,
    meters: Arc<Meters>,
}

#[derive(Debug)]
struct Meters {
    read: Meter,
    list: Meter,
    commit: Meter,
    grant: Meter,
    keep_alive: Meter,
    revoke: Meter,
    watch: Meter,
}

#[derive(Debug)]
struct Meter {
    took: Histogram,
    failed: Counter,
}

impl Meter {
    fn new(registry: &Registry, request: &str) -> Meter {
        let labels = [("request", request)];
        let took = "Round trips to the cluster's store, in seconds.";
        let failed = "Requests to the cluster's store without an answer, or refused by it.";
        Meter {
            took: registry.histogram("strake_store_request_seconds", took, &labels),
            failed: registry.counter("strake_store_errors_total", failed, &labels),
        }
    }

    async fn time<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let start = Instant::now();
        let answer = request.await;
        let took: Duration = start.elapsed();
        self.took.observe(took);
        if answer.is_err() {
            self.failed.inc();
        }
        answer
    }
}

impl<S> Measured<S> {
    pub fn new(store: S, registry: &Registry) -> Measured<S> {
        let meter = |request| Meter::new(registry, request);
        let meters = Meters {
            read: meter("read"),
            list: meter("list"),
            commit: meter("commit"),
            grant: meter("grant"),
            keep_alive: meter("keep_alive"),
            revoke: meter("revoke"),
            watch: meter("watch"),
        };
        Measured {
            store,
            meters: Arc::new(meters),
        }
    }
}

impl<S: Store> Store for Measured<S> {
    async fn read(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.meters.read.time(self.store.read(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
    ) -> Result<Listing, Error> {
        let request = self.store.list(prefix, after, at);
        self.meters.list.time(request).await
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Outcome, Error> {
        let request = self.store.commit(transaction);
        self.meters.commit.time(request).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.meters.grant.time(self.store.grant(ttl)).await
    }

    async fn keep_alive(&self, lease: Lease) -> Result<Renewal, Error> {
        let request = self.store.keep_alive(lease);
        self.meters.keep_alive.time(request).await
    }

    async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        self.meters.revoke.time(self.store.revoke(lease)).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        let request = self.store.watch(prefix, from);
        self.meters.watch.time(request).await
    }
}

//! Waiting: in the order of arrival, past those who went, and without asking all the time.

use std::time::Duration;

use super::{claim, lock, on_paused_clock, register, who};
use crate::lock::keys::Group;
use crate::lock::semaphore::Taken;
use crate::lock::{Lock, Patience};
use crate::store::memory::Memory;
use crate::store::{
    self, Entry, Lease, Listing, Outcome, Renewal, Revision, Store, Transaction, Watch,
};

#[test]
fn who_comes_first_is_served_first() {
    on_paused_clock(async {
        let store = Memory::default();
        let lock = lock(&store);
        lock.try_lock(&who("holder", "t"), &claim("t"))
            .await
            .expect("lock");
        let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
        for index in 0..20 {
            let (lock, told) = (lock.clone(), told.clone());
            tokio::task::spawn_local(async move {
                let id = format!("w{index}");
                lock.wait(&who(&id, &id), &claim(&id), Patience::default())
                    .await
                    .expect("lock");
                told.send(index).expect("the test listens");
                tokio::time::sleep(Duration::from_secs(7)).await;
                lock.unlock(&who(&id, &id)).await.expect("unlock");
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let waiting = lock.status().await.expect("status").waiting;
        assert_eq!(waiting.len(), 20);
        lock.unlock_by_hand("holder").await.expect("unlock");
        for expected in 0..20 {
            assert_eq!(order.recv().await, Some(expected));
        }
    });
}

#[test]
fn a_waiter_that_dies_does_not_stop_those_behind_it() {
    on_paused_clock(async {
        let lock = lock(&Memory::default());
        lock.try_lock(&who("holder", "t"), &claim("t"))
            .await
            .expect("lock");
        let first = {
            let lock = lock.clone();
            tokio::task::spawn_local(async move {
                lock.wait(&who("dies", "d"), &claim("d"), Patience::default())
                    .await
            })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = {
            let lock = lock.clone();
            tokio::task::spawn_local(async move {
                lock.wait(&who("lives", "l"), &claim("l"), Patience::default())
                    .await
            })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.abort();
        lock.unlock_by_hand("holder").await.expect("unlock");
        let taken = second.await.expect("task").expect("lock");
        assert_eq!(taken, Taken::Now);
    });
}

/// Counts what is asked of it.
#[derive(Debug, Clone, Default)]
struct Counted {
    memory: Memory,
    calls: std::rc::Rc<std::cell::Cell<usize>>,
}

impl Counted {
    fn count(&self) -> &Memory {
        self.calls.set(self.calls.get() + 1);
        &self.memory
    }
}

impl Store for Counted {
    async fn read(&self, key: &str) -> Result<Option<Entry>, store::Error> {
        self.count().read(key).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
    ) -> Result<Listing, store::Error> {
        self.count().list(prefix, after, at).await
    }
    async fn commit(&self, transaction: &Transaction) -> Result<Outcome, store::Error> {
        self.count().commit(transaction).await
    }
    async fn grant(&self, ttl: Duration) -> Result<Lease, store::Error> {
        self.count().grant(ttl).await
    }
    async fn keep_alive(&self, lease: Lease) -> Result<Renewal, store::Error> {
        self.count().keep_alive(lease).await
    }
    async fn revoke(&self, lease: Lease) -> Result<(), store::Error> {
        self.count().revoke(lease).await
    }
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, store::Error> {
        self.count().watch(prefix, from).await
    }
}

/// Keeps a machine registered, as its scheduler does.
fn stay_registered(store: &Memory, id: &str, ttl: Duration) -> tokio::task::JoinHandle<()> {
    let (store, id) = (store.clone(), id.to_string());
    tokio::task::spawn_local(async move {
        let lease = register(&store, &id, ttl).await;
        loop {
            tokio::time::sleep(ttl / 3).await;
            store.keep_alive(lease).await.expect("answer");
        }
    })
}

#[test]
fn a_registered_machine_waits_without_a_single_call() {
    const IDS: [&str; 2] = ["first", "second"];
    on_paused_clock(async {
        let memory = Memory::default();
        lock(&memory).lock_by_hand("holder").await.expect("lock");
        let registered = IDS.map(|id| stay_registered(&memory, id, Duration::from_secs(60)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut waiters = Vec::new();
        for id in IDS {
            let counted = Counted {
                memory: memory.clone(),
                ..Counted::default()
            };
            let lock = Lock::new(counted.clone(), Group::default());
            let waiting = tokio::task::spawn_local(async move {
                lock.wait(&who(id, id), &claim(id), Patience::default())
                    .await
            });
            tokio::time::sleep(Duration::from_secs(1)).await;
            waiters.push((counted, waiting));
        }
        let calls = |waiters: &[(Counted, _)], index: usize| waiters[index].0.calls.get();
        let before = calls(&waiters, 1);
        tokio::time::sleep(Duration::from_secs(2400)).await;
        assert_eq!(calls(&waiters, 1), before, "the second asked for something");
        // Its machine goes, and with it its place; the second is served.
        registered[0].abort();
        waiters[0].1.abort();
        tokio::time::sleep(Duration::from_secs(70)).await;
        lock(&memory).unlock_by_hand("holder").await.expect("freed");
        let (_, second) = waiters.pop().expect("two");
        let taken = second.await.expect("task").expect("lock");
        assert_eq!(taken, Taken::Now);
    });
}

#[test]
fn who_is_registered_anew_keeps_its_place_in_the_queue() {
    on_paused_clock(async {
        let memory = Memory::default();
        lock(&memory).lock_by_hand("holder").await.expect("lock");
        let first = register(&memory, "a", Duration::from_secs(3000)).await;
        let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
        for id in ["a", "b"] {
            let (lock, told) = (lock(&memory), told.clone());
            tokio::task::spawn_local(async move {
                let taken = lock
                    .wait(&who(id, id), &claim(id), Patience::default())
                    .await;
                taken.expect("lock");
                told.send(id).expect("the test listens");
                lock.unlock(&who(id, id)).await.expect("unlock");
            });
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // As its scheduler does that begins anew: another lease, then the former one ends.
        register(&memory, "a", Duration::from_secs(3000)).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        memory.revoke(first).await.expect("over");
        lock(&memory).unlock_by_hand("holder").await.expect("freed");
        assert_eq!(order.recv().await, Some("a"));
        assert_eq!(order.recv().await, Some("b"));
    });
}

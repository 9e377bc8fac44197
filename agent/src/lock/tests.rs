use std::time::Duration;

use strake_updates::time::{Span, Timestamp};
use tokio::task::LocalSet;

use super::keys::Group;
use super::semaphore::{Max, Taken};
use super::{Claim, Claimant, Error, Lock, Patience};
use crate::scheduler;
use crate::store::memory::Memory;
use crate::store::{
    self, Compare, Entry, Lease, Listing, Outcome, Renewal, Revision, Store, Transaction, Watch,
    Write,
};

const LIMIT: Duration = Duration::from_secs(3600);

fn claim(token: &str) -> Claim {
    Claim {
        token: token.to_string(),
        boot: format!("boot of {token}"),
        release: "1.2.0".to_string(),
        reason: "update".to_string(),
        since: Timestamp::from_unix(1_800_000_000),
        deadline: Span(600),
        registered: true,
        zone: String::new(),
    }
}

/// Who makes the claim of that name, under any machine id.
fn who(id: &str, token: &str) -> Claimant {
    Claimant {
        id: id.to_string(),
        token: token.to_string(),
        boots: vec![format!("boot of {token}")],
    }
}

fn lock(store: &Memory) -> Lock<Memory> {
    Lock::new(store.clone(), Group::default())
}

async fn put(store: &Memory, key: &str, value: &str, lease: Option<Lease>) {
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Put {
            key: key.to_string(),
            value: value.as_bytes().to_vec(),
            lease,
        }],
    };
    let outcome = store.commit(&transaction).await.expect("answer");
    assert!(matches!(outcome, Outcome::Done(_)));
}

async fn register(store: &Memory, id: &str, ttl: Duration) -> Lease {
    let lease = store.grant(ttl).await.expect("lease");
    let id = id.parse().expect("id");
    put(store, &scheduler::keys::machine(&id), "{}", Some(lease)).await;
    lease
}

fn on_paused_clock(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(PAUSED)
        .build()
        .expect("runtime");
    let limited = async { tokio::time::timeout(LIMIT, test).await };
    let ended = LocalSet::new().block_on(&runtime, limited);
    ended.expect("the test ends in time");
}

const PAUSED: bool = true;

#[test]
fn the_holder_keeps_the_lock_until_it_gives_it_back() {
    on_paused_clock(async {
        let lock = lock(&Memory::default());
        assert_eq!(
            lock.try_lock(&who("a", "ta"), &claim("ta"))
                .await
                .expect("a"),
            Taken::Now
        );
        assert_eq!(
            lock.try_lock(&who("a", "ta"), &claim("ta"))
                .await
                .expect("a again"),
            Taken::Before
        );
        let refused = lock
            .try_lock(&who("b", "tb"), &claim("tb"))
            .await
            .expect_err("b");
        assert_eq!(refused.to_string(), "all 1 places are taken");
        assert!(lock.is_held_by(&who("a", "ta")).await.expect("answer"));
        assert!(!lock.is_held_by(&who("b", "tb")).await.expect("answer"));
        assert!(lock.unlock(&who("a", "ta")).await.expect("unlock"));
        assert!(!lock.unlock(&who("a", "ta")).await.expect("unlock again"));
        assert!(!lock.is_held_by(&who("a", "ta")).await.expect("answer"));
        assert_eq!(lock.claim("a").await.expect("answer"), None);
    });
}

#[test]
fn what_was_on_its_way_when_the_lock_was_given_back_comes_to_nothing() {
    on_paused_clock(async {
        let store = Memory::default();
        let lock = lock(&store);
        let a = who("a", "ta");
        for arrives_before in [true, false, true, false] {
            let read = lock.read().await.expect("lock");
            let mut semaphore = read.semaphore.clone();
            semaphore.lock("a").expect("free");
            let late = Transaction {
                compares: vec![Compare::Modified(lock.group().semaphore(), read.modified)],
                writes: vec![
                    super::put(lock.group().holder("a"), &claim("ta")),
                    Write::Put {
                        key: lock.group().semaphore(),
                        value: semaphore.to_json(),
                        lease: None,
                    },
                ],
            };
            if arrives_before {
                store.commit(&late).await.expect("arrives");
            }
            assert_eq!(lock.give_back(&a).await.expect("answer"), arrives_before);
            let outcome = store.commit(&late).await.expect("arrives late");
            assert_eq!(outcome, Outcome::Refused);
            assert!(!lock.is_held_by(&a).await.expect("answer"));
        }
        lock.lock_by_hand("a").await.expect("by hand");
        assert!(!lock.give_back(&a).await.expect("not ours"));
        let twin = who("a", "other");
        assert!(!lock.give_back(&twin).await.expect("not the twin's"));
        assert_eq!(lock.read().await.expect("lock").semaphore.free(), 0);
    });
}

#[test]
fn a_second_machine_with_the_same_id_is_told_and_gets_nothing() {
    on_paused_clock(async {
        let lock = lock(&Memory::default());
        lock.set_max(Max::Machines(5)).await.expect("max");
        lock.try_lock(&who("a", "first"), &claim("first"))
            .await
            .expect("a");
        for refused in [
            lock.try_lock(&who("a", "second"), &claim("second"))
                .await
                .expect_err("lock"),
            lock.unlock(&who("a", "second")).await.expect_err("unlock"),
            lock.wait(&who("a", "second"), &claim("second"), Patience::default())
                .await
                .expect_err("wait"),
        ] {
            assert!(matches!(refused, Error::Twin { .. }), "{refused}");
            assert!(refused.to_string().contains("boot of first"), "{refused}");
        }
        // A copied disk has the token too.
        let copied = Claimant {
            boots: vec!["another".to_string()],
            ..who("a", "first")
        };
        let refused = lock.unlock(&copied).await.expect_err("unlock");
        assert!(matches!(refused, Error::Twin { .. }), "{refused}");
        assert!(lock.is_held_by(&who("a", "first")).await.expect("answer"));
    });
}

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

#[test]
fn a_lost_holder_is_taken_over_from_after_its_deadline_and_not_before() {
    on_paused_clock(async {
        let store = Memory::default();
        let lock = lock(&store);
        register(&store, "dead", Duration::from_secs(60)).await;
        lock.try_lock(&who("dead", "d"), &claim("d"))
            .await
            .expect("lock");
        let begin = tokio::time::Instant::now();
        let taken = lock
            .wait(&who("next", "n"), &claim("n"), Patience::default())
            .await;
        assert_eq!(taken.expect("lock"), Taken::Now);
        let waited = begin.elapsed().as_secs();
        assert!((660..720).contains(&waited), "after {waited} s");
        let takeovers = lock.status().await.expect("status").takeovers;
        assert_eq!(takeovers.len(), 1);
        assert_eq!((&*takeovers[0].id, &*takeovers[0].by), ("dead", "next"));
        assert!(takeovers[0].lost_seconds > 600);
        // The dead one comes back and sees that it has nothing any more.
        assert!(!lock.is_held_by(&who("dead", "d")).await.expect("answer"));
        assert!(!lock.unlock(&who("dead", "d")).await.expect("unlock"));
    });
}

#[test]
fn nobody_takes_over_from_a_machine_that_lives_or_was_never_registered() {
    on_paused_clock(async {
        for registered in [true, false] {
            let store = Memory::default();
            let lock = lock(&store);
            if registered {
                register(&store, "busy", Duration::from_secs(1_000_000)).await;
            }
            let claim_of_busy = Claim {
                registered,
                ..claim("b")
            };
            lock.try_lock(&who("busy", "b"), &claim_of_busy)
                .await
                .expect("lock");
            let (next, claim) = (who("next", "n"), claim("n"));
            let wait = lock.wait(&next, &claim, Patience::default());
            let waited = tokio::time::timeout(Duration::from_secs(1500), wait).await;
            assert!(waited.is_err(), "registered: {registered}");
        }
    });
}

#[test]
fn a_share_follows_the_number_of_machines() {
    on_paused_clock(async {
        let store = Memory::default();
        let lock = lock(&store);
        for index in 0..20 {
            register(&store, &format!("m{index}"), LIMIT).await;
        }
        let share = "20%".parse().expect("share");
        assert_eq!(lock.set_max(share).await.expect("set"), (1, 4));
        for index in 20..40 {
            register(&store, &format!("m{index}"), LIMIT).await;
        }
        lock.follow_share().await.expect("follow");
        let status = lock.status().await.expect("status");
        assert_eq!((status.semaphore.max(), status.max), (8, share));
        assert_eq!(lock.set_max(Max::Machines(2)).await.expect("set"), (8, 2));
        lock.follow_share().await.expect("follow");
        assert_eq!(lock.status().await.expect("status").semaphore.max(), 2);
    });
}

#[test]
fn a_corrupt_value_grants_nothing_and_can_be_reset() {
    on_paused_clock(async {
        let store = Memory::default();
        let lock = lock(&store);
        let key = Group::default().semaphore();
        put(&store, &key, "{\"semaphore\":7}", None).await;
        let refused = lock
            .try_lock(&who("a", "a"), &claim("a"))
            .await
            .expect_err("lock");
        assert!(refused.to_string().contains(&key), "{refused}");
        let waited = lock
            .wait(&who("a", "a"), &claim("a"), Patience::default())
            .await;
        assert!(matches!(waited, Err(Error::Corrupt { .. })));
        assert!(matches!(lock.status().await, Err(Error::Corrupt { .. })));
        lock.reset().await.expect("reset");
        assert_eq!(
            lock.try_lock(&who("a", "a"), &claim("a")).await.expect("a"),
            Taken::Now
        );
    });
}

#[test]
fn groups_do_not_share_a_lock() {
    on_paused_clock(async {
        let store = Memory::default();
        let other = Lock::new(store.clone(), Group::named("databases"));
        lock(&store)
            .try_lock(&who("a", "a"), &claim("a"))
            .await
            .expect("a");
        let taken = other
            .try_lock(&who("b", "b"), &claim("b"))
            .await
            .expect("b");
        assert_eq!(taken, Taken::Now);
    });
}

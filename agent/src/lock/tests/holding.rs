//! Who holds a place, how many there are, and how it is given back.

use super::{LIMIT, claim, lock, on_paused_clock, put, register, who};
use crate::lock::keys::Group;
use crate::lock::semaphore::{Max, Taken};
use crate::lock::{Claimant, Error, Lock, Patience};
use crate::store::memory::Memory;
use crate::store::{Compare, Outcome, Store, Transaction, Write};

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
                    crate::lock::put(lock.group().holder("a"), &claim("ta")),
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

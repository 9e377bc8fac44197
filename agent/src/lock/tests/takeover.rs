//! From whom a place is taken, and from whom not.

use std::time::Duration;

use super::{claim, lock, on_paused_clock, register, who};
use crate::lock::semaphore::Taken;
use crate::lock::{Claim, Patience};
use crate::store::memory::Memory;

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

//! Seeds of the simulations. `STRAKE_SEED` runs one alone, `STRAKE_SEEDS` that many of them.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{available_parallelism, scope};

/// Runs the simulation for each seed, on all processors, and names every seed that fails.
pub(crate) fn each(usual: u64, regressions: &[u64], run: fn(u64)) {
    run_all(&chosen(usual, regressions), run);
}

fn run_all(seeds: &[u64], run: fn(u64)) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err() {
                failed.lock().expect("whole").push(*seed);
            }
        }
    };
    scope(|threads| {
        for _ in 0..available_parallelism().map_or(1, NonZero::get) {
            threads.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("whole");
    assert!(
        failed.is_empty(),
        "of {} seeds these fail: {failed:?}; STRAKE_SEED=N runs one alone",
        seeds.len()
    );
}

fn chosen(usual: u64, regressions: &[u64]) -> Vec<u64> {
    let number = |name| {
        let value = std::env::var(name).ok()?;
        Some(value.parse::<u64>().expect("a number"))
    };
    if let Some(seed) = number("STRAKE_SEED") {
        return vec![seed];
    }
    let all = 0..number("STRAKE_SEEDS").unwrap_or(usual);
    let others = regressions.iter().copied();
    let others = others.filter(|seed| !all.contains(seed));
    others.chain(all.clone()).collect()
}

#[test]
fn every_seed_is_run_and_the_failing_ones_are_named() {
    let odd = |seed: u64| assert!(seed.is_multiple_of(2), "it is odd");
    let told = catch_unwind(|| run_all(&[7, 0, 1, 2, 3], odd)).expect_err("odd seeds fail");
    let text = told.downcast_ref::<String>().expect("a text");
    for seed in ["1", "3", "7"] {
        assert!(text.contains(seed), "{text}");
    }
    assert!(text.starts_with("of 5 seeds"), "{text}");
}

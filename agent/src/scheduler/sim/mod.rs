//! The whole scheduler in a seeded simulation: real agents, engines and planner, on tokio's paused
//! clock, over the store in memory with faults in between, and a systemd that is a map.
//!
//! Checked at every step: a single unit never runs on two machines with live leases; whatever a
//! machine holds, its constraints hold; nothing stops while the store is silent. At the end, healed:
//! everything wanted runs, nothing else does.

mod host;
mod world;

use world::World;

/// `STRAKE_SEED` runs one seed alone and says what happens, `STRAKE_SEEDS` that many of them.
fn seeds() -> Vec<u64> {
    let number = |name| {
        let value = std::env::var(name).ok()?;
        Some(value.parse::<u64>().expect("a number"))
    };
    match number("STRAKE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("STRAKE_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

const SEEDS: u64 = 40;

fn run(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(PAUSED)
        .build()
        .expect("runtime");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, World::new(seed).live());
}

const PAUSED: bool = true;

/// Seeds that once failed.
const REGRESSIONS: [u64; 3] = [19, 89, 333];

#[test]
fn the_invariants_hold_through_every_fault() {
    for seed in REGRESSIONS.into_iter().chain(seeds()) {
        run(seed);
    }
}

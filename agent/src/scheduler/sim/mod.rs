//! The whole scheduler in a seeded simulation: real agents, engines and planner, on tokio's paused
//! clock, over the store in memory with faults in between, and a systemd that is a map.
//!
//! Checked at every step: a single unit never runs on two machines with live leases; whatever a
//! machine holds, its constraints hold; nothing stops while the store is silent. At the end, healed:
//! everything wanted runs, nothing else does.

mod beyond;
mod facts;
mod host;
mod losses;
mod node;
mod scenarios;
mod town;
mod world;

use world::World;

use crate::seeds;

/// In every run of the tests: as many as take a minute on two processors. `cargo lab test --full`
/// sets `STRAKE_SEEDS` to 2,000.
const SEEDS: u64 = 300;

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
const REGRESSIONS: [u64; 8] = [19, 89, 333, 616, 835, 1469, 1931, 1963];

#[test]
fn the_invariants_hold_through_every_fault() {
    seeds::each(SEEDS, &REGRESSIONS, run);
}

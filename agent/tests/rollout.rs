//! A cluster in memory that rolls to a release on a clock that jumps: with the lock, the queue and
//! the failure budget of real machines. `cargo lab bench lock` does the same with ten thousand.

#[path = "../examples/lock_load/common.rs"]
mod common;
#[path = "../examples/lock_load/rollout.rs"]
mod rollout;

use rollout::{Rollout, rollout};
use serde_json::Value;
use tokio::task::LocalSet;

const MACHINES: usize = 1000;
const PERCENT: u8 = 1;
const AT_ONCE: u64 = 10;
const AWAY_SECONDS: u64 = 300;
const PAUSED: bool = true;

fn run(bad: bool) -> Value {
    let wanted = Rollout {
        count: MACHINES,
        percent: PERCENT,
        away: AWAY_SECONDS,
        bad,
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(PAUSED).build();
    let told = LocalSet::new().block_on(&runtime.expect("a runtime"), rollout(wanted));
    told.expect("a rollout")
}

#[test]
fn a_good_release_reaches_all_machines_in_little_more_than_the_ideal_time() {
    const BAD: bool = false;
    let told = run(BAD);
    let figure = |name: &str| told[name].as_f64().expect("a number");
    assert_eq!(
        figure("ideal"),
        (MACHINES as u64 / AT_ONCE * AWAY_SECONDS) as f64
    );
    assert!(figure("seconds") <= 1.05 * figure("ideal"), "{told}");
    assert_eq!(told["most_at_once"], AT_ONCE, "{told}");
    assert_eq!(told["touched"], MACHINES, "{told}");
}

#[test]
fn a_release_that_fails_everywhere_touches_no_more_machines_than_the_budget() {
    const BAD: bool = true;
    let told = run(BAD);
    let figure = |name: &str| told[name].as_u64().expect("a number");
    assert!(figure("touched") >= 1, "{told}");
    assert!(figure("touched") <= figure("budget"), "{told}");
}

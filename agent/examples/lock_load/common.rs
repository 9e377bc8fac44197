//! The machines that want the lock.

use std::time::Duration;

use strake_agent::lock::{Claim, Claimant};
use strake_updates::time::{Span, Timestamp};

pub(crate) fn machine(index: usize, release: &str) -> (Claimant, Claim) {
    let who = Claimant {
        id: format!("{index:032x}"),
        token: format!("token of {index}"),
        boots: vec!["b00t".to_string()],
    };
    let claim = Claim {
        token: who.token.clone(),
        boot: "b00t".to_string(),
        release: "1.0.0".to_string(),
        reason: format!("update to {release}"),
        since: Timestamp::from_unix(1_800_000_000),
        deadline: Span(600),
        registered: true,
        zone: String::new(),
    };
    (who, claim)
}

pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

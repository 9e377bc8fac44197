//! How often what is done, and when the next time is.

use std::time::Duration;

use tokio::time::Instant;

use crate::overlay::client::TTL;

/// How often what is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    pub ttl: Duration,
    /// Between two comparisons of the kernel with the leases.
    pub compare: Duration,
    /// Between two tries of what has failed: at first, and at most.
    pub again: (Duration, Duration),
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            ttl: TTL,
            compare: Duration::from_secs(10),
            again: (Duration::from_secs(1), Duration::from_secs(15)),
        }
    }
}

impl Pace {
    pub(super) fn renew(&self) -> Duration {
        (self.ttl / 3).min(Duration::from_secs(60 * 60))
    }

    pub(super) fn renew_again(&self) -> Duration {
        (self.ttl / 10).min(Duration::from_secs(60))
    }

    pub(super) fn retry(&self, tries: u32) -> Duration {
        let (first, most) = self.again;
        first.saturating_mul(1 << tries.min(16)).min(most)
    }
}

/// When something is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due(pub(super) Instant);

impl Due {
    pub(super) fn after(wait: Duration) -> Due {
        Due(Instant::now() + wait)
    }
}

//! Deadlines on the monotonic clock, and the pauses between attempts that no event announces.

use std::time::{Duration, Instant};

use rustix::event::Timespec;

#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    pub fn seconds(limit: u64) -> Self {
        Self::after(Duration::from_secs(limit))
    }

    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub fn is_over(self) -> bool {
        self.remaining().is_zero()
    }
}

/// Doubles from `first` to `longest`. The caller spends the pause waiting for events.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first.min(longest),
            longest,
        }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        Some(pause)
    }
}

/// The form poll(2) takes.
pub fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_doubles_up_to_its_longest_pause() {
        let backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(1));
        let pauses: Vec<u128> = backoff.take(4).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 1000]);
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_nothing() {
        let deadline = Deadline::after(Duration::ZERO);
        assert!(deadline.is_over());
        assert_eq!(deadline.remaining(), Duration::ZERO);
        assert!(!Deadline::seconds(60).is_over());
    }
}

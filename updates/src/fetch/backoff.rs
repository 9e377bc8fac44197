//! How long to wait before trying again. Pure: randomness and the count of failures come in.

use std::time::Duration;

/// Doubles with each failure up to a cap; the wait is drawn from the upper half, so that machines
/// that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
}

/// Why two durations make no backoff.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the first wait is longer than a millisecond and no longer than the cap of a day")]
pub struct InvalidBackoff;

impl Backoff {
    pub fn new(first: Duration, cap: Duration) -> Result<Self, InvalidBackoff> {
        let day = Duration::from_secs(86_400);
        if first < Duration::from_millis(1) || first > cap || cap > day {
            return Err(InvalidBackoff);
        }
        Ok(Self { first, cap })
    }

    /// The wait after so many failures in a row, at least one; `random` is any number.
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << failures.saturating_sub(1).min(20));
        let base = doubled.min(self.cap);
        let half = base / 2;
        let spread = half.as_nanos() as u64;
        half + Duration::from_nanos(random % (spread + 1))
    }

    /// What a server asked for, within the cap.
    pub fn bounded(&self, asked: Duration) -> Duration {
        asked.min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nonsense_is_refused() {
        let ms = Duration::from_millis;
        assert_eq!(Backoff::new(ms(0), ms(5)), Err(InvalidBackoff));
        assert_eq!(Backoff::new(ms(6), ms(5)), Err(InvalidBackoff));
        assert_eq!(Backoff::new(ms(1), ms(86_400_001)), Err(InvalidBackoff));
    }

    proptest! {
        #[test]
        fn waits_grow_to_the_cap_and_stay_in_their_half(failures in 1u32..100, random: u64) {
            let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300)).unwrap();
            let base = Duration::from_secs(1 << (failures - 1).min(9)).min(Duration::from_secs(300));
            let wait = backoff.wait(failures, random);
            prop_assert!(base / 2 <= wait && wait <= base, "{:?} of {:?}", wait, base);
        }
    }
}

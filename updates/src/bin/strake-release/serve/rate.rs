//! How often somebody may do something: a bucket for each key, which fills again over time.
//!
//! Pure: the time comes in. Keys come from outside, so their number is bounded too.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Buckets kept at most.
const MOST: usize = 200_000;

#[derive(Debug)]
pub(super) struct Buckets<K> {
    /// What a full bucket holds.
    size: u32,
    /// Until an empty bucket is full.
    refill: Duration,
    /// What was taken and has not come back, as of a time.
    taken: HashMap<K, (f64, Duration)>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// `size` at once, and in the long run so many in each `refill`.
    pub(super) fn new(size: u32, refill: Duration) -> Self {
        Self {
            size,
            refill,
            taken: HashMap::new(),
        }
    }

    /// Takes one, or says how long to wait until there is one again.
    pub(super) fn take(&mut self, key: K, now: Duration) -> Result<(), Duration> {
        if self.taken.len() >= MOST && !self.taken.contains_key(&key) {
            let (size, refill) = (self.size, self.refill);
            self.taken
                .retain(|_, bucket| left(*bucket, size, refill, now) > 0.0);
            if self.taken.len() >= MOST {
                return Err(self.refill);
            }
        }
        let (size, refill) = (self.size, self.refill);
        let bucket = self.taken.entry(key).or_insert((0.0, now));
        let taken = left(*bucket, size, refill, now);
        if taken + 1.0 > f64::from(size) {
            let short = (taken + 1.0 - f64::from(size)) / f64::from(size);
            return Err(refill.mul_f64(short.min(1.0)));
        }
        *bucket = (taken + 1.0, now);
        Ok(())
    }
}

fn left((taken, since): (f64, Duration), size: u32, refill: Duration, now: Duration) -> f64 {
    let back = now.saturating_sub(since).as_secs_f64() / refill.as_secs_f64() * f64::from(size);
    (taken - back).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_and_is_nobody_elses() {
        let seconds = Duration::from_secs;
        let mut buckets = Buckets::new(3, seconds(60));
        for _ in 0..3 {
            assert_eq!(buckets.take("a", seconds(0)), Ok(()));
        }
        let wait = buckets.take("a", seconds(0)).unwrap_err();
        assert_eq!(wait.as_secs(), 20);
        assert_eq!(buckets.take("b", seconds(0)), Ok(()));
        assert!(buckets.take("a", seconds(19)).is_err());
        assert_eq!(buckets.take("a", seconds(20)), Ok(()));
        assert!(buckets.take("a", seconds(20)).is_err());
    }

    #[test]
    fn made_up_keys_fill_no_memory_and_idle_ones_make_room() {
        let mut buckets = Buckets::new(1, Duration::from_secs(10));
        for key in 0..MOST + 50 {
            let _ = buckets.take(key, Duration::ZERO);
        }
        assert_eq!(buckets.taken.len(), MOST);
        assert!(buckets.take(usize::MAX, Duration::from_secs(1)).is_err());
        assert!(buckets.take(usize::MAX, Duration::from_secs(20)).is_ok());
        assert_eq!(buckets.taken.len(), 1);
    }
}

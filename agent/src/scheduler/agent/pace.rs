//! When an agent asks the store for something. Spread, so that thousands of machines do not ask at
//! the same moment, also not after a restart of the store that ended all their sessions at once.

use std::time::Duration;

/// A renewal comes within this last part of its time.
const SPREAD: f64 = 0.2;
/// An attempt waits twice as long as the one before, so many times.
const DOUBLINGS: u32 = 2;

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Unless the leader asks for longer ones.
    pub lease_ttl: Duration,
    /// Between renewals of such a lease, at most.
    pub beat: Duration,
    /// How long after an error it tries again.
    pub again: Duration,
    /// What is observed is written at most this often, and [`super::PER_UNIT`] later for each unit.
    pub publish: Duration,
    /// How long the store may be silent after a start before the cache is used.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            lease_ttl: Duration::from_secs(60),
            beat: Duration::from_secs(20),
            again: Duration::from_secs(1),
            publish: Duration::from_millis(50),
            patience: Duration::from_secs(15),
        }
    }
}

impl Pace {
    /// The lease to take when the leader asks for one of so many seconds.
    pub(super) fn lease(&self, asked: Option<u64>) -> Duration {
        self.lease_ttl.max(Duration::from_secs(asked.unwrap_or(0)))
    }

    /// From one renewal to the next; `share` is from 0 to 1.
    pub(super) fn next_beat(&self, lease: Duration, share: f64) -> Duration {
        self.whole_beat(lease).mul_f64(1.0 - SPREAD * share)
    }

    /// From the beginning of a session to its first renewal: hardly later than the first of the
    /// second ones, or both would add up.
    pub(super) fn first_beat(&self, lease: Duration, share: f64) -> Duration {
        self.whole_beat(lease).mul_f64((1.0 - SPREAD) * share)
    }

    fn whole_beat(&self, lease: Duration) -> Duration {
        self.beat
            .mul_f64(lease.as_secs_f64() / self.lease_ttl.as_secs_f64())
    }

    /// Before the next attempt, after so many that failed in a row.
    pub(super) fn wait(&self, failures: u32, share: f64) -> Duration {
        let doubled = self.again * (1 << failures.saturating_sub(1).min(DOUBLINGS));
        doubled.mul_f64(0.5 + share)
    }
}

/// From 0 to 1, spread evenly over machines and over the numbers of one machine; always the same
/// for the same two. FNV-1a.
pub(in crate::scheduler) fn share(machine: &str, number: u64) -> f64 {
    let bytes = machine.bytes().chain(number.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The upper bits of the last bytes' hash alone would move little.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as f64 / f64::from(1_u32 << 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the machines renew in each second, all of them begun in the same moment.
    fn renewals(machines: usize, seconds: usize) -> Vec<usize> {
        let pace = Pace::default();
        let mut each = vec![0; seconds];
        for machine in 0..machines {
            let id = format!("{machine:032x}");
            let mut at = pace.first_beat(pace.lease_ttl, share(&id, 0)).as_secs_f64();
            for beat in 1.. {
                match each.get_mut(at as usize) {
                    Some(count) => *count += 1,
                    None => break,
                }
                at += pace
                    .next_beat(pace.lease_ttl, share(&id, beat))
                    .as_secs_f64();
            }
        }
        each
    }

    #[test]
    fn ten_thousand_machines_that_begin_together_do_not_beat_together() {
        let each = renewals(10_000, 600);
        // 10,000 in 18 s on average, and in 16 s at first.
        let most = each.iter().max();
        assert!(most.is_some_and(|most| *most < 750), "{most:?}: {each:?}");
        let settled: usize = each[300..].iter().sum();
        assert!((500..620).contains(&(settled / 300)), "{}", settled / 300);
    }

    #[test]
    fn a_lease_is_renewed_at_least_twice_before_it_is_over() {
        let pace = Pace::default();
        for (asked, lease) in [(None, 60), (Some(10), 60), (Some(61), 61), (Some(400), 400)] {
            let ttl = pace.lease(asked);
            assert_eq!(ttl, Duration::from_secs(lease));
            for share in [0.0, 0.5, 1.0] {
                let beat = pace.next_beat(ttl, share);
                assert!(beat * 3 <= ttl && beat * 4 > ttl, "{ttl:?}: {beat:?}");
                assert!(pace.first_beat(ttl, share) <= beat.max(ttl / 3));
            }
        }
    }

    #[test]
    fn attempts_at_a_silent_store_are_spread_and_never_far_apart() {
        let pace = Pace::default();
        let seconds = |failures, share| pace.wait(failures, share).as_secs_f64();
        assert_eq!((seconds(1, 0.0), seconds(1, 1.0)), (0.5, 1.5));
        assert_eq!((seconds(2, 0.0), seconds(2, 1.0)), (1.0, 3.0));
        assert_eq!((seconds(3, 0.0), seconds(99, 1.0)), (2.0, 6.0));
    }
}

//! When to look at the server next. Pure: randomness comes in.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// Middle and half width of the first look's time, so that machines that were switched on together
/// do not come together.
const FIRST: Duration = Duration::from_secs(7 * 60);
const SPREAD: Duration = Duration::from_secs(5 * 60);
/// No number of failures and no server puts the next look off for longer.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    pub interval: Duration,
    /// Looks in a row that brought no answer.
    pub failures: u32,
}

impl Schedule {
    pub fn new(interval: Duration) -> Schedule {
        Schedule {
            interval: interval.clamp(MINUTE, DAY),
            failures: 0,
        }
    }

    /// 7 min +- 5, or sooner when looks are to be more frequent than that.
    pub fn first(&self, random: u64) -> Duration {
        if self.interval < FIRST {
            return self.interval;
        }
        around(FIRST, SPREAD, random)
    }

    /// The interval, moved by up to a tenth; twice as long after each failure; never before the
    /// server's own wish.
    pub fn next(&self, asked: Option<Duration>, random: u64) -> Duration {
        let longest = LONGEST.max(self.interval);
        let doubled = self.interval.saturating_mul(1 << self.failures.min(12));
        let base = doubled.min(longest);
        let wait = around(base, base / 10, random);
        asked.map_or(wait, |asked| wait.max(asked.min(DAY)))
    }
}

fn around(middle: Duration, spread: Duration, random: u64) -> Duration {
    let width = (spread * 2).as_millis() as u64;
    middle - spread + Duration::from_millis(random % (width + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [u64; 4] = [0, 1, 299_999, u64::MAX];

    fn minutes(minutes: u64) -> Duration {
        MINUTE * minutes as u32
    }

    #[test]
    fn the_first_look_is_spread_and_later_ones_are_jittered() {
        let schedule = Schedule::new(minutes(45));
        for random in EDGES {
            let first = schedule.first(random);
            assert!((minutes(2)..=minutes(12)).contains(&first), "{first:?}");
            let next = schedule.next(None, random).as_secs();
            assert!((40 * 60..=50 * 60).contains(&next), "{next}");
        }
        assert_ne!(schedule.first(0), schedule.first(299_999));
        assert_eq!(Schedule::new(minutes(1)).first(7), minutes(1));
    }

    #[test]
    fn failures_double_the_wait_up_to_four_hours() {
        let mut schedule = Schedule::new(minutes(60));
        schedule.failures = 1;
        assert!((108..=132).contains(&(schedule.next(None, 5).as_secs() / 60)));
        schedule.failures = 4_000_000_000;
        for random in EDGES {
            assert!(schedule.next(None, random) <= LONGEST + LONGEST / 10);
        }
        let mut rare = Schedule::new(DAY);
        rare.failures = 3;
        assert!(rare.next(None, u64::MAX) <= DAY + DAY / 10);
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it_within_a_day() {
        let schedule = Schedule::new(minutes(45));
        assert_eq!(schedule.next(Some(minutes(120)), 0), minutes(120));
        assert!(schedule.next(Some(minutes(1)), 0) >= minutes(40));
        assert_eq!(schedule.next(Some(DAY * 9), 0), DAY);
    }
}

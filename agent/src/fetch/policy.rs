//! What follows from the outcome of one try, and when the next one comes. Pure: elapsed time and
//! randomness are arguments.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For a connection, for an answer to begin, and for each further piece of it.
    pub stall: Duration,
    /// For one whole try.
    pub request: Duration,
    /// For all tries of all requests of one client.
    pub overall: Duration,
    pub tries: u32,
    /// The wait before the second try; each further one is twice as long, up to `cap`.
    pub first: Duration,
    pub cap: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            stall: Duration::from_secs(10),
            request: Duration::from_secs(10),
            overall: Duration::from_secs(300),
            tries: 15,
            first: Duration::from_millis(50),
            cap: Duration::from_secs(5),
        }
    }
}

/// How one try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer of this status, its body complete.
    Answered(u16),
    /// No connection, no answer in time, or a body that broke off.
    Fault,
    /// In a way that the next try would end in too: too long, another digest, a bad redirect.
    Hopeless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The body is what was asked for.
    Take,
    /// The server says no, and will not change its mind.
    Refused,
    Retry(Duration),
    GiveUp,
}

impl Policy {
    /// After `tries` tries, the last with this outcome; `random` is any number.
    pub fn verdict(&self, outcome: Outcome, tries: u32, elapsed: Duration, random: u64) -> Verdict {
        match outcome {
            Outcome::Answered(200..=299) => Verdict::Take,
            // The server was too slow, or asks us to be slower.
            Outcome::Answered(408 | 429) => self.again(tries, elapsed, random),
            Outcome::Answered(400..=499) => Verdict::Refused,
            Outcome::Answered(500..=599) | Outcome::Fault => self.again(tries, elapsed, random),
            Outcome::Answered(_) | Outcome::Hopeless => Verdict::GiveUp,
        }
    }

    fn again(&self, tries: u32, elapsed: Duration, random: u64) -> Verdict {
        let wait = self.wait(tries, random);
        if tries >= self.tries || elapsed.saturating_add(wait) >= self.overall {
            Verdict::GiveUp
        } else {
            Verdict::Retry(wait)
        }
    }

    /// Drawn from the upper half, so that machines that failed together do not come back together.
    fn wait(&self, tries: u32, random: u64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << tries.saturating_sub(1).min(20));
        let full = doubled.min(self.cap);
        let half = full / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX - 1);
        half + Duration::from_nanos(random % (spread + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Duration = Duration::ZERO;

    #[test]
    fn the_status_decides_what_follows() {
        let policy = Policy::default();
        let soon = Verdict::Retry(Duration::from_millis(25));
        let cases = [
            (Outcome::Answered(200), Verdict::Take),
            (Outcome::Answered(204), Verdict::Take),
            (Outcome::Answered(304), Verdict::GiveUp),
            (Outcome::Answered(401), Verdict::Refused),
            (Outcome::Answered(404), Verdict::Refused),
            (Outcome::Answered(408), soon),
            (Outcome::Answered(429), soon),
            (Outcome::Answered(500), soon),
            (Outcome::Answered(503), soon),
            (Outcome::Answered(600), Verdict::GiveUp),
            (Outcome::Fault, soon),
            (Outcome::Hopeless, Verdict::GiveUp),
        ];
        for (outcome, expected) in cases {
            assert_eq!(policy.verdict(outcome, 1, ZERO, 0), expected, "{outcome:?}");
        }
    }

    #[test]
    fn waits_double_up_to_the_cap_and_lie_in_their_upper_half() {
        let policy = Policy::default();
        let cases = [
            (1, 50),
            (2, 100),
            (3, 200),
            (7, 3200),
            (8, 5000),
            (14, 5000),
        ];
        for (tries, full) in cases {
            for random in [0, 1, 12_345_678_901, u64::MAX] {
                let Verdict::Retry(wait) = policy.verdict(Outcome::Fault, tries, ZERO, random)
                else {
                    panic!("try {tries} is not the last");
                };
                let full = Duration::from_millis(full);
                assert!(full / 2 <= wait && wait <= full, "try {tries}: {wait:?}");
            }
        }
    }

    #[test]
    fn tries_and_time_come_to_an_end() {
        let policy = Policy::default();
        let verdict =
            |tries, seconds| policy.verdict(Outcome::Fault, tries, Duration::from_secs(seconds), 0);
        assert!(matches!(verdict(14, 0), Verdict::Retry(_)));
        assert_eq!(verdict(15, 0), Verdict::GiveUp);
        assert!(matches!(verdict(14, 297), Verdict::Retry(_)));
        assert_eq!(
            verdict(14, 298),
            Verdict::GiveUp,
            "the wait would end too late"
        );
        let longest = Policy {
            first: Duration::MAX,
            cap: Duration::MAX,
            ..policy
        };
        let verdict = longest.verdict(Outcome::Fault, 14, Duration::MAX, u64::MAX);
        assert_eq!(verdict, Verdict::GiveUp);
    }
}

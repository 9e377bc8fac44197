//! The value of the reboot lock, in locksmith's JSON. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How many machines may be away at once, and which are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semaphore {
    max: i64,
    holders: BTreeSet<String>,
}

/// The stored form. locksmith writes `null` for no holders.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    semaphore: i64,
    max: i64,
    holders: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    #[error("it is not locksmith's JSON: {0}")]
    Json(String),
    #[error("holder {0:?} is in it twice")]
    Twice(String),
    #[error("a holder in it has no name")]
    Nameless,
    #[error("it has max {max} and {holders} holders, so {expected} would be free and not {free}")]
    Sum {
        max: i64,
        holders: usize,
        expected: i64,
        free: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Now,
    /// The holder had it already.
    Before,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {max} places are taken")]
pub struct Full {
    pub max: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("max is {0}; it is at least 1")]
pub struct TooSmall(pub i64);

impl Default for Semaphore {
    /// What there is before anybody wrote one: one machine at a time.
    fn default() -> Semaphore {
        Semaphore {
            max: 1,
            holders: BTreeSet::new(),
        }
    }
}

impl Semaphore {
    pub fn parse(bytes: &[u8]) -> Result<Semaphore, Corrupt> {
        let stored: Stored =
            serde_json::from_slice(bytes).map_err(|error| Corrupt::Json(error.to_string()))?;
        let mut holders = BTreeSet::new();
        for holder in stored.holders.unwrap_or_default() {
            if holder.is_empty() {
                return Err(Corrupt::Nameless);
            }
            if let Some(twice) = holders.replace(holder) {
                return Err(Corrupt::Twice(twice));
            }
        }
        let semaphore = Semaphore {
            max: stored.max,
            holders,
        };
        if semaphore.free() != stored.semaphore {
            return Err(Corrupt::Sum {
                max: stored.max,
                holders: semaphore.holders.len(),
                expected: semaphore.free(),
                free: stored.semaphore,
            });
        }
        Ok(semaphore)
    }

    pub fn to_json(&self) -> Vec<u8> {
        let holders: Vec<String> = self.holders.iter().cloned().collect();
        let stored = Stored {
            semaphore: self.free(),
            max: self.max,
            holders: (!holders.is_empty()).then_some(holders),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    pub fn max(&self) -> i64 {
        self.max
    }

    /// Below zero when max was made smaller while more machines held it.
    pub fn free(&self) -> i64 {
        let held = i64::try_from(self.holders.len()).unwrap_or(i64::MAX);
        self.max.saturating_sub(held)
    }

    pub fn holders(&self) -> impl Iterator<Item = &str> {
        self.holders.iter().map(String::as_str)
    }

    pub fn is_held_by(&self, id: &str) -> bool {
        self.holders.contains(id)
    }

    pub fn lock(&mut self, id: &str) -> Result<Taken, Full> {
        if self.is_held_by(id) {
            return Ok(Taken::Before);
        }
        if self.free() < 1 {
            return Err(Full { max: self.max });
        }
        self.holders.insert(id.to_string());
        Ok(Taken::Now)
    }

    /// Whether it was held.
    pub fn unlock(&mut self, id: &str) -> bool {
        self.holders.remove(id)
    }

    /// Who holds it keeps it, also when more do than the new max allows.
    pub fn set_max(&mut self, max: i64) -> Result<(), TooSmall> {
        if max < 1 {
            return Err(TooSmall(max));
        }
        self.max = max;
        Ok(())
    }
}

/// `set-max`: a number, or a share of the live machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Max {
    Machines(i64),
    Percent(u8),
}

impl Max {
    /// Never less than one machine, or no update would ever end.
    pub fn of(self, live: usize) -> i64 {
        match self {
            Max::Machines(machines) => machines.max(1),
            Max::Percent(percent) => {
                let live = i64::try_from(live).unwrap_or(i64::MAX);
                (live.saturating_mul(i64::from(percent)) / 100).max(1)
            }
        }
    }
}

impl std::str::FromStr for Max {
    type Err = String;

    fn from_str(text: &str) -> Result<Max, String> {
        let wrong = || format!("{text:?} is neither a number of machines from 1 nor 1% to 100%");
        let parsed = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(Max::Percent),
            None => text.parse().ok().map(Max::Machines),
        };
        parsed
            .filter(|max| match max {
                Max::Machines(machines) => *machines >= 1,
                Max::Percent(percent) => (1..=100).contains(percent),
            })
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Max {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Max::Machines(machines) => write!(f, "{machines}"),
            Max::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_locksmith_writes_is_read_and_written_the_same() {
        let texts = [
            r#"{"semaphore":1,"max":1,"holders":null}"#,
            r#"{"semaphore":0,"max":1,"holders":["a"]}"#,
            r#"{"semaphore":-1,"max":1,"holders":["a","b"]}"#,
            r#"{"semaphore":0,"max":0,"holders":null}"#,
        ];
        for text in texts {
            let semaphore = Semaphore::parse(text.as_bytes()).expect(text);
            assert_eq!(String::from_utf8_lossy(&semaphore.to_json()), text);
        }
    }

    #[test]
    fn a_corrupt_value_is_refused_with_what_is_wrong() {
        let check = |text: &str, says: &str| {
            let error = Semaphore::parse(text.as_bytes()).expect_err(text);
            assert!(error.to_string().contains(says), "{text}: {error}");
        };
        check("", "not locksmith's JSON");
        check("null", "not locksmith's JSON");
        check(r#"{"semaphore":"1"}"#, "not locksmith's JSON");
        check(
            r#"{"semaphore":1,"max":1,"holders":["a"]}"#,
            "0 would be free and not 1",
        );
        check(
            r#"{"semaphore":1,"max":3,"holders":["a","a"]}"#,
            "\"a\" is in it twice",
        );
        check(r#"{"semaphore":1,"max":2,"holders":[""]}"#, "no name");
    }

    #[test]
    fn the_holder_may_lock_again_and_others_only_while_there_is_room() {
        let mut semaphore = Semaphore::default();
        assert_eq!(semaphore.lock("a"), Ok(Taken::Now));
        assert_eq!(semaphore.lock("a"), Ok(Taken::Before));
        assert_eq!(semaphore.lock("b"), Err(Full { max: 1 }));
        semaphore.set_max(2).expect("max");
        assert_eq!(semaphore.lock("b"), Ok(Taken::Now));
        semaphore.set_max(1).expect("max");
        assert_eq!(semaphore.free(), -1);
        assert!(semaphore.unlock("a"));
        assert!(!semaphore.unlock("a"));
        assert_eq!(semaphore.lock("c"), Err(Full { max: 1 }));
        assert_eq!(semaphore.set_max(0), Err(TooSmall(0)));
        assert_eq!(semaphore.set_max(-3), Err(TooSmall(-3)));
        assert_eq!(semaphore.max(), 1);
    }

    #[test]
    fn a_share_of_the_machines_is_never_less_than_one() {
        let of = |text: &str, live| text.parse::<Max>().expect(text).of(live);
        assert_eq!(of("10%", 100), 10);
        assert_eq!(of("10%", 19), 1);
        assert_eq!(of("10%", 3), 1);
        assert_eq!(of("1%", 0), 1);
        assert_eq!(of("100%", 7), 7);
        assert_eq!(of("4", 2), 4);
        for wrong in ["0", "-1", "0%", "101%", "many", "", "%", "1.5"] {
            let error = wrong.parse::<Max>().expect_err(wrong);
            assert!(error.contains("1% to 100%"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn never_more_machines_than_max_take_it(
            steps in prop::collection::vec((0..3_u8, 0..6_u8, 1..4_i64), 0..60)
        ) {
            let mut semaphore = Semaphore::default();
            for (step, id, max) in steps {
                let before = semaphore.clone();
                let id = id.to_string();
                match step {
                    0 => {
                        let taken = semaphore.lock(&id);
                        if taken == Ok(Taken::Now) {
                            prop_assert!(before.free() >= 1);
                        }
                        prop_assert!(semaphore.free() >= 0 || semaphore == before);
                    }
                    1 => prop_assert_eq!(semaphore.unlock(&id), before.is_held_by(&id)),
                    _ => prop_assert_eq!(semaphore.set_max(max), Ok(())),
                }
                let again = Semaphore::parse(&semaphore.to_json());
                prop_assert_eq!(again, Ok(semaphore.clone()));
            }
        }
    }
}

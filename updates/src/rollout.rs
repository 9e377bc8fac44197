//! Waves: which share of the machines a release reaches by when.
//!
//! The waves are signed with the release, so no mirror can widen them. A machine's place is drawn
//! anew for each release: no machine is the canary of every release.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::digest::hex_bytes;
use crate::time::{InvalidSpan, Span, Timestamp};
use crate::version::Version;

/// A machine's identity as in `/etc/machine-id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MachineId([u8; 16]);

/// Why a text is no machine id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a machine id (32 lower-case hexadecimal digits)")]
pub struct InvalidMachineId(String);

/// Where a machine stands in the queue for a release, evenly spread over all `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(pub u32);

/// From `after` on, `percent` of the machines may have the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    pub percent: u8,
    pub after: Span,
}

/// Waves in order, each larger and later than the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Wave>", into = "Vec<Wave>")]
pub struct Waves(Vec<Wave>);

/// When a release reaches whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub start: Timestamp,
    #[serde(default)]
    pub waves: Waves,
    /// After this span everyone may have the release.
    pub deadline: Span,
    /// Since then nobody new gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Timestamp>,
}

/// What the rollout says to one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// Its wave opens then.
    At(Timestamp),
    /// The publisher stopped the rollout.
    Paused {
        since: Timestamp,
    },
}

/// Why a text or a list is no waves.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidWaves {
    #[error("wave {0:?} is not PERCENT@SPAN, for example 5@4h")]
    Form(String),
    #[error("the span of wave {0:?} cannot be read")]
    Span(String, #[source] InvalidSpan),
    #[error("wave {0}: percent is 1 to 100, and each wave is larger and later than the one before")]
    Order(Wave),
}

impl FromStr for MachineId {
    type Err = InvalidMachineId;

    fn from_str(text: &str) -> Result<Self, InvalidMachineId> {
        hex_bytes(text)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| InvalidMachineId(text.to_owned()))
    }
}

impl MachineId {
    pub(crate) fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

impl Place {
    /// The machine id is the key: who knows the place does not learn the identity.
    pub fn draw(machine: MachineId, release: Version) -> Self {
        let mac = Hmac::<Sha256>::new_from_slice(&machine.0);
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(b"strake rollout ");
        mac.update(release.to_string().as_bytes());
        let tag = mac.finalize().into_bytes();
        Self(u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]]))
    }

    fn is_within(self, percent: u8) -> bool {
        u64::from(self.0) * 100 < u64::from(percent) << 32
    }

    /// How much of the queue stands before this place, in percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) * 100.0 / (f64::from(u32::MAX) + 1.0)
    }
}

impl Rollout {
    /// To everyone at once.
    pub fn immediate(start: Timestamp) -> Self {
        Self {
            start,
            waves: Waves::default(),
            deadline: Span(0),
            paused: None,
        }
    }

    /// When a place's wave opens, pauses aside.
    pub fn due(&self, place: Place) -> Timestamp {
        let wave = self
            .waves
            .0
            .iter()
            .find(|wave| place.is_within(wave.percent));
        let after = wave.map_or(self.deadline, |wave| wave.after.min(self.deadline));
        self.start.after(after)
    }

    pub fn turn(&self, place: Place, now: Timestamp) -> Turn {
        match (self.paused, self.due(place)) {
            (Some(since), _) => Turn::Paused { since },
            (None, due) if due <= now => Turn::Now,
            (None, due) => Turn::At(due),
        }
    }

    /// The share of machines that may have the release at a time, pauses aside.
    pub fn percent_at(&self, now: Timestamp) -> u8 {
        if now >= self.start.after(self.deadline) {
            return 100;
        }
        let open = self
            .waves
            .0
            .iter()
            .rev()
            .find(|wave| self.start.after(wave.after) <= now);
        open.map_or(0, |wave| wave.percent)
    }

    /// Goes on where it was paused: the time in between does not count.
    pub fn resume(&mut self, now: Timestamp) {
        if let Some(since) = self.paused.take() {
            self.start = self.start.after(now.since(since));
        }
    }
}

impl TryFrom<Vec<Wave>> for Waves {
    type Error = InvalidWaves;

    fn try_from(waves: Vec<Wave>) -> Result<Self, InvalidWaves> {
        let mut before = None;
        for wave in &waves {
            let grows = before.is_none_or(|before: &Wave| {
                before.percent < wave.percent && before.after < wave.after
            });
            if !grows || !(1..=100).contains(&wave.percent) {
                return Err(InvalidWaves::Order(*wave));
            }
            before = Some(wave);
        }
        Ok(Self(waves))
    }
}

impl From<Waves> for Vec<Wave> {
    fn from(waves: Waves) -> Self {
        waves.0
    }
}

impl FromStr for Wave {
    type Err = InvalidWaves;

    fn from_str(text: &str) -> Result<Self, InvalidWaves> {
        let form = || InvalidWaves::Form(text.to_owned());
        let (percent, after) = text.split_once('@').ok_or_else(form)?;
        Ok(Self {
            percent: percent.parse().map_err(|_| form())?,
            after: after
                .parse()
                .map_err(|error| InvalidWaves::Span(text.to_owned(), error))?,
        })
    }
}

impl FromStr for Waves {
    type Err = InvalidWaves;

    fn from_str(text: &str) -> Result<Self, InvalidWaves> {
        let waves: Result<Vec<Wave>, _> = text.split(',').map(|wave| wave.trim().parse()).collect();
        waves?.try_into()
    }
}

impl fmt::Display for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.percent, self.after)
    }
}

impl fmt::Display for Waves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waves: Vec<_> = self.0.iter().map(Wave::to_string).collect();
        f.write_str(&waves.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAVES: &str = "1@1h,5@4h,15@1d,40@2d,60@4d,90@5d";

    fn rollout(start: u64) -> Rollout {
        Rollout {
            start: Timestamp::from_unix(start),
            waves: WAVES.parse().unwrap(),
            deadline: "6d".parse().unwrap(),
            paused: None,
        }
    }

    #[test]
    fn a_paused_rollout_loses_no_wave_when_it_goes_on() {
        let mut rollout = rollout(0);
        let hour = |hours: u64| Timestamp::from_unix(hours * 3600);
        let first = Place(0);
        rollout.paused = Some(hour(0));
        assert_eq!(
            rollout.turn(first, hour(99)),
            Turn::Paused { since: hour(0) }
        );
        rollout.resume(hour(10));
        assert_eq!(rollout.turn(first, hour(10)), Turn::At(hour(11)));
        assert_eq!(rollout.turn(first, hour(11)), Turn::Now);
    }

    #[test]
    fn waves_that_shrink_are_refused() {
        for text in [
            "",
            "5",
            "5@",
            "5@1",
            "0@1h",
            "101@1h",
            "5@1h,5@2h",
            "5@2h,6@1h",
            "6@1h,5@2h",
        ] {
            assert!(text.parse::<Waves>().is_err(), "{text}");
        }
        assert_eq!(WAVES.parse::<Waves>().unwrap().to_string(), WAVES);
        assert!(serde_json::from_str::<Waves>(r#"[{"percent":0,"after":1}]"#).is_err());
    }

    #[test]
    fn a_place_is_the_same_on_every_machine_that_computes_it() {
        let machine = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        let places = ["1.0.0", "1.0.1"].map(|v| Place::draw(machine, v.parse().unwrap()).0);
        assert_eq!(places, [1_091_238_829, 163_191_230]);
    }

    /// The largest difference between a wave's share and the machines it reached, in percent.
    fn largest_error(seed: u64, release: &str) -> f64 {
        let release = release.parse().unwrap();
        let place = |index: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&seed.to_le_bytes());
            id[8..].copy_from_slice(&index.to_le_bytes());
            Place::draw(MachineId(id), release)
        };
        let places: Vec<Place> = (0..10_000).map(place).collect();
        let rollout = rollout(0);
        let error = |wave: &Wave| {
            let now = rollout.start.after(wave.after);
            let turns = places
                .iter()
                .filter(|place| rollout.turn(**place, now) == Turn::Now);
            (turns.count() as f64 / 100.0 - f64::from(wave.percent)).abs()
        };
        rollout.waves.0.iter().map(error).fold(0.0, f64::max)
    }

    #[test]
    fn each_wave_reaches_its_share_of_ten_thousand_machines_within_one_percent() {
        for release in ["1.0.0", "1.1.0", "1.2.3", "2.0.0", "10.4.7"] {
            let error = largest_error(0, release);
            assert!(error <= 1.0, "{release}: {error} %");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Chance alone has a standard deviation of up to 0.5 % here; five of them never happen.
        #[test]
        fn no_population_and_no_release_is_favoured(seed: u64, minor: u32) {
            let error = largest_error(seed, &format!("1.{minor}.0"));
            prop_assert!(error <= 2.5, "{} %", error);
        }
    }

    proptest! {
        #[test]
        fn whoever_has_a_turn_keeps_it_and_the_deadline_reaches_all(
            place: u32, start in 0..1u64 << 32, a in 0..1u64 << 20, b in 0..1u64 << 20,
        ) {
            let rollout = rollout(start);
            let turn = |after| rollout.turn(Place(place), Timestamp::from_unix(start + after));
            let (early, late) = (a.min(b), a.max(b));
            prop_assert!(turn(early) != Turn::Now || turn(late) == Turn::Now);
            prop_assert_eq!(turn(6 * 86_400), Turn::Now);
            let percent = |after| rollout.percent_at(Timestamp::from_unix(start + after));
            prop_assert!(percent(early) <= percent(late));
        }
    }
}

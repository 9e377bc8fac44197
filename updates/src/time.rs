//! Points in time as metadata writes them, `2031-05-04T03:02:01Z`, and spans such as `15d`.
//!
//! Whole seconds in UTC. There is no clock here: who needs the present is given it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Seconds since 1970 in UTC, from the year 1970 to 9999.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

/// A length of time in whole seconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Span(pub u64);

/// Why a text is no point in time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a time such as 2031-05-04T03:02:01Z")]
pub struct InvalidTimestamp(String);

/// Why a text is no span.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a span such as 90s, 30m, 4h, 15d or 2w")]
pub struct InvalidSpan(String);

/// 9999-12-31T23:59:59Z.
const LAST: u64 = 253_402_300_799;
const DAY: u64 = 86_400;

impl Timestamp {
    /// Later than the year 9999 counts as its last second.
    pub fn from_unix(seconds: u64) -> Self {
        Self(seconds.min(LAST))
    }

    pub fn unix(self) -> u64 {
        self.0
    }

    pub fn after(self, span: Span) -> Self {
        Self::from_unix(self.0.saturating_add(span.0))
    }

    /// Zero when `earlier` is not earlier.
    pub fn since(self, earlier: Timestamp) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    pub fn days(days: u64) -> Self {
        Self(days * DAY)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        parse(text).ok_or_else(|| InvalidTimestamp(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00";
    let fits = bytes.len() > shape.len()
        && shape.iter().zip(bytes).all(|(shape, byte)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        });
    if !fits || !is_utc_tail(&bytes[shape.len()..]) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let days = || days_before_year(year) + (1..month).map(|m| days_in(year, m)).sum::<u64>();
    valid.then(|| Timestamp((days() + day - 1) * DAY + hour * 3600 + minute * 60 + second))
}

/// A fraction of a second is read over: other writers add one.
fn is_utc_tail(tail: &[u8]) -> bool {
    match tail {
        b"Z" => true,
        [b'.', digits @ .., b'Z'] => {
            (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of `year`.
fn days_before_year(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0 / DAY;
        let mut year = 1970 + days / 366;
        while days_before_year(year + 1) <= days {
            year += 1;
        }
        let mut rest = days - days_before_year(year);
        let mut month = 1;
        while rest >= days_in(year, month) {
            rest -= days_in(year, month);
            month += 1;
        }
        let (hour, minute, second) = (self.0 / 3600 % 24, self.0 / 60 % 60, self.0 % 60);
        let day = rest + 1;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        parse_span(text).ok_or_else(|| InvalidSpan(text.to_owned()))
    }
}

fn parse_span(text: &str) -> Option<Span> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => DAY,
        b'w' => 7 * DAY,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = plain.then(|| digits.parse().ok()).flatten()?;
    number
        .checked_mul(unit)
        .filter(|seconds| *seconds <= LAST)
        .map(Span)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(7 * DAY, 'w'), (DAY, 'd'), (3600, 'h'), (60, 'm')];
        let whole = units
            .iter()
            .find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit));
        match whole {
            Some((unit, letter)) => write!(f, "{}{letter}", self.0 / unit),
            None => write!(f, "{}s", self.0),
        }
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(text: String) -> Result<Self, InvalidTimestamp> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_the_calendar() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-20T21:32:48Z", 1_795_210_368),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", LAST),
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!((time.unix(), time.to_string()), (seconds, text.to_owned()));
        }
        let fraction: Timestamp = "1970-01-01T00:00:01.25Z".parse().unwrap();
        assert_eq!(fraction.unix(), 1);
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "2026-11-20",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+01:00",
            "2026-01-01T00:00:00.Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn spans_have_one_unit() {
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1800),
            ("4h", 14_400),
            ("15d", 1_296_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(seconds)));
            assert_eq!(Span(seconds).to_string(), text);
        }
        for text in ["", "s", "5", "-1h", "1.5h", "1y", "99999999999999999w"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_second_is_read_as_written(seconds in 0..=LAST) {
            let time = Timestamp::from_unix(seconds);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}

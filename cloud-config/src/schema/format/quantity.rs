//! Times, durations and sizes.

use std::time::Duration;

use super::{Format, ensure, format};

pub(crate) static WINDOW_START: Format = format(
    "[weekday] HH:MM",
    r"^((Mon|Tue|Wed|Thu|Fri|Sat|Sun)\w* +)?[0-9]{1,2}:[0-9]{2}$",
    |text| {
        ensure(
            is_window_start(text),
            "write HH:MM, or a weekday before it: Thu 04:00",
        )
    },
);

fn is_window_start(text: &str) -> bool {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let words: Vec<&str> = text.split_whitespace().collect();
    let (day, time) = match words.as_slice() {
        [time] => (None, *time),
        [day, time] => (Some(day.to_ascii_lowercase()), *time),
        _ => return false,
    };
    let known = day.is_none_or(|day| DAYS.iter().any(|name| *name == day || name[..3] == *day));
    let below = |digits: &str, limit: u32| {
        matches!(digits.len(), 1 | 2)
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && digits.parse::<u32>().is_ok_and(|value| value < limit)
    };
    known
        && time
            .split_once(':')
            .is_some_and(|(hour, minute)| below(hour, 24) && below(minute, 60))
}

pub(crate) static DURATION: Format = format("duration", GO_DURATION, |text| {
    let holds = duration(text).is_some_and(|duration| !duration.is_zero());
    ensure(
        holds,
        "a positive number with unit h, m, s or ms: 30s, 1h30m",
    )
});

/// As `DURATION`, where none at all makes sense too.
pub(crate) static DURATION_OR_NONE: Format = format("duration", GO_DURATION, |text| {
    ensure(
        duration(text).is_some(),
        "a number with unit h, m, s or ms: 30s, 1h30m, 0s",
    )
});

const GO_DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$";
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) static POLL_INTERVAL: Format = format("duration", GO_DURATION, |text| {
    let most = MINUTE * 60 * 24;
    ensure(
        duration(text).is_some_and(|duration| (MINUTE..=most).contains(&duration)),
        "from 1m to 24h: 45m",
    )
});

pub(crate) static WINDOW_LENGTH: Format = format("duration", GO_DURATION, |text| {
    let week = MINUTE * 60 * 24 * 7;
    ensure(
        duration(text).is_some_and(|duration| (MINUTE..=week).contains(&duration)),
        "from 1m to 168h: 1h30m",
    )
});

/// A Go duration: one or more decimal numbers, each with its unit, without sign.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut nanos: f64 = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let length = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..length] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanos += number * unit;
        rest = &rest[length..];
    }
    // Go's own limit, about 292 years.
    (!text.is_empty() && nanos <= 9.2e18).then(|| Duration::from_secs_f64(nanos / 1e9))
}

pub(crate) static SIZE: Format = format("size", r"^[0-9]+ *[KMGT]?(i?B)?$", |text| {
    let holds = size(text).is_some_and(|bytes| bytes >= 1 << 20);
    ensure(
        holds,
        "at least 1M; a number with unit K, M, G or T (powers of 1024): 2G",
    )
});

/// Bytes a second.
pub(crate) static RATE: Format = format("rate", r"^[0-9]+ *[KMGT]?(i?B)?$", |text| {
    let holds = size(text).is_some_and(|bytes| bytes >= 16 << 10);
    ensure(
        holds,
        "at least 16K; bytes a second with unit K, M or G (powers of 1024): 2M",
    )
});

pub(crate) fn size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..]
        .trim()
        .trim_end_matches('B')
        .trim_end_matches('i');
    let shift = match unit {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

//! `strake.update.windows` and `strake.reboot.windows`: when downloads may run and when the machine
//! may reboot. Pure; local time by the rules of a time zone that is handed in.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Instant, Zoned};
use strake_updates::policy::Window as Permission;
use strake_updates::time::Timestamp;

use super::settings::Window;
use crate::root::Root;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the window {0:?} is not HH:MM or WEEKDAY HH:MM")]
pub struct InvalidWindow(String);

/// UTC where the machine names no other zone.
pub fn zone(root: &Root) -> TimeZone {
    let bytes = root.read("/etc/localtime").unwrap_or_default();
    TimeZone::tzif("local", &bytes).unwrap_or(TimeZone::UTC)
}

/// Without windows it is always open.
pub fn permission(
    windows: &[Window],
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Permission, InvalidWindow> {
    let mut opens: Option<Timestamp> = None;
    let mut is_open = windows.is_empty();
    for window in windows {
        let (day, time) = parse(&window.start)?;
        let local = local(zone, now);
        // The start that is under way may be of up to a week ago, the next one of a week ahead.
        for distance in -8..=8 {
            let Some(start) = start_on(&local, distance, day, time) else {
                continue;
            };
            let length = Timestamp::from_unix(start.unix().saturating_add(window.length_seconds));
            if start <= now && now < length {
                is_open = true;
            } else if start > now {
                opens = Some(opens.map_or(start, |known| known.min(start)));
            }
        }
    }
    Ok(match (is_open, opens) {
        (true, _) | (false, None) => Permission::Open,
        (false, Some(opens)) => Permission::OpensAt(opens),
    })
}

/// Refuses what cannot be a window, before any time is asked about.
pub fn check(window: &Window) -> Result<(), InvalidWindow> {
    parse(&window.start).map(drop)
}

fn local(zone: &TimeZone, now: Timestamp) -> Zoned {
    let seconds = i64::try_from(now.unix()).unwrap_or(i64::MAX);
    Instant::from_second(seconds)
        .unwrap_or(Instant::MAX)
        .to_zoned(zone.clone())
}

fn start_on(now: &Zoned, distance: i64, day: Option<Weekday>, time: Time) -> Option<Timestamp> {
    let date = now.date().checked_add(Span::new().days(distance)).ok()?;
    if day.is_some_and(|day| day != date.weekday()) {
        return None;
    }
    // A time that the clock skips begins when it would have.
    let start = date
        .to_datetime(time)
        .to_zoned(now.time_zone().clone())
        .ok()?;
    Some(Timestamp::from_unix(
        start.timestamp().as_second().try_into().ok()?,
    ))
}

fn parse(text: &str) -> Result<(Option<Weekday>, Time), InvalidWindow> {
    let read = || {
        let (day, time) = match text.trim().rsplit_once(' ') {
            Some((day, time)) => (Some(weekday(day.trim())?), time),
            None => (None, text.trim()),
        };
        let (hour, minute) = time.split_once(':')?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(hour) || !is_number(minute) {
            return None;
        }
        let time = Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()?;
        Some((day, time))
    };
    read().ok_or_else(|| InvalidWindow(text.to_owned()))
}

/// The whole name or its first three letters.
fn weekday(text: &str) -> Option<Weekday> {
    const DAYS: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let text = text.to_ascii_lowercase();
    let is_named = |(name, _): &&(&str, Weekday)| *name == text || name[..3] == text;
    DAYS.iter().find(is_named).map(|(_, day)| *day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("time")
    }

    #[track_caller]
    fn check(start: &str, hours: u64, now: &str, opens: Option<&str>) {
        let window = Window {
            start: start.into(),
            length_seconds: hours * 3600,
        };
        let found = permission(&[window], &TimeZone::UTC, at(now)).expect("valid");
        let expected = opens.map_or(Permission::Open, |opens| Permission::OpensAt(at(opens)));
        assert_eq!(found, expected, "{start} for {hours} h at {now}");
    }

    #[test]
    fn a_window_is_open_for_its_length_and_tells_when_it_opens() {
        // 2026-11-21 is a Saturday.
        check("04:00", 2, "2026-11-21T04:00:00Z", None);
        check("04:00", 2, "2026-11-21T05:59:59Z", None);
        check(
            "04:00",
            2,
            "2026-11-21T06:00:00Z",
            Some("2026-11-22T04:00:00Z"),
        );
        check("23:00", 4, "2026-11-21T02:00:00Z", None);
        check("Sat 04:00", 1, "2026-11-21T04:30:00Z", None);
        check(
            "Sat 04:00",
            1,
            "2026-11-21T05:30:00Z",
            Some("2026-11-28T04:00:00Z"),
        );
        check(
            "Thursday 04:00",
            1,
            "2026-11-21T05:30:00Z",
            Some("2026-11-26T04:00:00Z"),
        );
        check("Sat 04:00", 168, "2026-11-24T12:00:00Z", None);
    }

    #[test]
    fn the_earliest_of_several_windows_counts_and_none_is_always() {
        let window = |start: &str| Window {
            start: start.into(),
            length_seconds: 3600,
        };
        let now = at("2026-11-21T12:00:00Z");
        let windows = [window("Mon 04:00"), window("20:00")];
        let expected = Permission::OpensAt(at("2026-11-21T20:00:00Z"));
        assert_eq!(permission(&windows, &TimeZone::UTC, now), Ok(expected));
        assert_eq!(permission(&[], &TimeZone::UTC, now), Ok(Permission::Open));
        for wrong in ["noon", "25:00", "+4:00", "Thux 04:00", "04:00xyz", ""] {
            let found = permission(&[window(wrong)], &TimeZone::UTC, now);
            assert_eq!(found, Err(InvalidWindow(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn a_window_keeps_its_length_and_its_hour_when_the_clocks_change() {
        // In 2026 summer time is from 29 March, 01:00 UTC, to 25 October, 01:00 UTC.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("zone");
        let check = |start: &str, hours: u64, now: &str, opens: Option<&str>| {
            let window = Window {
                start: start.into(),
                length_seconds: hours * 3600,
            };
            let found = permission(&[window], &zone, at(now)).expect("valid");
            let expected = opens.map_or(Permission::Open, |opens| Permission::OpensAt(at(opens)));
            assert_eq!(found, expected, "{start} for {hours} h at {now}");
        };
        // 04:00 is 03:00 UTC in winter and 02:00 UTC in summer.
        check("04:00", 1, "2026-03-28T03:30:00Z", None);
        check("04:00", 1, "2026-03-29T02:30:00Z", None);
        check(
            "04:00",
            1,
            "2026-03-29T03:00:00Z",
            Some("2026-03-30T02:00:00Z"),
        );
        // 02:30 does not exist that night: it begins when the clock shows 03:30.
        check(
            "02:30",
            1,
            "2026-03-29T01:29:59Z",
            Some("2026-03-29T01:30:00Z"),
        );
        check("02:30", 1, "2026-03-29T01:30:00Z", None);
        // 02:30 comes twice: it begins with the first one and lasts an hour, not two.
        check("02:30", 1, "2026-10-25T00:30:00Z", None);
        check(
            "02:30",
            1,
            "2026-10-25T01:30:00Z",
            Some("2026-10-26T01:30:00Z"),
        );
        // From 23:00 for six hours over the night of the change: six hours, not seven.
        check("Sat 23:00", 6, "2026-10-25T02:59:59Z", None);
        check(
            "Sat 23:00",
            6,
            "2026-10-25T03:00:00Z",
            Some("2026-10-31T22:00:00Z"),
        );
    }

    #[test]
    fn windows_are_in_local_time() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let window = Window {
            start: "04:00".into(),
            length_seconds: 3600,
        };
        let found = permission(&[window], &zone, at("2026-11-21T02:30:00Z"));
        assert_eq!(found, Ok(Permission::Open));
    }
}

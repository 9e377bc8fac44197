//! `strake.update.windows`: when downloads may run. Pure; local time by the rules of a time zone
//! that is handed in.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Instant, Zoned};
use strake_updates::policy::Window as Permission;
use strake_updates::time::Timestamp;

use super::settings::Window;
use crate::root::Root;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("window {0:?} of strake.update.windows is not HH:MM or WEEKDAY HH:MM")]
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
        let time = Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()?;
        Some((day, time))
    };
    read().ok_or_else(|| InvalidWindow(text.to_owned()))
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text.get(..3)?.to_ascii_lowercase().as_str() {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    })
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
        assert!(permission(&[window("noon")], &TimeZone::UTC, now).is_err());
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

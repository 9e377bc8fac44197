//! Times as systemd's calendar expressions give them: `daily`, `Mon..Fri 06:30`, `*-*-01 00:00`,
//! `*:0/15`. Always UTC, by the minute. Pure.

use std::fmt;

use time::{Date, UtcDateTime};

use super::value::nearest;

const SHORT: [(&str, &str); 9] = [
    ("minutely", "*-*-* *:*"),
    ("hourly", "*-*-* *:00"),
    ("daily", "*-*-* 00:00"),
    ("weekly", "Mon *-*-* 00:00"),
    ("monthly", "*-*-01 00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00"),
    ("semiannually", "*-01,07-01 00:00"),
    ("yearly", "*-01-01 00:00"),
    ("annually", "*-01-01 00:00"),
];
const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
/// Years that an expression may name; nothing is ever due later.
const YEARS: (u32, u32) = (1970, 2199);
const DAY: i64 = 86_400;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this is a time such as daily, Mon..Fri 06:30, *-*-01 00:00 or *:0/15{0}")]
    Form(String),
    #[error(
        "{part:?} is not *, a number from {first} to {last}, a list, a range a..b or a step a/n"
    )]
    Part { part: String, first: u32, last: u32 },
    #[error("times are UTC here: no time zone but UTC can be named")]
    Zone,
    #[error("seconds are one number here: the shortest time between two runs is a minute")]
    Seconds,
}

/// The numbers that fit, as bits above the first one that is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Set {
    first: u32,
    last: u32,
    bits: [u64; 4],
}

impl Set {
    fn parse(part: &str, first: u32, last: u32) -> Result<Set, Refused> {
        let mut set = Set {
            first,
            last,
            bits: [0; 4],
        };
        for item in part.split(',') {
            let refused = || Refused::Part {
                part: part.to_string(),
                first,
                last,
            };
            set.take(item).ok_or_else(refused)?;
        }
        Ok(set)
    }

    fn take(&mut self, item: &str) -> Option<()> {
        let number = |text: &str| -> Option<u32> {
            let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
            let number = plain.then(|| text.parse().ok()).flatten()?;
            (self.first..=self.last).contains(&number).then_some(number)
        };
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step.parse().ok().filter(|step| *step > 0)?)),
            None => (item, None),
        };
        let (from, to) = match range.split_once("..") {
            _ if range == "*" => (self.first, self.last),
            Some((from, to)) => (number(from)?, number(to)?),
            None if step.is_some() => (number(range)?, self.last),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return None;
        }
        for number in (from..=to).step_by(step.unwrap_or(1)) {
            let bit = (number - self.first) as usize;
            self.bits[bit / 64] |= 1 << (bit % 64);
        }
        Some(())
    }

    fn has(&self, number: u32) -> bool {
        let Some(bit) = number
            .checked_sub(self.first)
            .filter(|_| number <= self.last)
        else {
            return false;
        };
        let bit = bit as usize;
        self.bits[bit / 64] >> (bit % 64) & 1 == 1
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Calendar {
    text: String,
    weekdays: [bool; 7],
    years: Set,
    months: Set,
    days: Set,
    hours: Set,
    minutes: Set,
    second: u32,
}

impl Calendar {
    pub fn parse(text: &str) -> Result<Calendar, Refused> {
        let lower = text.trim().to_ascii_lowercase();
        let short = SHORT
            .iter()
            .find(|(name, _)| *name == lower.trim_end_matches(" utc"));
        let full = short.map_or(text.trim(), |(_, full)| full);
        let mut words: Vec<&str> = full.split_whitespace().collect();
        match words.last() {
            Some(last) if last.eq_ignore_ascii_case("utc") => drop(words.pop()),
            Some(last) if last.contains('/') && last.starts_with(char::is_alphabetic) => {
                return Err(Refused::Zone);
            }
            _ => {}
        }
        let form = || {
            let names: Vec<&str> = SHORT.iter().map(|(name, _)| *name).collect();
            let near = nearest(&lower, &names).map(|near| format!(" (did you mean {near}?)"));
            Refused::Form(near.unwrap_or_default())
        };
        let mut rest = words.as_slice();
        let mut weekdays = [true; 7];
        if let Some((first, others)) = rest.split_first()
            && first.starts_with(char::is_alphabetic)
        {
            weekdays = days_of_week(first).ok_or_else(form)?;
            rest = others;
        }
        let (date, clock) = match rest {
            [date, clock] if clock.contains(':') => (*date, *clock),
            [clock] if clock.contains(':') => ("*-*-*", *clock),
            [date] => (*date, "00:00"),
            [] if words.len() == 1 => ("*-*-*", "00:00"),
            _ => return Err(form()),
        };
        let parts: Vec<&str> = date.split('-').collect();
        let (year, month, day) = match parts.as_slice() {
            [year, month, day] => (*year, *month, *day),
            [month, day] => ("*", *month, *day),
            _ => return Err(form()),
        };
        let parts: Vec<&str> = clock.split(':').collect();
        let (hour, minute, second) = match parts.as_slice() {
            [hour, minute] => (*hour, *minute, "0"),
            [hour, minute, second] => (*hour, *minute, *second),
            _ => return Err(form()),
        };
        let second: u32 = second.parse().map_err(|_| Refused::Seconds)?;
        if second > 59 {
            return Err(Refused::Seconds);
        }
        Ok(Calendar {
            text: text.trim().to_string(),
            weekdays,
            years: Set::parse(year, YEARS.0, YEARS.1)?,
            months: Set::parse(month, 1, 12)?,
            days: Set::parse(day, 1, 31)?,
            hours: Set::parse(hour, 0, 23)?,
            minutes: Set::parse(minute, 0, 59)?,
            second,
        })
    }

    /// The first second since 1970 that fits and is later than this one.
    pub fn next_after(&self, second: i64) -> Option<i64> {
        let start = UtcDateTime::from_unix_timestamp(second.checked_add(1)?).ok()?;
        let mut date = start.date();
        let mut earliest = (second + 1).rem_euclid(DAY);
        let midnight = |date: Date| i64::from(date.to_julian_day() - EPOCH) * DAY;
        while u32::try_from(date.year()).is_ok_and(|year| year <= YEARS.1) {
            if self.fits(date)
                && let Some(time) = self.time(earliest)
            {
                return Some(midnight(date) + time);
            }
            date = date.next_day()?;
            earliest = 0;
        }
        None
    }

    fn fits(&self, date: Date) -> bool {
        let year = u32::try_from(date.year()).unwrap_or(0);
        let weekday = usize::from(date.weekday().number_days_from_monday());
        self.years.has(year)
            && self.months.has(u32::from(u8::from(date.month())))
            && self.days.has(u32::from(date.day()))
            && self.weekdays[weekday]
    }

    /// The first time of a day at or after this one, in seconds.
    fn time(&self, earliest: i64) -> Option<i64> {
        let times = (0..24)
            .filter(|hour| self.hours.has(*hour))
            .flat_map(|hour| {
                let minutes = (0..60).filter(|minute| self.minutes.has(*minute));
                minutes.map(move |minute| i64::from(hour * 3600 + minute * 60 + self.second))
            });
        times.into_iter().find(|time| *time >= earliest)
    }
}

/// 1970-01-01.
const EPOCH: i32 = 2_440_588;

fn days_of_week(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| {
        let name = name.to_ascii_lowercase();
        let short = |day: &&str| **day == name || (name.len() == 3 && day.starts_with(&name));
        DAYS.iter().position(short)
    };
    let mut found = [false; 7];
    for item in text.split(',') {
        let (from, to) = item.split_once("..").unwrap_or((item, item));
        let (from, to) = (day(from)?, day(to)?);
        if from > to {
            return None;
        }
        found[from..=to].fill(true);
    }
    Some(found)
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `2026-11-21 07:30:00` (a Saturday) as seconds.
    fn seconds(text: &str) -> i64 {
        let (date, clock) = text.split_once(' ').expect("date and time");
        let numbers: Vec<i64> = date
            .split('-')
            .chain(clock.split(':'))
            .map(|n| n.parse().expect("number"))
            .collect();
        let month = time::Month::try_from(numbers[1] as u8).expect("month");
        let date =
            Date::from_calendar_date(numbers[0] as i32, month, numbers[2] as u8).expect("date");
        i64::from(date.to_julian_day() - EPOCH) * DAY
            + numbers[3] * 3600
            + numbers[4] * 60
            + numbers[5]
    }

    #[test]
    fn the_next_time_is_found() {
        let now = "2026-11-21 07:30:00";
        let cases = [
            ("minutely", "2026-11-21 07:31:00"),
            ("hourly", "2026-11-21 08:00:00"),
            ("daily", "2026-11-22 00:00:00"),
            ("Weekly", "2026-11-23 00:00:00"),
            ("monthly", "2026-12-01 00:00:00"),
            ("quarterly", "2027-01-01 00:00:00"),
            ("yearly", "2027-01-01 00:00:00"),
            ("*-*-* 06:30", "2026-11-22 06:30:00"),
            ("*-*-* 07:30:00", "2026-11-22 07:30:00"),
            ("07:30:01 UTC", "2026-11-21 07:30:01"),
            ("Mon..Fri 06:30", "2026-11-23 06:30:00"),
            ("Sunday", "2026-11-22 00:00:00"),
            ("Tue,Thu *-12-* 12:00", "2026-12-01 12:00:00"),
            ("*:0/15", "2026-11-21 07:45:00"),
            ("8..18/2:30", "2026-11-21 08:30:00"),
            ("12-25", "2026-12-25 00:00:00"),
            ("*-02-29", "2028-02-29 00:00:00"),
            ("2026,2030-1-31 4:05", "2030-01-31 04:05:00"),
            ("Fri *-*-13 13:13", "2027-08-13 13:13:00"),
        ];
        for (text, expected) in cases {
            let calendar = Calendar::parse(text).expect(text);
            assert_eq!(
                calendar.next_after(seconds(now)),
                Some(seconds(expected)),
                "{text}"
            );
        }
        for never in ["2020-01-01", "*-02-30", "*-04-31 10:00"] {
            assert_eq!(
                Calendar::parse(never)
                    .expect(never)
                    .next_after(seconds(now)),
                None,
                "{never}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_reason() {
        let cases = [
            (
                "dayly",
                "this is a time such as daily, Mon..Fri 06:30, *-*-01 00:00 or *:0/15 (did you mean daily?)",
            ),
            (
                "",
                "this is a time such as daily, Mon..Fri 06:30, *-*-01 00:00 or *:0/15",
            ),
            (
                "25:00",
                "\"25\" is not *, a number from 0 to 23, a list, a range a..b or a step a/n",
            ),
            (
                "*-13-01",
                "\"13\" is not *, a number from 1 to 12, a list, a range a..b or a step a/n",
            ),
            (
                "*:5/0",
                "\"5/0\" is not *, a number from 0 to 59, a list, a range a..b or a step a/n",
            ),
            (
                "*-*-9..3",
                "\"9..3\" is not *, a number from 1 to 31, a list, a range a..b or a step a/n",
            ),
            (
                "06:30 Europe/Berlin",
                "times are UTC here: no time zone but UTC can be named",
            ),
            (
                "*:*:*",
                "seconds are one number here: the shortest time between two runs is a minute",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Calendar::parse(text).expect_err(text).to_string(),
                expected,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_next_time_is_later_fits_and_none_between_does(
            text in "((Mon|Tue\\.\\.Thu|Sat,Sun) )?\\*-(\\*|[1-9]|2/3)-(\\*|1|15\\.\\.20|31) (\\*|[0-9]|2/5):(\\*|0|[1-5]7)",
            after in 0..4_000_000_000i64,
        ) {
            let calendar = Calendar::parse(&text).expect("calendar");
            if let Some(next) = calendar.next_after(after) {
                prop_assert!(next > after);
                // A minute before it, it is still the next one; from it on, it is not.
                prop_assert_eq!(calendar.next_after((next - 60).max(after)), Some(next));
                prop_assert!(calendar.next_after(next).is_none_or(|later| later > next));
                let day = UtcDateTime::from_unix_timestamp(next).expect("time").date();
                prop_assert!(calendar.fits(day));
            }
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "[A-Za-z0-9*:,./ -]{0,24}") {
            if let Ok(calendar) = Calendar::parse(&text) {
                calendar.next_after(1_800_000_000);
            }
        }
    }
}

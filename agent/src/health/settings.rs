//! `/etc/strake/health.json`, rendered from `strake.health`.

use std::io;
use std::time::Duration;

use serde::Deserialize;

use super::decision::{Limits, OnFailure};
use crate::root::Root;

pub(super) const PATH: &str = "/etc/strake/health.json";

/// strake-health.service is taken for hanging after 65 minutes.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub require: Vec<String>,
    pub settle: Duration,
    pub deadline: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            require: Vec::new(),
            settle: Duration::from_secs(30),
            deadline: Duration::from_secs(600),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct File {
    require: Vec<String>,
    r#for: String,
    deadline: String,
}

impl Default for File {
    fn default() -> File {
        File {
            require: Vec::new(),
            r#for: "30s".into(),
            deadline: "10m".into(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading the file")]
    File(#[from] io::Error),
    #[error("reading the health settings")]
    Json(#[from] serde_json::Error),
    #[error("{0:?} is not a time such as 30s or 10m")]
    Time(String),
}

impl Settings {
    /// As they are now: the network phase of a boot may bring a config with others.
    pub fn read(root: &Root) -> Result<Settings, Error> {
        match root.read_optional(PATH)? {
            Some(text) => Settings::parse(&text),
            None => Ok(Settings::default()),
        }
    }

    pub fn limits(&self, on_failure: OnFailure) -> Limits {
        Limits {
            settle: self.settle,
            deadline: self.deadline,
            on_failure,
        }
    }

    pub fn parse(text: &str) -> Result<Settings, Error> {
        let file: File = serde_json::from_str(text)?;
        let time = |text: &str| duration(text).ok_or_else(|| Error::Time(text.to_string()));
        Ok(Settings {
            settle: time(&file.r#for)?,
            deadline: time(&file.deadline)?.min(LONGEST),
            require: file.require,
        })
    }
}

/// `90`, `30s`, `10m`, `1h30m`, `500ms`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(
            after
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(after.len()),
        );
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let count: u64 = number.parse().ok()?;
        total = total.checked_add(Duration::from_millis(count.checked_mul(milliseconds)?))?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let cases = [
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("0s", Some(0)),
            ("90", Some(90_000)),
            ("", None),
            ("s", None),
            ("3d", None),
            ("99999999999999999999s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let settings = Settings::parse(r#"{"require":["a.service"]}"#).expect("valid");
        assert_eq!(
            settings,
            Settings {
                require: vec!["a.service".into()],
                ..Settings::default()
            }
        );
        assert!(Settings::parse(r#"{"for":"soon"}"#).is_err());
        let late = Settings::parse(r#"{"deadline":"3h"}"#).expect("valid");
        assert_eq!(late.deadline, LONGEST);
    }
}

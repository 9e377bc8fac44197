//! What machines ask each other: HTTP/1.1, JSON, and a journal as plain text.
//!
//! `GET /v1/units/NAME/status`, `GET /v1/units/NAME/journal?lines=10&follow=no&output=short`.

use serde::{Deserialize, Serialize};

use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;

/// The most lines of the past that are sent.
pub const MAX_LINES: u32 = 100_000;
const LINES: u32 = 10;
/// Of journalctl's formats, those that are text.
const OUTPUTS: [&str; 15] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-unix",
    "verbose",
    "export",
    "json",
    "json-pretty",
    "json-sse",
    "json-seq",
    "cat",
    "with-unit",
];

/// What systemctl says of a unit, as it says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub machine: MachineId,
    pub unit: UnitName,
    /// systemctl's exit code: 0 when the unit is active.
    pub code: i32,
    pub text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) error: String,
}

/// Which part of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub lines: u32,
    pub follow: bool,
    pub output: String,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            lines: LINES,
            follow: false,
            output: OUTPUTS[0].to_string(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWanted {
    #[error("lines: {0:?} is no number from 0 to {MAX_LINES}")]
    Lines(String),
    #[error("follow: {0:?} is neither yes nor no")]
    Follow(String),
    #[error("output: {0:?} is none of {list}", list = OUTPUTS.join(", "))]
    Output(String),
}

impl Wanted {
    /// What is not named is as by default.
    pub fn parse(query: &str) -> Result<Wanted, NotWanted> {
        let mut wanted = Wanted::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "lines" => {
                    let lines = value.parse().ok().filter(|lines| *lines <= MAX_LINES);
                    wanted.lines = lines.ok_or_else(|| NotWanted::Lines(value.to_string()))?;
                }
                "follow" => {
                    wanted.follow = match value.as_ref() {
                        "yes" => true,
                        "no" => false,
                        _ => return Err(NotWanted::Follow(value.to_string())),
                    }
                }
                "output" => wanted.output = value.to_string(),
                _ => {}
            }
        }
        wanted.checked()
    }

    pub fn checked(self) -> Result<Wanted, NotWanted> {
        if self.lines > MAX_LINES {
            return Err(NotWanted::Lines(self.lines.to_string()));
        }
        match OUTPUTS.contains(&self.output.as_str()) {
            true => Ok(self),
            false => Err(NotWanted::Output(self.output)),
        }
    }

    pub fn query(&self) -> String {
        let follow = if self.follow { "yes" } else { "no" };
        let (lines, output) = (self.lines, &self.output);
        format!("lines={lines}&follow={follow}&output={output}")
    }
}

pub(super) fn path(unit: &UnitName, what: &str) -> String {
    let unit: String = url::form_urlencoded::byte_serialize(unit.as_str().as_bytes()).collect();
    format!("/v1/units/{unit}/{what}")
}

/// The unit and what is asked of it.
pub fn parse(path: &str) -> Option<(UnitName, &str)> {
    let (unit, what) = path.strip_prefix("/v1/units/")?.split_once('/')?;
    let query = format!("unit={unit}");
    let (_, unit) = url::form_urlencoded::parse(query.as_bytes()).next()?;
    Some((unit.parse().ok()?, what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Other machines are of the cluster; what they send is looked at all the same.
        #[test]
        fn nothing_that_is_sent_is_more_than_it_may_be(path in ".{0,80}", query in ".{0,80}") {
            for path in [path.clone(), format!("/v1/units/{path}/journal")] {
                if let Some((unit, what)) = parse(&path) {
                    let again = super::path(&unit, what);
                    prop_assert_eq!(parse(&again), Some((unit, what)));
                }
            }
            for query in [query.clone(), format!("lines={query}"), format!("output={query}")] {
                if let Ok(wanted) = Wanted::parse(&query) {
                    prop_assert!(wanted.lines <= MAX_LINES);
                    prop_assert!(OUTPUTS.contains(&wanted.output.as_str()));
                }
            }
        }
    }

    #[test]
    fn a_path_names_any_unit_there_can_be() {
        for name in ["web@1.service", r"a\x2db.service", "a:b_c-d.mount"] {
            let name: UnitName = name.parse().expect(name);
            let path = path(&name, "journal");
            assert_eq!(parse(&path), Some((name, "journal")), "{path}");
        }
        for wrong in [
            "/v1/units/web.service",
            "/v1/units//status",
            "/v1/units/../x",
            "/",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_wanted_survives_the_way_and_nonsense_does_not() {
        let wanted = Wanted {
            lines: 7,
            follow: true,
            output: "json".to_string(),
        };
        assert_eq!(Wanted::parse(&wanted.query()), Ok(wanted));
        assert_eq!(Wanted::parse(""), Ok(Wanted::default()));
        for wrong in [
            "lines=-1",
            "lines=100001",
            "lines=",
            "follow=1",
            "output=short%20--all",
            "output=",
        ] {
            assert!(Wanted::parse(wrong).is_err(), "{wrong}");
        }
    }
}

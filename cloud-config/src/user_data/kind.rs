//! The kinds of user-data, told apart by how the text begins.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::problem::{Level, Problem, Rule};

/// gzip is not a kind: it is unpacked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Empty,
    CloudConfig,
    Script,
    Multipart,
    Ignition,
    Butane,
    Unknown,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Empty => "empty",
            Self::CloudConfig => "cloud-config",
            Self::Script => "script",
            Self::Multipart => "multipart",
            Self::Ignition => "ignition",
            Self::Butane => "butane",
            Self::Unknown => "unknown",
        })
    }
}

const HEADER: &str = "#cloud-config";

impl Kind {
    /// Never `Multipart`, which is looked for in the bytes.
    pub(super) fn of(text: &str) -> Self {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let first = text.lines().next().unwrap_or_default();
        if text.trim().is_empty() {
            Self::Empty
        } else if first.trim_end() == HEADER {
            Self::CloudConfig
        } else if text.starts_with("#!") {
            Self::Script
        } else if is_ignition(text) {
            Self::Ignition
        } else if is_butane(text) {
            Self::Butane
        } else {
            Self::Unknown
        }
    }

    /// Why a text of this kind cannot be applied.
    pub(super) fn refusal(self, text: &str) -> Problem {
        let error = |message: &str| Problem::whole(Level::Error, Rule::Kind, message);
        match self {
            Self::Ignition => error("this is an Ignition config, which is not applied here").with_hint(
                "write a #cloud-config: storage.files becomes write_files, systemd.units becomes \
                 coreos.units, passwd.users becomes users",
            ),
            Self::Butane => error("this is a Butane config, which is not applied here").with_hint(
                "write a #cloud-config: storage.files becomes write_files, systemd.units becomes \
                 coreos.units, passwd.users becomes users",
            ),
            _ => {
                let problem = error("must be \"#cloud-config\" or begin with \"#!\"");
                match text.lines().position(|line| line.trim_end() == HEADER) {
                    Some(_) => problem.with_hint("move the line #cloud-config to the very top"),
                    None if text.lines().next().is_some_and(nearly_header) => {
                        problem.with_hint("write the first line as #cloud-config, exactly so")
                    }
                    None => problem.with_hint("put the line #cloud-config at the top"),
                }
            }
        }
    }
}

fn nearly_header(line: &str) -> bool {
    let letters: String = line
        .chars()
        .filter(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_ascii_lowercase();
    letters == "cloudconfig"
}

#[derive(Deserialize)]
struct Probe {
    ignition: Option<IgnoredAny>,
    #[serde(rename = "ignitionVersion")]
    version: Option<IgnoredAny>,
}

fn is_ignition(text: &str) -> bool {
    text.trim_start().starts_with('{')
        && serde_json::from_str::<Probe>(text)
            .is_ok_and(|probe| probe.ignition.is_some() || probe.version.is_some())
}

fn is_butane(text: &str) -> bool {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    has("variant:") && has("version:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_how_a_text_begins() {
        for (text, kind) in [
            ("", Kind::Empty),
            (" \n\t\n", Kind::Empty),
            ("#cloud-config", Kind::CloudConfig),
            ("#cloud-config \r\nhostname: x", Kind::CloudConfig),
            ("\u{FEFF}#cloud-config\n", Kind::CloudConfig),
            ("\n#cloud-config\n", Kind::Unknown),
            ("#cloud-configuration\n", Kind::Unknown),
            ("#!/bin/sh\n", Kind::Script),
            ("{\"ignitionVersion\": 1}", Kind::Ignition),
            ("{\"ignition\": {\"version\": \"3.4.0\"}}", Kind::Ignition),
            ("{\"a\": 1}", Kind::Unknown),
            ("variant: fcos\nversion: 1.5.0\n", Kind::Butane),
            ("hostname: x\n", Kind::Unknown),
        ] {
            assert_eq!(Kind::of(text), kind, "{text:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let hint = |text: &str| Kind::of(text).refusal(text).hint.expect("always one");
        assert!(hint("a: b\n#cloud-config\n").contains("very top"));
        assert!(hint("# Cloud-Config\na: b\n").contains("exactly so"));
        assert!(hint("{\"ignitionVersion\": 1}").contains("write_files"));
    }
}

//! The kernel command line: what strake-init takes from it. Pure; unusable values of optional
//! settings are warnings, an unusable `usrhash=` is refused.

use std::time::Duration;

use thiserror::Error;

use crate::machine_id::MachineId;
use crate::timeline::Verbosity;
use crate::verity::RootHash;

const DEFAULT_LIMIT: u64 = 60;

#[derive(Debug)]
pub(crate) struct Options {
    /// `usrhash=`: 64 hexadecimal digits.
    pub(crate) root_hash: RootHash,
    /// `strake.debug`, or with a value: 0 or 1. Default off.
    pub(crate) verbosity: Verbosity,
    /// `strake.init_timeout=`: limit of the whole run in seconds, 5 to 600, default 60.
    pub(crate) limit: Duration,
    /// `systemd.machine_id=`: 32 hexadecimal digits, for a machine that has none yet.
    pub(crate) machine_id: Option<MachineId>,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Refused {
    #[error("no usrhash= on the kernel command line")]
    NoRootHash,
    #[error("usrhash={0} is not 64 hexadecimal digits")]
    BadRootHash(String),
    /// The first comes from the signed UKI; a later one must not replace it silently.
    #[error("usrhash= is given twice, with different values")]
    TwoRootHashes,
}

impl Options {
    /// Also returns the warnings.
    pub(crate) fn parse(line: &str) -> Result<(Options, Vec<String>), Refused> {
        let (mut root_hash, mut machine_id) = (None, None);
        let (mut verbosity, mut limit) = (Verbosity::Normal, DEFAULT_LIMIT);
        let mut warnings = Vec::new();
        for word in words(line) {
            let (key, value) = word.split_once('=').unwrap_or((&word, ""));
            match key {
                "usrhash" => {
                    let hash: RootHash = value
                        .parse()
                        .map_err(|_| Refused::BadRootHash(value.to_owned()))?;
                    if *root_hash.get_or_insert(hash) != hash {
                        return Err(Refused::TwoRootHashes);
                    }
                }
                "strake.debug" => match value {
                    "" | "1" => verbosity = Verbosity::Debug,
                    "0" => verbosity = Verbosity::Normal,
                    _ => warnings.push(format!("{word}: takes 0 or 1; ignored")),
                },
                "strake.init_timeout" => match value.parse() {
                    Ok(seconds @ 5..=600) => limit = seconds,
                    _ => warnings.push(format!(
                        "{word}: takes 5 to 600 seconds; using {DEFAULT_LIMIT}"
                    )),
                },
                "systemd.machine_id" => match value.parse() {
                    Ok(id) => machine_id = Some(id),
                    Err(_) => warnings.push(format!("{word}: not a machine id; ignored")),
                },
                _ => {}
            }
        }
        let root_hash = root_hash.ok_or(Refused::NoRootHash)?;
        let limit = Duration::from_secs(limit);
        Ok((
            Options {
                root_hash,
                verbosity,
                limit,
                machine_id,
            },
            warnings,
        ))
    }
}

/// Words as the kernel splits them: double quotes protect spaces and are dropped.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            _ if letter.is_whitespace() && !quoted => words.push(String::new()),
            _ => words.last_mut().expect("starts with one word").push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "5f3c9a1b5f3c9a1b5f3c9a1b5f3c9a1b5f3c9a1b5f3c9a1b5f3c9a1b5f3c9a1b";

    #[track_caller]
    fn check(extra: &str, seconds: u64, verbosity: Verbosity, warning: Option<&str>) {
        let line = format!("console=ttyS0 usrhash={HASH} {extra}\n");
        let (options, warnings) = Options::parse(&line).unwrap();
        assert_eq!(options.root_hash.to_string(), HASH);
        assert_eq!(options.limit.as_secs(), seconds);
        assert_eq!(options.verbosity, verbosity);
        assert_eq!(warnings.first().map(String::as_str), warning);
    }

    #[test]
    fn options_are_taken_and_unusable_values_are_warned_of() {
        use Verbosity::{Debug, Normal};
        check("", 60, Normal, None);
        check("strake.debug", 60, Debug, None);
        check("strake.debug=1 strake.debug=0", 60, Normal, None);
        check("strake.init_timeout=5", 5, Normal, None);
        check("strake.init_timeout=600 strake.debug", 600, Debug, None);
        check("dyndbg=\"file a.c strake.debug +p\"", 60, Normal, None);
        check("\"strake.init_timeout=9\"", 9, Normal, None);
        for bad in ["4", "601", "-1", "", "1m", "99999999999999999999999"] {
            let warning = format!("strake.init_timeout={bad}: takes 5 to 600 seconds; using 60");
            check(
                &format!("strake.init_timeout={bad}"),
                60,
                Normal,
                Some(&warning),
            );
        }
        check(
            "strake.debug=maybe",
            60,
            Normal,
            Some("strake.debug=maybe: takes 0 or 1; ignored"),
        );
        let warning = "systemd.machine_id=x: not a machine id; ignored";
        check("systemd.machine_id=x", 60, Normal, Some(warning));
    }

    #[test]
    fn a_root_hash_is_needed_and_only_one() {
        let other = HASH.replace('5', "6");
        for (line, refused) in [
            (String::new(), Refused::NoRootHash),
            ("usrhash=".into(), Refused::BadRootHash(String::new())),
            ("usrhash=abc".into(), Refused::BadRootHash("abc".into())),
            (
                format!("usrhash={HASH}0"),
                Refused::BadRootHash(format!("{HASH}0")),
            ),
            (
                format!("usrhash={HASH} usrhash={other}"),
                Refused::TwoRootHashes,
            ),
        ] {
            assert_eq!(Options::parse(&line).unwrap_err(), refused, "{line}");
        }
        let upper = HASH.to_uppercase();
        assert!(Options::parse(&format!("usrhash={HASH} usrhash={upper}")).is_ok());
    }
}

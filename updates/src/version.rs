//! A release's version: three numbers, `MAJOR.MINOR.PATCH`.
//!
//! The boot loader compares file names by its own rules; for plain numbers without leading zeros
//! both orders agree, so nothing else is accepted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version such as `1.2.10`. Each part is 0 to 4294967295 without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

/// Why a text is no version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("version {0:?} is not MAJOR.MINOR.PATCH (three numbers without leading zeros)")]
pub struct InvalidVersion(String);

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion(text.to_owned());
        let mut parts = text.split('.').map(number);
        let mut next = || parts.next().flatten().ok_or_else(invalid);
        let version = Self {
            major: next()?,
            minor: next()?,
            patch: next()?,
        };
        match parts.next() {
            None => Ok(version),
            Some(_) => Err(invalid()),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    canonical.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_number_and_not_by_text() {
        let parsed = |text: &str| text.parse::<Version>().unwrap();
        assert!(parsed("1.10.0") > parsed("1.9.9"));
        assert!(parsed("2.0.0") > parsed("1.99.99"));
        assert_eq!(parsed("1.2.3").to_string(), "1.2.3");
    }

    #[test]
    fn refuses_what_the_loader_would_order_otherwise() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.02.3",
            "1.2.+3",
            "1.2.x",
            "v1.2.3",
            "1.2.4294967296",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}

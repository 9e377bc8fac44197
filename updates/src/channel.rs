//! Channels: the streams of releases a repository offers, such as `alpha`, `beta` and `stable`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A channel's name, which is also the name of its signing role and begins the names of its
/// offers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Channel(String);

/// Why a text is no channel.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "channel {0:?} is not 1 to 32 of a-z, 0-9 and -, beginning with a letter, \
     and none of root, timestamp, snapshot, targets and strake"
)]
pub struct InvalidChannel(String);

/// Names with a meaning of their own in a repository.
const RESERVED: [&str; 5] = ["root", "timestamp", "snapshot", "targets", "strake"];

impl Channel {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(text: &str) -> Result<Self, InvalidChannel> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = text.len() <= 32
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(allowed)
            && !RESERVED.contains(&text);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidChannel(text.to_owned()))
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Channel {
    type Error = InvalidChannel;

    fn try_from(text: String) -> Result<Self, InvalidChannel> {
        text.parse()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_role_and_as_directory() {
        for name in ["stable", "beta", "edge-2", "a"] {
            assert_eq!(name.parse::<Channel>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "Root",
            "root",
            "strake",
            "../x",
            "a/b",
            "1a",
            "a_b",
            &"a".repeat(33),
        ] {
            assert!(name.parse::<Channel>().is_err(), "{name}");
        }
    }
}

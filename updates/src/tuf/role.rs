//! What each role's `signed` part says. Unknown fields are tolerated and dropped; what a reader
//! must have and does not find is an error that names the field.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::{Key, KeyId};
use crate::digest::Digest;
use crate::time::Timestamp as Time;

/// The version of the format that is written; any `1.x` is read.
pub const SPEC_VERSION: &str = "1.0.31";

/// A role's body: its `_type`, and what every body has.
pub trait Body: Serialize + for<'de> Deserialize<'de> {
    const TYPE: &'static str;

    fn head(&self) -> &Head;
}

/// What every role says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    #[serde(rename = "_type")]
    pub kind: String,
    pub spec_version: String,
    pub version: u64,
    pub expires: Time,
}

/// The keys that speak for a role, and how many of them must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    pub keyids: BTreeSet<KeyId>,
    pub threshold: NonZeroU32,
}

/// The top-level roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    pub root: RoleKeys,
    pub timestamp: RoleKeys,
    pub snapshot: RoleKeys,
    pub targets: RoleKeys,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    #[serde(flatten)]
    pub head: Head,
    #[serde(default)]
    pub consistent_snapshot: bool,
    pub keys: BTreeMap<KeyId, Key>,
    pub roles: Roles,
}

/// Which version of another role's file belongs to this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<Hashes>,
}

/// SHA-256 is always checked; a file without one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    pub sha256: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    #[serde(flatten)]
    pub head: Head,
    pub meta: TimestampMeta,
    /// When it was signed; an extension of Strake. A machine's clock cannot be right when earlier.
    #[serde(
        rename = "x-strake-issued",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub issued: Option<Time>,
    /// Rollouts that are stopped for now; an extension of Strake.
    #[serde(
        rename = "x-strake-holds",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub holds: Vec<Hold>,
}

/// A stop that the online keys can sign while a channel's keys are out of reach. It can only
/// narrow what the channel offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub channel: String,
    /// The target that carries the offer.
    pub target: String,
    pub since: Time,
    pub reason: String,
}

/// Member of a target's `custom` under which a reader finds the target's hold.
pub const HELD: &str = "x-strake-held";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestampMeta {
    #[serde(rename = "snapshot.json")]
    pub snapshot: Meta,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(flatten)]
    pub head: Head,
    pub meta: BTreeMap<String, Meta>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    #[serde(flatten)]
    pub head: Head,
    pub targets: BTreeMap<String, Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
}

/// A file of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub length: u64,
    pub hashes: Hashes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegations {
    pub keys: BTreeMap<KeyId, Key>,
    pub roles: Vec<Delegation>,
}

/// A role that speaks for the files its patterns name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    pub name: String,
    #[serde(flatten)]
    pub keys: RoleKeys,
    #[serde(default)]
    pub terminating: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl Delegation {
    /// Whether the role may speak for a target. `*` and `?` stand for anything but a slash.
    pub fn covers(&self, target: &str) -> bool {
        self.paths
            .iter()
            .any(|pattern| matches(pattern.as_bytes(), target.as_bytes()))
    }
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some(b'?') if text[from] != b'/' => (at, from) = (at + 1, from + 1),
            Some(byte) if *byte == text[from] => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((after, covered)) if text[covered] != b'/' => {
                    star = Some((after, covered + 1));
                    (at, from) = (after, covered + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

impl Head {
    pub fn new(kind: &str, version: u64, expires: Time) -> Self {
        Self {
            kind: kind.to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            expires,
        }
    }
}

macro_rules! body {
    ($name:ident, $kind:literal) => {
        impl Body for $name {
            const TYPE: &'static str = $kind;

            fn head(&self) -> &Head {
                &self.head
            }
        }
    };
}

body!(Root, "root");
body!(Timestamp, "timestamp");
body!(Snapshot, "snapshot");
body!(Targets, "targets");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_within_their_directory() {
        for (pattern, target, expected) in [
            ("stable/*", "stable/1.0.0.json", true),
            ("stable/*", "stable/a/b", false),
            ("stable/*", "beta/1.0.0.json", false),
            ("*.tgz", "a.tgz", true),
            ("*.tgz", "d/a.tgz", false),
            ("a-?.b*", "a-1.bc", true),
            ("a-?.b*", "a-/.bc", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), target.as_bytes()),
                expected,
                "{pattern} {target}"
            );
        }
    }
}

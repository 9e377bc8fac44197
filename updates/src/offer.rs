//! What a channel offers: one release with everything a machine must know before it fetches a byte.
//!
//! An offer is the `custom.strake` member of the target `CHANNEL_VERSION.json`, so it is under the
//! channel's signature. The payload's files are targets of the same role, by name; lengths and
//! digests are theirs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::channel::Channel;
use crate::digest::{Digest, hex_bytes};
use crate::rollout::Rollout;
use crate::tuf::role::{HELD, Hold, Target, Targets};
use crate::version::Version;

/// The form of offers and payload that this code understands.
pub const FORMAT: u32 = 1;
/// Bytes of a block of the slot and of its hash tree.
pub const BLOCK: u64 = 4096;
/// Largest slot that is believed: 64 GiB.
const LARGEST: u64 = 64 << 30;

/// A release as a channel offers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub format: u32,
    pub version: Version,
    pub architecture: String,
    pub kernel: String,
    /// A barrier: machines that run less must install this version or another in between first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_from: Option<Version>,
    /// Nothing below this version may be installed any more, not even when pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Version>,
    /// Why nobody may install the release any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retracted: Option<String>,
    pub rollout: Rollout,
    pub usr: Usr,
    /// Name of the target with the kernel, initrd and command line.
    pub uki: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<Delta>,
    /// A stop of the rollout by the repository's online keys: found in the timestamp, so it is no
    /// part of what the channel signs.
    #[serde(skip)]
    pub held: Option<Hold>,
}

/// The slot's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usr {
    /// Bytes, a multiple of [`BLOCK`].
    pub size: u64,
    pub root_hash: Digest,
    /// Hexadecimal, at most 256 bytes.
    pub salt: String,
    /// Name of the target with the slot's blocks in compressed frames.
    pub blocks: String,
    /// The frame table at the end of that target.
    pub index: Part,
    /// Name of the target with the hash tree, superblock first.
    pub tree: String,
}

/// A part of a target that is read before the whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub length: u64,
    pub sha256: Digest,
}

/// The way from one certain release to this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    pub from: Version,
    /// Of the slot the patches apply to.
    pub root_hash: Digest,
    pub usr: Patch,
    pub tree: Patch,
    pub uki: Patch,
}

/// A patch: name of its target, and its extent table at the beginning of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    pub target: String,
    pub table: Part,
}

/// An offer that cannot be used. Others of the channel still can.
#[derive(Debug, thiserror::Error)]
#[error("target {target} is no offer")]
pub struct InvalidOffer {
    pub target: String,
    #[source]
    pub reason: Reason,
}

#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error("custom.strake cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("format is {0}; this machine understands {FORMAT}")]
    Format(u32),
    #[error("version is {0}, the target is named otherwise")]
    Name(Version),
    #[error("usr.size is {0}, not 1 to 16777216 blocks of {BLOCK} bytes")]
    Size(u64),
    #[error("usr.salt is not at most 256 bytes in hexadecimal digits")]
    Salt,
    #[error("{field} names {name}, which is no target of the channel")]
    Missing { field: &'static str, name: String },
    #[error("{field}.length is {length}, more than its target has")]
    Part { field: &'static str, length: u64 },
}

/// What a channel's role says, read.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Oldest first.
    pub offers: Vec<Offer>,
    /// Offers that cannot be used, and why.
    pub invalid: Vec<InvalidOffer>,
}

impl Offer {
    /// The target that carries the offer.
    pub fn target_name(channel: &Channel, version: Version) -> String {
        format!("{channel}_{version}.json")
    }

    pub fn to_custom(&self) -> Value {
        json!({"strake": self})
    }

    pub fn delta_from(&self, root_hash: Digest) -> Option<&Delta> {
        self.deltas
            .iter()
            .find(|delta| delta.root_hash == root_hash)
    }

    /// Every file of the payload: the field that names it, its target, its part.
    pub fn files(&self) -> Vec<(&'static str, &str, Option<Part>)> {
        let mut files = vec![
            ("usr.blocks", self.usr.blocks.as_str(), Some(self.usr.index)),
            ("usr.tree", self.usr.tree.as_str(), None),
            ("uki", self.uki.as_str(), None),
        ];
        for delta in &self.deltas {
            for (field, patch) in [
                ("deltas.usr", &delta.usr),
                ("deltas.tree", &delta.tree),
                ("deltas.uki", &delta.uki),
            ] {
                files.push((field, patch.target.as_str(), Some(patch.table)));
            }
        }
        files
    }

    /// The bytes the salt stands for; checked when the offer was read.
    pub fn salt(&self) -> Vec<u8> {
        hex_bytes(&self.usr.salt).unwrap_or_default()
    }

    fn check(&self, channel: &Channel, name: &str, targets: &Targets) -> Result<(), Reason> {
        if self.format != FORMAT {
            return Err(Reason::Format(self.format));
        }
        if name != Self::target_name(channel, self.version) {
            return Err(Reason::Name(self.version));
        }
        let size = self.usr.size;
        if size == 0 || size > LARGEST || !size.is_multiple_of(BLOCK) {
            return Err(Reason::Size(size));
        }
        if hex_bytes(&self.usr.salt).is_none_or(|salt| salt.len() > 256) {
            return Err(Reason::Salt);
        }
        for (field, name, part) in self.files() {
            let target = targets.targets.get(name);
            let target = target.ok_or_else(|| Reason::Missing {
                field,
                name: name.to_owned(),
            })?;
            if let Some(part) = part.filter(|part| part.length > target.length) {
                return Err(Reason::Part {
                    field,
                    length: part.length,
                });
            }
        }
        Ok(())
    }
}

impl Catalog {
    pub fn read(channel: &Channel, targets: &Targets) -> Self {
        let mut catalog = Self::default();
        let prefix = format!("{channel}_");
        for (name, target) in targets
            .targets
            .iter()
            .filter(|(n, _)| n.starts_with(&prefix))
        {
            match read(channel, name, target, targets) {
                Ok(offer) => catalog.offers.push(offer),
                Err(reason) => {
                    catalog.invalid.push(InvalidOffer {
                        target: name.clone(),
                        reason,
                    });
                }
            }
        }
        catalog.offers.sort_by_key(|offer| offer.version);
        catalog
    }

    /// The least version that may be installed at all.
    pub fn floor(&self) -> Option<Version> {
        self.offers.iter().filter_map(|offer| offer.floor).max()
    }
}

fn read(
    channel: &Channel,
    name: &str,
    target: &Target,
    targets: &Targets,
) -> Result<Offer, Reason> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }

    let value = target
        .custom
        .as_ref()
        .map_or(&Value::Null, |custom| &custom["strake"]);
    let Format { format } = Format::deserialize(value)?;
    if format != FORMAT {
        return Err(Reason::Format(format));
    }
    let mut offer = Offer::deserialize(value)?;
    let held = target.custom.as_ref().and_then(|custom| custom.get(HELD));
    offer.held = held.map(Hold::deserialize).transpose()?;
    offer.check(channel, name, targets)?;
    Ok(offer)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::time::Timestamp;
    use crate::tuf::role::{Hashes, Head};

    fn part() -> Part {
        Part {
            length: 10,
            sha256: Digest::of(b""),
        }
    }

    fn offer(version: &str) -> Offer {
        Offer {
            format: FORMAT,
            version: version.parse().unwrap(),
            architecture: "x86-64".into(),
            kernel: "6.12.0".into(),
            min_from: None,
            floor: None,
            retracted: None,
            rollout: Rollout::immediate(Timestamp::from_unix(0)),
            usr: Usr {
                size: 8192,
                root_hash: Digest::of(b"root"),
                salt: "00ff".into(),
                blocks: "blocks".into(),
                index: part(),
                tree: "tree".into(),
            },
            uki: "uki".into(),
            deltas: Vec::new(),
            held: None,
        }
    }

    fn targets(offers: &[(&str, Value)]) -> Targets {
        let target = |custom| Target {
            length: 100,
            hashes: Hashes {
                sha256: Digest::of(b""),
            },
            custom,
        };
        let files = ["blocks", "tree", "uki"];
        let files = files.map(|name| (name.to_owned(), target(None)));
        let offers = offers
            .iter()
            .map(|(n, custom)| ((*n).to_owned(), target(Some(custom.clone()))));
        Targets {
            head: Head::new("targets", 1, Timestamp::from_unix(1)),
            targets: files.into_iter().chain(offers).collect(),
            delegations: None,
        }
    }

    #[test]
    fn offers_are_read_as_signed_and_oldest_first() {
        let (new, old) = (offer("1.10.0"), offer("1.9.0"));
        let targets = targets(&[
            ("s_1.10.0.json", new.to_custom()),
            ("s_1.9.0.json", old.to_custom()),
        ]);
        let catalog = Catalog::read(&"s".parse().unwrap(), &targets);
        assert_eq!(catalog.offers, [old, new]);
        assert!(catalog.invalid.is_empty());
        assert!(
            Catalog::read(&"t".parse().unwrap(), &targets)
                .offers
                .is_empty()
        );
    }

    #[test]
    fn what_cannot_be_used_says_which_field_and_hides_no_other() {
        let good = offer("1.0.0");
        let change = |pointer: &str, value: Value| {
            let mut custom = offer("2.0.0").to_custom();
            *custom.pointer_mut(&format!("/strake{pointer}")).unwrap() = value;
            custom
        };
        for (custom, expected) in [
            (
                change("/format", json!(2)),
                "format is 2; this machine understands 1",
            ),
            (change("/version", json!("3.0.0")), "version is 3.0.0"),
            (
                change("/version", json!("3.0")),
                "custom.strake cannot be read",
            ),
            (change("/usr/size", json!(4097)), "usr.size is 4097"),
            (change("/usr/size", json!(0)), "usr.size is 0"),
            (change("/usr/salt", json!("0g")), "usr.salt is not"),
            (
                change("/uki", json!("none")),
                "uki names none, which is no target",
            ),
            (
                change("/usr/index/length", json!(101)),
                "usr.blocks.length is 101",
            ),
            (json!({"other": 1}), "custom.strake cannot be read"),
        ] {
            let targets = targets(&[("s_1.0.0.json", good.to_custom()), ("s_2.0.0.json", custom)]);
            let catalog = Catalog::read(&"s".parse().unwrap(), &targets);
            assert_eq!(catalog.offers, std::slice::from_ref(&good));
            let reason = catalog.invalid[0].source().unwrap().to_string();
            assert!(reason.contains(expected), "{reason}");
        }
    }
}

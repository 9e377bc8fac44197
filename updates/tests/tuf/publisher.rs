//! A publisher in memory: signs whatever it is told to, right or wrong. Each field is a knob.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use serde_json::json;
use strake_updates::digest::Digest;
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::envelope::Envelope;
use strake_updates::tuf::key::Key;
use strake_updates::tuf::role::{
    Body, Delegation, Delegations, Hashes, Head, Meta, RoleKeys, Roles, Root, Snapshot, Target,
    Targets, Timestamp, TimestampMeta,
};

/// 2030-01-01T00:00:00Z, the present of these tests.
pub(crate) const NOW: u64 = 1_893_456_000;
pub(crate) const WEEK: u64 = 604_800;

pub(crate) struct Publisher {
    pub(crate) root: Root,
    pub(crate) root_signers: Vec<SigningKey>,
    pub(crate) timestamp: Timestamp,
    pub(crate) snapshot: Snapshot,
    pub(crate) targets: Targets,
    pub(crate) channel: Targets,
    pub(crate) online: SigningKey,
    pub(crate) offline: SigningKey,
    pub(crate) channel_key: SigningKey,
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn public(key: &SigningKey) -> Key {
    Key::ed25519(&key.verifying_key())
}

pub(crate) fn role(keys: &[&SigningKey], threshold: u32) -> RoleKeys {
    let keyids = keys.iter().map(|key| public(key).id().unwrap()).collect();
    RoleKeys {
        keyids,
        threshold: threshold.try_into().unwrap(),
    }
}

pub(crate) fn sign<T: Body>(body: T, keys: &[&SigningKey]) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(body).unwrap();
    keys.iter().for_each(|key| envelope.sign(key));
    envelope.to_bytes()
}

fn head(kind: &str) -> Head {
    Head::new(kind, 1, Time::from_unix(NOW + WEEK))
}

fn listed(version: u64, bytes: &[u8]) -> Meta {
    let hashes = Some(Hashes {
        sha256: Digest::of(bytes),
    });
    Meta {
        version,
        length: Some(bytes.len() as u64),
        hashes,
    }
}

/// The files of one state of the repository, as a client receives them.
pub(crate) struct Files {
    pub(crate) root: Vec<u8>,
    pub(crate) timestamp: Vec<u8>,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) targets: Vec<u8>,
    pub(crate) channel: Vec<u8>,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        let (root_a, root_b) = (key(1), key(2));
        let (online, offline, channel_key) = (key(3), key(4), key(5));
        let all = [&root_a, &root_b, &online, &offline];
        let root = Root {
            head: head("root"),
            consistent_snapshot: true,
            keys: all
                .map(|key| (public(key).id().unwrap(), public(key)))
                .into(),
            roles: Roles {
                root: role(&[&root_a, &root_b], 2),
                timestamp: role(&[&online], 1),
                snapshot: role(&[&online], 1),
                targets: role(&[&offline], 1),
            },
        };
        let delegations = Delegations {
            keys: [(public(&channel_key).id().unwrap(), public(&channel_key))].into(),
            roles: vec![Delegation {
                name: "stable".into(),
                keys: role(&[&channel_key], 1),
                terminating: false,
                paths: vec!["stable/*".into()],
            }],
        };
        let target = |content: &[u8]| Target {
            length: content.len() as u64,
            hashes: Hashes {
                sha256: Digest::of(content),
            },
            custom: Some(json!({"version": "1.0.0"})),
        };
        let offered = [
            ("stable/1.0.0.json".to_owned(), target(b"release")),
            ("beta/2.0.0.json".to_owned(), target(b"not this channel's")),
        ];

        Self {
            root,
            root_signers: vec![root_a, root_b],
            timestamp: Timestamp {
                head: head("timestamp"),
                meta: TimestampMeta {
                    snapshot: listed(1, b""),
                },
                issued: Some(Time::from_unix(NOW)),
                holds: Vec::new(),
            },
            snapshot: Snapshot {
                head: head("snapshot"),
                meta: BTreeMap::new(),
            },
            targets: Targets {
                head: head("targets"),
                targets: BTreeMap::new(),
                delegations: Some(delegations),
            },
            channel: Targets {
                head: head("targets"),
                targets: offered.into(),
                delegations: None,
            },
            online,
            offline,
            channel_key,
        }
    }

    /// All files, each listed in the next one up.
    pub(crate) fn files(&self) -> Files {
        let channel = sign(self.channel.clone(), &[&self.channel_key]);
        let targets = sign(self.targets.clone(), &[&self.offline]);
        let mut snapshot = self.snapshot.clone();
        for (name, version, bytes) in [
            ("stable.json", self.channel.head.version, &channel),
            ("targets.json", self.targets.head.version, &targets),
        ] {
            snapshot.meta.insert(name.into(), listed(version, bytes));
        }
        let version = snapshot.head.version;
        let snapshot = sign(snapshot, &[&self.online]);
        let mut timestamp = self.timestamp.clone();
        timestamp.meta.snapshot = listed(version, &snapshot);
        let signers: Vec<_> = self.root_signers.iter().collect();
        Files {
            root: sign(self.root.clone(), &signers),
            timestamp: sign(timestamp, &[&self.online]),
            snapshot,
            targets,
            channel,
        }
    }

    /// The next version of everything below root.
    pub(crate) fn publish(&mut self) {
        for head in [
            &mut self.timestamp.head,
            &mut self.snapshot.head,
            &mut self.targets.head,
            &mut self.channel.head,
        ] {
            head.version += 1;
        }
    }
}

//! Signs whatever is wanted with keys that were stolen from the publisher's desk.

use std::fs;

use ed25519_dalek::SigningKey;
use strake_updates::digest::{Digest, hex_bytes};
use strake_updates::tuf::envelope::Envelope;
use strake_updates::tuf::role::{Body, Hashes, Meta, Snapshot, Targets, Timestamp};

use crate::workshop::Workshop;

const LIMIT: u64 = 1 << 20;

/// The secret keys of a role.
pub(crate) fn steal(workshop: &Workshop, role: &str) -> Vec<SigningKey> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(workshop.path("keys")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with(&format!("{role}-")) {
            let file: serde_json::Value =
                serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let seed = hex_bytes(file["secret"].as_str().unwrap()).unwrap();
            keys.push(SigningKey::from_bytes(&seed.try_into().unwrap()));
        }
    }
    assert!(!keys.is_empty(), "there is no key of {role}");
    keys
}

pub(crate) fn sign<T: Body>(body: T, keys: &[SigningKey]) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(body).unwrap();
    keys.iter().for_each(|key| envelope.sign(key));
    envelope.to_bytes()
}

/// A published metadata file's content.
pub(crate) fn read<T: Body>(workshop: &Workshop, name: &str) -> T {
    let path = workshop.repo().join("metadata").join(name);
    let bytes = fs::read(path).unwrap();
    Envelope::<T>::parse(&bytes, LIMIT).unwrap().into_body()
}

pub(crate) fn meta(version: u64, bytes: &[u8]) -> Meta {
    let sha256 = Digest::of(bytes);
    Meta {
        version,
        length: Some(bytes.len() as u64),
        hashes: Some(Hashes { sha256 }),
    }
}

/// The newest versions, as the timestamp and the snapshot list them.
pub(crate) fn newest(workshop: &Workshop) -> (Timestamp, Snapshot) {
    let timestamp: Timestamp = read(workshop, "timestamp.json");
    let version = timestamp.meta.snapshot.version;
    let snapshot = read(workshop, &format!("{version}.snapshot.json"));
    (timestamp, snapshot)
}

/// What the channel stable offers, and the version of its file.
pub(crate) fn stable(workshop: &Workshop) -> (Targets, u64) {
    let (_, snapshot) = newest(workshop);
    let version = snapshot.meta["stable.json"].version;
    (read(workshop, &format!("{version}.stable.json")), version)
}

/// Publishes a snapshot that lists another file for a role, with the stolen online keys.
pub(crate) fn list(workshop: &Workshop, role: &str, version: u64, bytes: &[u8]) {
    let (mut timestamp, mut snapshot) = newest(workshop);
    let metadata = workshop.repo().join("metadata");
    fs::write(metadata.join(format!("{version}.{role}.json")), bytes).unwrap();
    snapshot
        .meta
        .insert(format!("{role}.json"), meta(version, bytes));
    snapshot.head.version += 1;
    let number = snapshot.head.version;
    let snapshot = sign(snapshot, &steal(workshop, "snapshot"));
    fs::write(metadata.join(format!("{number}.snapshot.json")), &snapshot).unwrap();
    timestamp.head.version += 1;
    timestamp.meta.snapshot = meta(number, &snapshot);
    publish_timestamp(workshop, timestamp);
}

pub(crate) fn publish_timestamp(workshop: &Workshop, timestamp: Timestamp) {
    let bytes = sign(timestamp, &steal(workshop, "timestamp"));
    let path = workshop.repo().join("metadata/timestamp.json");
    fs::write(path, bytes).unwrap();
}

//! The way from a trusted root to the files of a channel, one verified step at a time.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chain::Anchor;
use super::envelope::{BelowThreshold, Envelope, Malformed, check_key_ids};
use super::key::KeyId;
use super::role::{
    Body, Delegation, HELD, Head, Hold, Meta, Root, Snapshot, Target, Targets, Timestamp,
};
use super::{SNAPSHOT_LIMIT, TARGETS_LIMIT, TIMESTAMP_LIMIT};
use crate::digest::Digest;
use crate::time::Timestamp as Time;

/// What former runs proved. An older version of anything in here is an attack or an accident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub timestamp: u64,
    pub snapshot: u64,
    /// Versions the last snapshot listed, by file name.
    pub roles: BTreeMap<String, u64>,
    /// The keys of timestamp and snapshot these versions were signed with.
    pub keys: BTreeSet<KeyId>,
    /// The latest time a signed file proved: no clock is right that shows an earlier one.
    pub clock: Time,
}

/// A file of the repository that is to be fetched next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Below the metadata directory.
    pub name: String,
    /// More bytes are not to be read.
    pub limit: u64,
}

/// A metadata file that is not believed. The cause is the source.
#[derive(Debug, thiserror::Error)]
#[error("{file} is refused")]
pub struct Refused {
    pub file: String,
    #[source]
    pub reason: Reason,
}

/// Why a metadata file is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error("it cannot be read")]
    Malformed(#[from] Malformed),
    #[error("too few signatures")]
    Unsigned(#[from] BelowThreshold),
    #[error("version is {found}, expected {expected}")]
    Version { found: u64, expected: u64 },
    #[error("{role} is at version {found}, but version {seen} was seen before (rollback)")]
    RolledBack { role: String, found: u64, seen: u64 },
    #[error("expires is {expires}, and it is {now}")]
    Expired { expires: Time, now: Time },
    #[error("length is {found} bytes, signed are {signed}")]
    Length { found: u64, signed: u64 },
    #[error("sha256 is {found}, signed is {signed}")]
    Sha256 { found: Digest, signed: Digest },
    #[error("it has no entry for {0}")]
    NoEntry(String),
    #[error("no role {0} is delegated")]
    NotDelegated(String),
}

/// The newest timestamp.
#[derive(Clone, Debug)]
pub struct Timed {
    anchor: Anchor,
    snapshot: Meta,
    holds: Vec<Hold>,
}

/// One consistent view: the snapshot and the top-level targets file it lists.
#[derive(Clone, Debug)]
pub struct Consistent {
    anchor: Anchor,
    snapshot: Snapshot,
    holds: Vec<Hold>,
}

/// The view with its delegations: channels can be read.
#[derive(Clone, Debug)]
pub struct Verified {
    view: Consistent,
    targets: Targets,
}

impl Refused {
    pub(super) fn new(file: impl Into<String>, reason: impl Into<Reason>) -> Self {
        Self {
            file: file.into(),
            reason: reason.into(),
        }
    }
}

impl Seen {
    /// Whoever held a key that was removed may have signed absurdly high versions and times; they
    /// must not lock the machine out of what the remaining keys sign.
    pub(super) fn forget_what_removed_keys_said(&mut self, root: &Root) {
        let keys = [&root.roles.timestamp, &root.roles.snapshot];
        let current: BTreeSet<_> = keys.iter().flat_map(|role| role.keyids.clone()).collect();
        if !self.keys.is_subset(&current) {
            (self.timestamp, self.snapshot) = (0, 0);
            self.roles.clear();
            self.clock = Time::default();
        }
        self.keys = current;
    }
}

impl Anchor {
    pub fn wanted(&self) -> Wanted {
        Wanted {
            name: "timestamp.json".into(),
            limit: TIMESTAMP_LIMIT,
        }
    }

    pub fn timestamp(mut self, bytes: &[u8]) -> Result<Timed, Refused> {
        let file = self.wanted().name;
        let refused = |reason| Refused::new(file.clone(), reason);
        let role = &self.root.roles.timestamp;
        let envelope = Envelope::<Timestamp>::parse(bytes, TIMESTAMP_LIMIT)
            .map_err(|error| refused(error.into()))?;
        envelope
            .check(Timestamp::TYPE, &self.root.keys, role)
            .map_err(|error| refused(error.into()))?;
        let body = envelope.into_body();
        let (version, snapshot) = (body.head.version, body.meta.snapshot);
        not_older("timestamp", version, self.seen.timestamp).map_err(refused)?;
        not_older("snapshot", snapshot.version, self.seen.snapshot).map_err(refused)?;
        if let Some(issued) = body.issued {
            self.seen.clock = self.seen.clock.max(issued);
            self.now = self.now.max(issued);
        }
        check_expiry(&body.head, self.now).map_err(refused)?;
        self.seen.timestamp = version;
        Ok(Timed {
            anchor: self,
            snapshot,
            holds: body.holds,
        })
    }

    fn name(&self, role: &str, version: u64) -> String {
        if self.root.consistent_snapshot {
            format!("{version}.{role}.json")
        } else {
            format!("{role}.json")
        }
    }
}

impl Timed {
    /// What to keep even if the next step fails.
    pub fn seen(&self) -> &Seen {
        &self.anchor.seen
    }

    /// The version that is current; equal to the one seen before, nothing has changed since.
    pub fn snapshot_version(&self) -> u64 {
        self.snapshot.version
    }

    pub fn wanted(&self) -> Wanted {
        let name = self.anchor.name("snapshot", self.snapshot.version);
        Wanted {
            name,
            limit: self
                .snapshot
                .length
                .unwrap_or(SNAPSHOT_LIMIT)
                .min(SNAPSHOT_LIMIT),
        }
    }

    pub fn snapshot(mut self, bytes: &[u8]) -> Result<Consistent, Refused> {
        let Wanted { name: file, limit } = self.wanted();
        let refused = |reason| Refused::new(file.clone(), reason);
        let root = &self.anchor.root;
        let envelope = check_listed::<Snapshot>(bytes, &self.snapshot, limit).map_err(refused)?;
        envelope
            .check(Snapshot::TYPE, &root.keys, &root.roles.snapshot)
            .map_err(|error| refused(error.into()))?;
        let snapshot = envelope.into_body();
        for (role, seen) in &self.anchor.seen.roles {
            let listed = snapshot.meta.get(role);
            let meta = listed.ok_or_else(|| refused(Reason::NoEntry(role.clone())))?;
            not_older(role, meta.version, *seen).map_err(refused)?;
        }
        check_expiry(&snapshot.head, self.anchor.now).map_err(refused)?;
        let versions = snapshot
            .meta
            .iter()
            .map(|(name, meta)| (name.clone(), meta.version));
        self.anchor.seen.roles = versions.collect();
        self.anchor.seen.snapshot = snapshot.head.version;
        Ok(Consistent {
            anchor: self.anchor,
            snapshot,
            holds: self.holds,
        })
    }
}

impl Consistent {
    pub fn wanted(&self) -> Result<Wanted, Refused> {
        self.listed("targets").map(|(wanted, _)| wanted)
    }

    pub fn targets(self, bytes: &[u8]) -> Result<Verified, Refused> {
        let (Wanted { name: file, limit }, meta) = self.listed("targets")?;
        let root = &self.anchor.root;
        let check = || -> Result<Targets, Reason> {
            let envelope = check_listed::<Targets>(bytes, meta, limit)?;
            envelope.check(Targets::TYPE, &root.keys, &root.roles.targets)?;
            if let Some(delegations) = &envelope.body().delegations {
                check_key_ids(&delegations.keys)?;
            }
            check_expiry(&envelope.body().head, self.anchor.now)?;
            Ok(envelope.into_body())
        };
        let targets = check().map_err(|reason| Refused::new(file, reason))?;
        Ok(Verified {
            view: self,
            targets,
        })
    }

    fn listed(&self, role: &str) -> Result<(Wanted, &Meta), Refused> {
        let file = || self.anchor.name("snapshot", self.snapshot.head.version);
        let entry = format!("{role}.json");
        let Some(meta) = self.snapshot.meta.get(&entry) else {
            return Err(Refused::new(file(), Reason::NoEntry(entry)));
        };
        let limit = meta.length.unwrap_or(TARGETS_LIMIT).min(TARGETS_LIMIT);
        Ok((
            Wanted {
                name: self.anchor.name(role, meta.version),
                limit,
            },
            meta,
        ))
    }
}

impl Verified {
    pub fn anchor(&self) -> &Anchor {
        &self.view.anchor
    }

    /// What to keep for the next run.
    pub fn seen(&self) -> &Seen {
        &self.view.anchor.seen
    }

    /// The time all expiry dates were held against.
    pub fn now(&self) -> Time {
        self.view.anchor.now
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.view.snapshot
    }

    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The delegated roles: the repository's channels.
    pub fn delegations(&self) -> impl Iterator<Item = &Delegation> {
        self.targets
            .delegations
            .iter()
            .flat_map(|delegations| &delegations.roles)
    }

    pub fn wanted(&self, channel: &str) -> Result<Wanted, Refused> {
        self.delegation(channel)?;
        self.view.listed(channel).map(|(wanted, _)| wanted)
    }

    /// The targets a channel's role speaks for; others it may list are left out, and those that
    /// are held are marked.
    pub fn channel(&self, channel: &str, bytes: &[u8]) -> Result<Targets, Refused> {
        let delegation = self.delegation(channel)?;
        let (Wanted { name: file, limit }, meta) = self.view.listed(channel)?;
        let no_keys = BTreeMap::new();
        let keys = self
            .targets
            .delegations
            .as_ref()
            .map_or(&no_keys, |all| &all.keys);
        let check = || -> Result<Targets, Reason> {
            let envelope = check_listed::<Targets>(bytes, meta, limit)?;
            envelope.check(channel, keys, &delegation.keys)?;
            check_expiry(&envelope.body().head, self.now())?;
            Ok(envelope.into_body())
        };
        let mut targets = check().map_err(|reason| Refused::new(file, reason))?;
        targets.targets.retain(|name, _| delegation.covers(name));
        for hold in self
            .view
            .holds
            .iter()
            .filter(|hold| hold.channel == channel)
        {
            if let Some(target) = targets.targets.get_mut(&hold.target) {
                mark(target, hold);
            }
        }
        Ok(targets)
    }

    /// Where a target lies below the targets directory.
    pub fn target_path(&self, name: &str, target: &Target) -> String {
        if !self.view.anchor.root.consistent_snapshot {
            return name.to_owned();
        }
        let digest = target.hashes.sha256;
        match name.rsplit_once('/') {
            Some((directory, base)) => format!("{directory}/{digest}.{base}"),
            None => format!("{digest}.{name}"),
        }
    }

    fn delegation(&self, channel: &str) -> Result<&Delegation, Refused> {
        let file = || self.view.anchor.name("targets", self.targets.head.version);
        self.delegations()
            .find(|delegation| delegation.name == channel)
            .ok_or_else(|| Refused::new(file(), Reason::NotDelegated(channel.to_owned())))
    }
}

fn mark(target: &mut Target, hold: &Hold) {
    let hold = serde_json::to_value(hold).unwrap_or_default();
    let custom = target
        .custom
        .get_or_insert_with(|| Value::Object(Map::new()));
    if let Some(custom) = custom.as_object_mut() {
        custom.insert(HELD.to_owned(), hold);
    }
}

/// Length, digest and version as another role signed them; the bytes are not parsed before.
fn check_listed<T: Body>(bytes: &[u8], meta: &Meta, limit: u64) -> Result<Envelope<T>, Reason> {
    let found = bytes.len() as u64;
    if let Some(signed) = meta.length.filter(|signed| found > *signed) {
        return Err(Reason::Length { found, signed });
    }
    if let Some(hashes) = &meta.hashes {
        let (found, signed) = (Digest::of(bytes), hashes.sha256);
        if found != signed {
            return Err(Reason::Sha256 { found, signed });
        }
    }
    let envelope = Envelope::<T>::parse(bytes, limit)?;
    let (found, expected) = (envelope.body().head().version, meta.version);
    if found != expected {
        return Err(Reason::Version { found, expected });
    }
    Ok(envelope)
}

fn not_older(role: &str, found: u64, seen: u64) -> Result<(), Reason> {
    if found >= seen {
        return Ok(());
    }
    Err(Reason::RolledBack {
        role: role.to_owned(),
        found,
        seen,
    })
}

pub(super) fn check_expiry(head: &Head, now: Time) -> Result<(), Reason> {
    if now < head.expires {
        return Ok(());
    }
    Err(Reason::Expired {
        expires: head.expires,
        now,
    })
}

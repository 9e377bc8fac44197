//! Signs drafts and publishes them.
//!
//! A draft may be signed on several machines in turn: `sign` adds what the keys at hand can add.
//! Publishing writes every new file under its versioned name first, where no client looks yet;
//! the rename of `timestamp.json` makes them all the repository at once.

use std::fs;

use anyhow::Context as _;
use strake_updates::digest::Digest;
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::envelope::Envelope;
use strake_updates::tuf::role::{
    Body, Delegations, Hashes, Head, Hold, Meta, RoleKeys, Root, Snapshot, Targets, Timestamp,
    TimestampMeta,
};

use crate::Outcome;
use crate::keys::Keyring;
use crate::repository::{Published, Repository, replace};

/// A role with the keys that may speak for it now and, when they are changed, from now on.
struct Signing<'a> {
    keyring: &'a Keyring,
    /// Before the drafts.
    old: Option<&'a Root>,
    /// After them.
    new: &'a Root,
}

pub(crate) fn sign(
    repository: &Repository,
    keyring: &Keyring,
    now: Time,
) -> anyhow::Result<Outcome> {
    let published = if repository.exists() {
        Some(repository.published()?)
    } else {
        None
    };
    let drafted: Option<Envelope<Root>> = repository.draft("root")?;
    let old = published.as_ref().map(|published| published.root.body());
    let new = drafted
        .as_ref()
        .map(Envelope::body)
        .or(old)
        .context("there is no root")?
        .clone();
    let signing = Signing {
        keyring,
        old,
        new: &new,
    };
    let mut lacking = Vec::new();

    let root = match drafted {
        Some(mut root) => {
            signing.sign(&mut root, |root| &root.roles.root);
            let by = [signing.old, Some(&new)].into_iter().flatten();
            let checks = by.map(|by| root.check("root", &by.keys, &by.roles.root));
            lacking.extend(checks.filter_map(Result::err));
            repository.write_draft("root", &root)?;
            Some(root)
        }
        None => None,
    };
    let targets = match repository.draft::<Targets>("targets")? {
        Some(mut targets) => {
            signing.sign(&mut targets, |root| &root.roles.targets);
            lacking.extend(
                targets
                    .check("targets", &new.keys, &new.roles.targets)
                    .err(),
            );
            repository.write_draft("targets", &targets)?;
            Some(targets)
        }
        None => None,
    };
    let top = match (&targets, &published) {
        (Some(targets), _) => Some(targets.body().clone()),
        (None, Some(published)) => repository
            .published_targets(published, "targets")?
            .map(Envelope::into_body),
        (None, None) => None,
    };
    let delegations = top.and_then(|top| top.delegations).unwrap_or_default();
    let channels = sign_channels(repository, keyring, &delegations, &mut lacking)?;
    if root.is_none() && targets.is_none() && channels.is_empty() {
        println!("there is no draft to sign");
        return Ok(Outcome::NothingToDo);
    }
    if !lacking.is_empty() {
        lacking
            .iter()
            .for_each(|lack| println!("not yet published: {lack}"));
        return Ok(Outcome::Done);
    }
    if !signing.is_online() {
        println!("not yet published: the keys of snapshot and timestamp are not at hand");
        return Ok(Outcome::Done);
    }
    let mut files: Vec<(String, Envelope<Targets>)> = channels;
    files.extend(targets.map(|targets| ("targets".to_owned(), targets)));
    publish(
        repository,
        &signing,
        published.as_ref(),
        root.as_ref(),
        &files,
        now,
    )?;
    for role in files
        .iter()
        .map(|(role, _)| role.as_str())
        .chain(root.as_ref().map(|_| "root"))
    {
        let draft = repository.drafts().join(format!("{role}.json"));
        fs::remove_file(&draft).with_context(|| format!("removing {}", draft.display()))?;
        println!("published: {role}");
    }
    Ok(Outcome::Done)
}

fn sign_channels(
    repository: &Repository,
    keyring: &Keyring,
    delegations: &Delegations,
    lacking: &mut Vec<strake_updates::tuf::envelope::BelowThreshold>,
) -> anyhow::Result<Vec<(String, Envelope<Targets>)>> {
    let mut signed = Vec::new();
    for delegation in &delegations.roles {
        let name = &delegation.name;
        let Some(mut channel) = repository.draft::<Targets>(name)? else {
            continue;
        };
        let keys = delegation
            .keys
            .keyids
            .iter()
            .filter_map(|id| keyring.key(id));
        keys.for_each(|key| channel.sign(key));
        lacking.extend(
            channel
                .check(name, &delegations.keys, &delegation.keys)
                .err(),
        );
        repository.write_draft(name, &channel)?;
        signed.push((name.clone(), channel));
    }
    Ok(signed)
}

impl Signing<'_> {
    /// Old keys sign too while they can, so that clients of either root believe the file.
    fn sign<T: Body>(&self, envelope: &mut Envelope<T>, role: impl Fn(&Root) -> &RoleKeys) {
        for root in [self.old, Some(self.new)].into_iter().flatten() {
            let keys = role(root)
                .keyids
                .iter()
                .filter_map(|id| self.keyring.key(id));
            keys.for_each(|key| envelope.sign(key));
        }
    }

    /// Whether what is drafted can also be published here.
    fn is_online(&self) -> bool {
        [&self.new.roles.snapshot, &self.new.roles.timestamp]
            .iter()
            .all(|role| self.keyring.reaches(role))
    }

    fn signed<T: Body>(
        &self,
        body: T,
        role: impl Fn(&Root) -> &RoleKeys,
    ) -> anyhow::Result<Envelope<T>> {
        let mut envelope = Envelope::unsigned(body)?;
        self.sign(&mut envelope, &role);
        envelope
            .check(T::TYPE, &self.new.keys, role(self.new))
            .with_context(|| format!("signing {}: its key is not at hand", T::TYPE))?;
        Ok(envelope)
    }
}

fn publish(
    repository: &Repository,
    signing: &Signing<'_>,
    published: Option<&Published>,
    root: Option<&Envelope<Root>>,
    files: &[(String, Envelope<Targets>)],
    now: Time,
) -> anyhow::Result<()> {
    let expires = now.after(repository.settings()?.online_expiry);
    let dir = repository.metadata();
    let old = published.map(|published| published.snapshot.body());
    let mut meta = old.map(|old| old.meta.clone()).unwrap_or_default();
    let mut new_files = Vec::new();
    for (role, envelope) in files {
        let (version, bytes) = (envelope.body().head.version, envelope.to_bytes());
        meta.insert(format!("{role}.json"), listed(version, &bytes));
        new_files.push((format!("{version}.{role}.json"), bytes));
    }
    let version = old.map_or(0, |old| old.head.version) + 1;
    let head = Head::new(Snapshot::TYPE, version, expires);
    let snapshot = signing.signed(Snapshot { head, meta }, |root| &root.roles.snapshot)?;
    let listed = listed(version, &snapshot.to_bytes());
    new_files.push((format!("{version}.snapshot.json"), snapshot.to_bytes()));
    let held = holds(published);
    let timestamp = timestamp(signing, published, listed, held, (now, expires))?;

    for (name, bytes) in new_files {
        replace(&dir.join(name), &bytes)?;
    }
    let root = root.map(|root| (format!("{}.root.json", root.body().head.version), root));
    let write_root = || match &root {
        Some((name, root)) => replace(&dir.join(name), &root.to_bytes()),
        None => Ok(()),
    };
    let write_timestamp = || replace(&dir.join("timestamp.json"), &timestamp.to_bytes());
    // Whoever still follows the old root must find a timestamp it believes. Only when the old key
    // is lost must the root come first.
    let old_believes = signing.old.is_none_or(|old| {
        timestamp
            .check(Timestamp::TYPE, &old.keys, &old.roles.timestamp)
            .is_ok()
            && snapshot
                .check(Snapshot::TYPE, &old.keys, &old.roles.snapshot)
                .is_ok()
    });
    if old_believes && published.is_some() {
        write_timestamp()?;
        write_root()
    } else {
        write_root()?;
        write_timestamp()
    }
}

fn timestamp(
    signing: &Signing<'_>,
    published: Option<&Published>,
    snapshot: Meta,
    holds: Vec<Hold>,
    (now, expires): (Time, Time),
) -> anyhow::Result<Envelope<Timestamp>> {
    let version = published.map_or(0, |published| published.timestamp.body().head.version) + 1;
    let body = Timestamp {
        head: Head::new(Timestamp::TYPE, version, expires),
        meta: TimestampMeta { snapshot },
        issued: Some(now),
        holds,
    };
    signing.signed(body, |root| &root.roles.timestamp)
}

/// Holds stay until they are lifted, whatever else is published.
fn holds(published: Option<&Published>) -> Vec<Hold> {
    published.map_or_else(Vec::new, |published| {
        published.timestamp.body().holds.clone()
    })
}

/// Publishes other holds, and nothing else: what was valid until a time stays so until then.
pub(crate) fn hold(
    repository: &Repository,
    keyring: &Keyring,
    now: Time,
    holds: Vec<Hold>,
) -> anyhow::Result<()> {
    let published = repository.published()?;
    let root = published.root.body();
    let signing = Signing {
        keyring,
        old: Some(root),
        new: root,
    };
    let before = published.timestamp.body();
    let (listed, expires) = (before.meta.snapshot.clone(), before.head.expires);
    let timestamp = timestamp(&signing, Some(&published), listed, holds, (now, expires))?;
    replace(
        &repository.metadata().join("timestamp.json"),
        &timestamp.to_bytes(),
    )
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

/// A new timestamp; and a new snapshot when more than half of its time is over.
pub(crate) fn refresh(
    repository: &Repository,
    keyring: &Keyring,
    now: Time,
) -> anyhow::Result<Outcome> {
    let published = repository.published()?;
    let root = published.root.body();
    let signing = Signing {
        keyring,
        old: Some(root),
        new: root,
    };
    let expiry = repository.settings()?.online_expiry;
    let left = published.snapshot.body().head.expires.since(now);
    if left.0 < expiry.0 / 2 {
        publish(repository, &signing, Some(&published), None, &[], now)?;
    } else {
        let listed = published.timestamp.body().meta.snapshot.clone();
        let expires = now.after(expiry);
        let held = holds(Some(&published));
        let timestamp = timestamp(&signing, Some(&published), listed, held, (now, expires))?;
        replace(
            &repository.metadata().join("timestamp.json"),
            &timestamp.to_bytes(),
        )?;
    }
    let expires = repository.published()?.timestamp.body().head.expires;
    println!("published: timestamp, valid until {expires}");
    warn_of_expiry(repository, &published, now)?;
    Ok(Outcome::Done)
}

/// What only its keys' holders can renew must be known before it is too late.
fn warn_of_expiry(repository: &Repository, published: &Published, now: Time) -> anyhow::Result<()> {
    let soon = now.after(strake_updates::time::Span::days(30));
    let mut expiries = vec![("root".to_owned(), published.root.body().head.expires)];
    for name in published.snapshot.body().meta.keys() {
        let role = name.trim_end_matches(".json");
        if let Some(targets) = repository.published_targets(published, role)? {
            expiries.push((role.to_owned(), targets.body().head.expires));
        }
    }
    for (role, expires) in expiries.into_iter().filter(|(_, expires)| *expires < soon) {
        eprintln!("strake-release: {role} expires {expires}: renew it with `refresh {role}`");
    }
    Ok(())
}

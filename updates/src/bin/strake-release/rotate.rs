//! New keys in place of a role's old ones, as drafts.

use std::path::Path;

use anyhow::{Context as _, ensure};
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::envelope::Envelope;
use strake_updates::tuf::key::KeyId;
use strake_updates::tuf::role::{Body as _, Head, RoleKeys, Root, Targets};

use crate::Outcome;
use crate::cli::BadInput;
use crate::init::{listed, role};
use crate::keys::{self, Passphrase};
use crate::repository::Repository;

/// The old key files stay where they are: while they can sign, no client is left behind.
pub(crate) fn run(
    repository: &Repository,
    keys_dir: &Path,
    passphrase: Option<&Passphrase>,
    name: &str,
    now: Time,
) -> anyhow::Result<Outcome> {
    match name {
        "root" | "targets" | "snapshot" | "timestamp" => {
            edit_root(repository, keys_dir, passphrase, name, now)?;
        }
        channel => edit_delegation(repository, keys_dir, passphrase, channel, now)?,
    }
    println!("drafted: a new key for {name}; publish it with `sign`");
    Ok(Outcome::Done)
}

/// Drafts roles as they are, to be signed for longer.
pub(crate) fn renew(
    repository: &Repository,
    roles: &[String],
    now: Time,
) -> anyhow::Result<Outcome> {
    for name in roles {
        if name == "root" {
            let published = repository.published()?.root.into_body();
            let version = published.head.version + 1;
            let mut root = repository
                .draft::<Root>(name)?
                .map_or(published, Envelope::into_body);
            let expires = now.after(repository.settings()?.offline_expiry);
            root.head = Head::new(Root::TYPE, version, expires);
            repository.write_draft(name, &Envelope::unsigned(root)?)?;
        } else {
            let published = repository.published()?;
            let known = repository.published_targets(&published, name)?.is_some();
            ensure!(
                known,
                BadInput(format!("the repository has no targets role {name}"))
            );
            repository.edit_targets(name, now, |_| Ok(()))?;
        }
        println!("drafted: {name}; publish it with `sign`");
    }
    Ok(Outcome::Done)
}

fn edit_root(
    repository: &Repository,
    keys_dir: &Path,
    passphrase: Option<&Passphrase>,
    name: &str,
    now: Time,
) -> anyhow::Result<()> {
    let published = repository.published()?.root.into_body();
    let version = published.head.version + 1;
    let mut root = repository
        .draft::<Root>("root")?
        .map_or(published, Envelope::into_body);
    let roles = &mut root.roles;
    let changed = match name {
        "root" => &mut roles.root,
        "targets" => &mut roles.targets,
        "snapshot" => &mut roles.snapshot,
        _ => &mut roles.timestamp,
    };
    let mut new_keys = Vec::new();
    for _ in 0..changed.keyids.len() {
        new_keys.push(keys::make(keys_dir, name, passphrase)?);
    }
    *changed = role(&new_keys, changed.threshold.get())?;
    root.keys.extend(listed(&new_keys)?);
    let roles = &root.roles;
    let used = |id: &KeyId| {
        let all = [
            &roles.root,
            &roles.targets,
            &roles.snapshot,
            &roles.timestamp,
        ];
        all.iter().any(|role| role.keyids.contains(id))
    };
    root.keys.retain(|id, _| used(id));
    let expires = now.after(repository.settings()?.offline_expiry);
    root.head = Head::new(Root::TYPE, version, expires);
    repository.write_draft("root", &Envelope::unsigned(root)?)?;
    if name == "targets" {
        repository.edit_targets("targets", now, |_| Ok(()))?;
    }
    Ok(())
}

fn edit_delegation(
    repository: &Repository,
    keys_dir: &Path,
    passphrase: Option<&Passphrase>,
    channel: &str,
    now: Time,
) -> anyhow::Result<()> {
    repository.edit_targets("targets", now, |top: &mut Targets| {
        let delegations = top
            .delegations
            .as_mut()
            .context("the repository has no channels")?;
        let delegation = delegations
            .roles
            .iter_mut()
            .find(|role| role.name == channel);
        let unknown = || BadInput(format!("the repository has no role {channel}"));
        let delegation = delegation.ok_or_else(unknown)?;
        let key = keys::make(keys_dir, channel, passphrase)?;
        let RoleKeys { keyids, threshold } = role([&key], 1)?;
        delegation.keys = RoleKeys { keyids, threshold };
        delegations.keys.extend(listed([&key])?);
        let used: Vec<_> = delegations
            .roles
            .iter()
            .flat_map(|r| r.keys.keyids.clone())
            .collect();
        delegations.keys.retain(|id, _| used.contains(id));
        Ok(())
    })?;
    repository.edit_targets(channel, now, |_| Ok(()))
}

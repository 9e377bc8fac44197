//! A new repository: keys for every role, and everything signed once.

use std::path::Path;

use anyhow::ensure;
use ed25519_dalek::SigningKey;
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::envelope::Envelope;
use strake_updates::tuf::key::Key;
use strake_updates::tuf::role::{
    Body as _, Delegation, Delegations, Head, RoleKeys, Roles, Root, Targets,
};

use crate::Outcome;
use crate::cli::{BadInput, Init};
use crate::keys::{self, Keyring, Passphrase};
use crate::publish;
use crate::repository::{Repository, Settings};

pub(crate) fn run(
    repository: &Repository,
    keys_dir: &Path,
    passphrase: &Passphrase,
    init: &Init,
    now: Time,
) -> anyhow::Result<Outcome> {
    let bad = |text: &str| BadInput(text.to_owned());
    ensure!(
        !repository.exists(),
        bad("there is a repository here already")
    );
    ensure!(
        init.root_threshold <= init.root_keys,
        bad("--root-threshold is more than --root-keys")
    );
    let secret = init.encrypt.then_some(passphrase);
    let make = |role: &str, secret| keys::make(keys_dir, role, secret);
    let mut root_keys = Vec::new();
    for _ in 0..init.root_keys {
        root_keys.push(make("root", secret)?);
    }
    let targets = make("targets", secret)?;
    // These two sign daily and unattended.
    let (snapshot, timestamp) = (make("snapshot", None)?, make("timestamp", None)?);
    let settings = Settings {
        offline_expiry: init.offline_expiry,
        online_expiry: init.online_expiry,
    };
    let expires = now.after(settings.offline_expiry);

    let mut delegations = Delegations::default();
    let mut channels = init.channels.clone();
    channels.sort();
    channels.dedup();
    for channel in &channels {
        let key = make(channel.as_str(), secret)?;
        delegations.keys.extend(listed([&key])?);
        delegations.roles.push(Delegation {
            name: channel.to_string(),
            keys: role([&key], 1)?,
            terminating: false,
            paths: vec![format!("{channel}_*"), "strake_*".to_owned()],
        });
        let empty = Targets {
            head: Head::new(Targets::TYPE, 1, expires),
            targets: Default::default(),
            delegations: None,
        };
        repository.write_draft(channel.as_str(), &Envelope::unsigned(empty)?)?;
    }
    let top = Targets {
        head: Head::new(Targets::TYPE, 1, expires),
        targets: Default::default(),
        delegations: Some(delegations),
    };
    repository.write_draft("targets", &Envelope::unsigned(top)?)?;
    let root = Root {
        head: Head::new(Root::TYPE, 1, expires),
        consistent_snapshot: true,
        keys: listed(root_keys.iter().chain([&targets, &snapshot, &timestamp]))?,
        roles: Roles {
            root: role(&root_keys, init.root_threshold)?,
            targets: role([&targets], 1)?,
            snapshot: role([&snapshot], 1)?,
            timestamp: role([&timestamp], 1)?,
        },
    };
    repository.write_draft("root", &Envelope::unsigned(root)?)?;
    repository.write_settings(settings)?;
    let keyring = Keyring::load(keys_dir, passphrase, |_| true)?;
    let outcome = publish::sign(repository, &keyring, now)?;
    let (root, keys) = (
        repository.metadata().join("1.root.json"),
        keys_dir.display(),
    );
    println!(
        "machines trust {}: build their image with it",
        root.display()
    );
    println!("keys are in {keys}: only snapshot-*.key and timestamp-*.key are needed every day");
    Ok(outcome)
}

pub(crate) fn listed<'a>(
    keys: impl IntoIterator<Item = &'a SigningKey>,
) -> anyhow::Result<std::collections::BTreeMap<strake_updates::tuf::key::KeyId, Key>> {
    let public = keys
        .into_iter()
        .map(|key| Key::ed25519(&key.verifying_key()));
    public.map(|key| Ok((key.id()?, key))).collect()
}

pub(crate) fn role<'a>(
    keys: impl IntoIterator<Item = &'a SigningKey>,
    threshold: u32,
) -> anyhow::Result<RoleKeys> {
    let keyids = listed(keys)?.into_keys().collect();
    Ok(RoleKeys {
        keyids,
        threshold: threshold.try_into()?,
    })
}

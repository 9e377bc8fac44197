//! Changes to what a channel offers, as drafts.

use anyhow::{Context as _, ensure};
use serde::Deserialize as _;
use strake_updates::channel::Channel;
use strake_updates::offer::Offer;
use strake_updates::rollout::Rollout;
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::envelope::Envelope;
use strake_updates::tuf::role::Targets;
use strake_updates::version::Version;

use crate::Outcome;
use crate::cli::BadInput;
use crate::repository::Repository;

/// Refuses a channel the repository does not have.
pub(crate) fn check_channel(repository: &Repository, channel: &Channel) -> anyhow::Result<()> {
    let top = match repository.draft::<Targets>("targets")? {
        Some(draft) => Some(draft),
        None => repository.published_targets(&repository.published()?, "targets")?,
    };
    let delegations = top
        .and_then(|top| top.into_body().delegations)
        .unwrap_or_default();
    let known = delegations
        .roles
        .iter()
        .any(|role| role.name == channel.as_str());
    ensure!(known, no_channel(channel));
    Ok(())
}

pub(crate) fn no_channel(channel: &Channel) -> BadInput {
    BadInput(format!("the repository has no channel {channel}"))
}

/// What a channel offers, with its draft applied.
pub(crate) fn current(repository: &Repository, channel: &Channel) -> anyhow::Result<Targets> {
    check_channel(repository, channel)?;
    let current = match repository.draft(channel.as_str())? {
        Some(draft) => Some(draft),
        None => repository.published_targets(&repository.published()?, channel.as_str())?,
    };
    current
        .map(Envelope::into_body)
        .with_context(|| format!("channel {channel} was never signed"))
}

/// Changes one offer.
pub(crate) fn offer(
    repository: &Repository,
    version: Version,
    channel: &Channel,
    now: Time,
    change: impl FnOnce(&mut Offer),
) -> anyhow::Result<Outcome> {
    let before = find(&current(repository, channel)?, channel, version)?;
    let mut after = before.clone();
    change(&mut after);
    if before == after {
        println!("{version} in {channel} is so already");
        return Ok(Outcome::NothingToDo);
    }
    repository.edit_targets(channel.as_str(), now, |targets| {
        let name = Offer::target_name(channel, version);
        let target = targets
            .targets
            .get_mut(&name)
            .context("the offer was found above")?;
        target.custom = Some(after.to_custom());
        Ok(())
    })?;
    println!("drafted: {version} in {channel}; publish it with `sign`");
    Ok(Outcome::Done)
}

pub(crate) fn find(
    targets: &Targets,
    channel: &Channel,
    version: Version,
) -> anyhow::Result<Offer> {
    let name = Offer::target_name(channel, version);
    let target = targets.targets.get(&name);
    let target =
        target.ok_or_else(|| BadInput(format!("channel {channel} has no release {version}")))?;
    let custom = target
        .custom
        .as_ref()
        .with_context(|| format!("{name} is no offer"))?;
    Offer::deserialize(&custom["strake"]).with_context(|| format!("reading {name}"))
}

/// Offers a release of one channel in another; the payload is shared, no byte of it is copied.
pub(crate) fn promote(
    repository: &Repository,
    version: Version,
    (from, to): (&Channel, &Channel),
    rollout: Rollout,
    now: Time,
) -> anyhow::Result<Outcome> {
    check_channel(repository, to)?;
    let source = current(repository, from)?;
    let mut offer = find(&source, from, version)?;
    ensure!(
        offer.retracted.is_none(),
        BadInput(format!("{version} was retracted in {from}"))
    );
    (offer.rollout, offer.floor) = (rollout, None);
    let mut descriptor = source.targets[&Offer::target_name(from, version)].clone();
    descriptor.custom = Some(offer.to_custom());
    let published = |channel: &Channel, sha256| {
        repository
            .targets()
            .join(format!("{sha256}.{}", Offer::target_name(channel, version)))
    };
    let sha256 = descriptor.hashes.sha256;
    let bytes = std::fs::read(published(from, sha256)).context("reading the release's file")?;
    crate::repository::replace(&published(to, sha256), &bytes)?;
    repository.edit_targets(to.as_str(), now, |targets| {
        for (_, name, _) in offer.files() {
            let target = source.targets.get(name);
            let target = target.with_context(|| format!("channel {from} has no target {name}"))?;
            targets.targets.insert(name.to_owned(), target.clone());
        }
        targets
            .targets
            .insert(Offer::target_name(to, version), descriptor);
        Ok(())
    })?;
    println!("drafted: {version} in {to}; publish it with `sign`");
    Ok(Outcome::Done)
}

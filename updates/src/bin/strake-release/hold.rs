//! Stops a rollout with the timestamp's key alone, at once and until it is lifted.
//!
//! A hold can only take away: no machine installs because of one. The key that signs it could stop
//! every update anyhow, by signing nothing more.

use anyhow::ensure;
use strake_updates::channel::Channel;
use strake_updates::offer::Offer;
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::role::Hold;
use strake_updates::version::Version;

use crate::cli::BadInput;
use crate::keys::Keyring;
use crate::repository::Repository;
use crate::{Outcome, edit, publish};

/// Holds at a time; the timestamp is fetched by every machine at every check.
const MOST: usize = 16;
/// Bytes of a reason.
const LONGEST: usize = 200;

/// Places a hold, or lifts one, and says so.
pub(crate) fn run(
    repository: &Repository,
    keyring: &Keyring,
    what: (&Channel, Version),
    reason: Option<&str>,
    now: Time,
) -> anyhow::Result<Outcome> {
    let changed = match reason {
        Some(reason) => place(repository, keyring, what, reason, now)?,
        None => lift(repository, keyring, what, now)?,
    };
    let (channel, version) = what;
    let (said, outcome) = match (changed, reason.is_some()) {
        (true, true) => ("published: it is held", Outcome::Done),
        (true, false) => ("published: it is no longer held", Outcome::Done),
        (false, true) => ("it is held already", Outcome::NothingToDo),
        (false, false) => ("it is not held", Outcome::NothingToDo),
    };
    println!("{version} in {channel}: {said}");
    Ok(outcome)
}

/// Whether that changed anything.
pub(crate) fn place(
    repository: &Repository,
    keyring: &Keyring,
    (channel, version): (&Channel, Version),
    reason: &str,
    now: Time,
) -> anyhow::Result<bool> {
    let published = repository.published()?;
    let offers = repository.published_targets(&published, channel.as_str())?;
    let Some(offers) = offers else {
        return Err(edit::no_channel(channel).into());
    };
    edit::find(offers.body(), channel, version)?;
    ensure!(
        (1..=LONGEST).contains(&reason.len()) && !reason.contains(char::is_control),
        BadInput(format!("--reason is not 1 to {LONGEST} bytes in one line"))
    );
    let target = Offer::target_name(channel, version);
    let mut holds = published.timestamp.into_body().holds;
    if holds.iter().any(|hold| hold.target == target) {
        return Ok(false);
    }
    ensure!(
        holds.len() < MOST,
        BadInput(format!("there are {MOST} holds already; lift one"))
    );
    holds.push(Hold {
        channel: channel.to_string(),
        target,
        since: now,
        reason: reason.to_owned(),
    });
    publish::hold(repository, keyring, now, holds)?;
    Ok(true)
}

fn lift(
    repository: &Repository,
    keyring: &Keyring,
    (channel, version): (&Channel, Version),
    now: Time,
) -> anyhow::Result<bool> {
    let mut holds = repository.published()?.timestamp.into_body().holds;
    let before = holds.len();
    let target = Offer::target_name(channel, version);
    holds.retain(|hold| hold.target != target);
    if holds.len() == before {
        return Ok(false);
    }
    publish::hold(repository, keyring, now, holds)?;
    Ok(true)
}

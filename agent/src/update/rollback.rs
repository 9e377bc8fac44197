//! Back to the release in the passive slot, by hand.
//!
//! The older release gets tries first and the newer one loses them second: whatever happens in
//! between, the loader has a release to boot, and should the older one not come up healthy three
//! times, the loader takes the newer one again.

use strake_updates::channel::Channel;
use strake_updates::entry::{Counter, Entry, TRIES};
use strake_updates::version::Version;

use super::disk::{self, Disk};
use super::entries::{self, Entries, is_given_up};
use super::history::{self, Event, What};
use super::node::{self, Attempt, Kind, Node};
use super::{Unknown, boot_id, clock, running};
use crate::apply::write;
use crate::health;
use crate::root::Root;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("release {0} runs, and there is no other one in /efi/EFI/Linux")]
    Nothing(Version),
    #[error("release {other} in the passive slot is newer than {running}; it was not run yet")]
    Newer { other: Version, running: Version },
    #[error("release {0} in the passive slot did not come up healthy before")]
    NotHealthy(Version),
    #[error("release {0} runs and is not blessed: it falls back by itself if it is not healthy")]
    OnTrial(Version),
    #[error("{0} names no root hash")]
    NoHash(Entry),
    #[error("release {version} in the passive slot cannot be used")]
    Damaged {
        version: Version,
        source: disk::Error,
    },
    #[error("finding out what runs")]
    Unknown(#[from] Unknown),
    #[error("finding the slots")]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Entries(#[from] entries::Error),
    #[error("remembering the rollback")]
    Node(#[from] node::Error),
    #[error("writing the history")]
    History(#[from] write::Error),
}

/// Returns the release that the next boot brings.
pub fn run(
    root: &Root,
    channel: &Channel,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Version, Error> {
    let running = running(root)?;
    let entries = Entries::read(root)?;
    let own = entries.of(running);
    let other = entries.other(running).ok_or(Error::Nothing(running))?;
    if other.version > running {
        return Err(Error::Newer {
            other: other.version,
            running,
        });
    }
    if other.counter != Counter::Blessed {
        return Err(Error::NotHealthy(other.version));
    }
    let own = own
        .filter(|own| own.counter == Counter::Blessed)
        .ok_or(Error::OnTrial(running))?;
    let version = other.version;
    let hash = entries.root_hash(other).ok_or(Error::NoHash(other))?;
    let verified = Disk::find(root)?.verify_passive(hash, progress);
    verified.map_err(|source| Error::Damaged { version, source })?;
    let mut node = Node::load(root)?;
    node.pinned = Some(version);
    node.attempt = Some(Attempt {
        version,
        from: running,
        channel: channel.clone(),
        kind: Kind::Rollback,
        time: clock(),
        boot_id: boot_id(root),
    });
    node.save(root)?;
    health::forget_failure(root)?;
    entries.recount(
        other,
        Counter::Trying {
            left: TRIES,
            done: 0,
        },
    )?;
    entries.yield_to(own, version)?;
    let note = format!("from {running}, by hand");
    history::add(
        root,
        Event {
            time: clock(),
            what: What::RolledBack,
            version,
            note,
        },
    )?;
    Ok(version)
}

/// Undoes a rollback that was not rebooted into yet.
pub fn undo(root: &Root) -> Result<bool, Error> {
    let running = running(root)?;
    let mut node = Node::load(root)?;
    let Some(attempt) = node
        .attempt
        .take()
        .filter(|attempt| attempt.kind == Kind::Rollback)
    else {
        return Ok(false);
    };
    let entries = Entries::read(root)?;
    if let Some(own) = entries.of(running).filter(is_given_up) {
        entries.recount(own, Counter::Blessed)?;
    }
    if let Some(other) = entries.of(attempt.version) {
        entries.recount(other, Counter::Blessed)?;
    }
    node.save(root)?;
    Ok(true)
}

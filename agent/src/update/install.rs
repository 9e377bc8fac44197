//! Puts a release into the passive slot and, when asked, makes it the next one to boot.
//!
//! The order is the safety: the slot's old entry goes first, the new one comes last, and what is
//! remembered of the attempt is on the disk before the entry is.

use strake_updates::entry::{Counter, Entry};
use strake_updates::install::fill::install;
use strake_updates::install::remote::Remote;
use strake_updates::install::{InstallError, Report, Watch, uki};
use strake_updates::version::Version;

use super::disk::{self, Disk};
use super::entries::{self, Entries};
use super::history::{self, Event, What};
use super::look::Look;
use super::node::{self, Attempt, Kind, Node};
use super::{Unknown, boot_id, clock, running};
use crate::apply::write;
use crate::health;
use crate::root::Root;

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Into the slot; the next boot is as before.
    Downloaded,
    /// And boot it next.
    Activated,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Installed {
    pub version: Version,
    pub slot: Report,
    /// Bytes fetched for the boot entry.
    pub uki_bytes: u64,
    pub entry: Option<Entry>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("release {0} is not in the channel")]
    NotOffered(Version),
    #[error(
        "release {0} runs and is not blessed yet: until then the other slot is what this machine \
         falls back to, and is not written"
    )]
    OnTrial(Version),
    #[error(
        "release {0} runs and has no boot entry in /efi/EFI/Linux: nothing would be left to fall \
         back to"
    )]
    NoEntry(Version),
    #[error("finding out what runs")]
    Unknown(#[from] Unknown),
    #[error("opening the slots")]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Entries(#[from] entries::Error),
    #[error("installing release {version}")]
    Install {
        version: Version,
        source: InstallError,
    },
    #[error("remembering the attempt")]
    Node(#[from] node::Error),
    #[error("writing the history")]
    History(#[from] write::Error),
}

pub async fn run(
    root: &Root,
    look: &Look,
    version: Version,
    goal: Goal,
    watch: &mut Watch<'_>,
) -> Result<Installed, Error> {
    let offer = look.offer(version).ok_or(Error::NotOffered(version))?;
    let running = running(root)?;
    let entries = Entries::read(root)?;
    let own = entries.of(running).ok_or(Error::NoEntry(running))?;
    if own.counter != Counter::Blessed {
        return Err(Error::OnTrial(running));
    }
    let disk = Disk::find(root)?;
    let active = disk.active(entries.open(own))?;
    let passive = disk.passive()?;
    let failed = |source| Error::Install { version, source };
    let remote = Remote {
        transport: &look.transport,
        verified: &look.verified,
        targets: &look.targets,
    };
    let library = entries.library();
    let uki_size = remote.target(&offer.uki).map_err(failed)?.length;
    library.check_space(version, uki_size).map_err(failed)?;
    let mut node = Node::load(root)?;
    library.retire(running, version).map_err(failed)?;
    if node.attempt.take().is_some() {
        node.save(root)?;
    }
    let slot = install(&remote, offer, Some(&active), &passive, watch)
        .await
        .map_err(failed)?;
    let part = library.part(version);
    let uki_bytes = uki::fetch(&remote, offer, Some(&active), &part)
        .await
        .map_err(failed)?;
    let mut entry = None;
    if goal == Goal::Activated {
        node.attempt = Some(Attempt {
            version,
            from: running,
            channel: look.decision.channel.clone(),
            kind: if version < running {
                Kind::Rollback
            } else {
                Kind::Update
            },
            time: clock(),
            boot_id: boot_id(root),
        });
        node.save(root)?;
        health::forget_failure(root)?;
        entry = Some(library.activate(version).map_err(failed)?);
        entries.yield_to(own, version)?;
        let note = format!("{} bytes fetched", slot.fetched_bytes + uki_bytes);
        let what = What::Installed;
        history::add(
            root,
            Event {
                time: clock(),
                what,
                version,
                note,
            },
        )?;
    }
    Ok(Installed {
        version,
        slot,
        uki_bytes,
        entry,
    })
}

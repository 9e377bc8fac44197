//! The update client: looks at the channel, puts a release into the passive slot, and knows what
//! became of it.
//!
//! [`look`] brings verified metadata and the library's decision, [`install`] does what was decided,
//! [`settle`] reads from the boot entries what became of the last release and remembers it. The
//! same functions serve `strake update ...` and the service ([`service`]).
//!
//! Refuses to touch the passive slot while the running release is on trial: until it is blessed,
//! the other slot is what the machine falls back to.

pub mod alarm;
pub mod bus;
pub mod disk;
pub mod engine;
pub mod entries;
pub mod evidence;
mod figures;
pub mod history;
pub mod install;
pub mod limit;
pub mod live;
pub mod look;
pub mod node;
pub mod outcome;
pub mod report;
pub mod rollback;
pub mod schedule;
pub mod service;
pub mod settings;
pub mod settle;
pub mod status;
pub mod window;

use std::fs::File;
use std::io;

use strake_updates::rollout::MachineId;
use strake_updates::time::Timestamp;
use strake_updates::version::Version;

use crate::root::Root;

/// Why a fact of this machine that updates need is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("/usr/lib/os-release names no version of a release")]
    Release,
    #[error("/etc/machine-id holds no machine id")]
    MachineId,
}

pub fn running(root: &Root) -> Result<Version, Unknown> {
    let text = crate::status::release(root).ok_or(Unknown::Release)?;
    text.parse().map_err(|_| Unknown::Release)
}

pub fn machine_id(root: &Root) -> Result<MachineId, Unknown> {
    let text = root.read_text("/etc/machine-id").unwrap_or_default();
    text.trim().parse().map_err(|_| Unknown::MachineId)
}

pub fn boot_id(root: &Root) -> String {
    let text = root.read_text("/proc/sys/kernel/random/boot_id");
    text.unwrap_or_default().trim().replace('-', "")
}

/// The machine's own clock, which may be wrong.
pub fn clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_unix(since.unwrap_or_default().as_secs())
}

/// Held by whoever changes slots, entries or what is remembered.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, not read")] File);

/// None when another process has it.
pub fn lock(root: &Root) -> io::Result<Option<Lock>> {
    let path = root.follow("/run/strake/update.lock".as_ref())?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let options = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match options.try_lock() {
        Ok(()) => Ok(Some(Lock(options))),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

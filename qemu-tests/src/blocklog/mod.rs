//! What a power cut can leave on a disk: every write and flush of a guest, as QEMU's filter
//! `blklogwrites` records them, and the disks that follow from a part of them.
//!
//! [`Log`] reads the recording, [`Cut`] says which writes a cut lets through, [`Disk`] is the disk
//! after them, without a copy of it: a map from sectors to places in the recording.
//!
//! What is assumed: a write that was recorded before a flush is on the disk after it, since Linux
//! and the firmware wait for their writes before they flush; a sector is written whole or not at
//! all.

mod cut;
mod disk;
mod format;
mod log;

pub use cut::{Cut, Loss, cuts};
pub use disk::{Changes, Disk, Reader, write_out};
pub use format::{Entry, InvalidLog, Kind};
pub use log::Log;

/// Bytes of a sector, of the recording and of everything that is read from it.
pub const SECTOR: u64 = 512;

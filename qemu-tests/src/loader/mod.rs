//! A model of what happens between the firmware and a mounted `/usr`: which boot entry systemd-boot
//! takes, whether its bytes are those of a release, and whether a slot holds all of that release.
//!
//! Independent of the code under test: nothing here is shared with `updates` or `image-builder`.

mod choice;
mod fat;
mod model;
mod slot;
mod tree;
mod uki;

use std::ops::Range;

pub use choice::{Candidate, Counter, order};
pub use fat::{Fat, File, InvalidFat};
pub use model::{Model, Release, Start};
pub use slot::Slots;
pub use tree::{Hash, InvalidTree, Tree};
pub use uki::{Facts, facts};

use crate::blocklog::Reader;

/// Where a part of the disk lies, in bytes.
pub type Part = Range<u64>;

/// The bytes of `Vec` as a disk that never changes.
impl Reader for Vec<u8> {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(bytes.len());
        let found = self.get(range).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn stamp(&self, _: u64, _: u64) -> u64 {
        0
    }
}

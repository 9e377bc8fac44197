//! The two partitions of a slot, or two files in their place.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Advice, fadvise};

use super::workers::in_rounds;
use super::{InstallError, Progress, Watch};
use crate::payload::BLOCK;
use crate::payload::tree::{Tree, length};

/// Bytes read at once; they are hashed while a processor's cache still has them.
pub(super) const BATCH: usize = 256 << 10;
/// The block of the tree whose hash is the root hash.
const ROOT_BLOCK: u64 = 1;

/// The passive slot, opened for reading and writing.
#[derive(Debug)]
pub struct Partitions {
    pub data: File,
    pub tree: File,
}

impl Partitions {
    /// Refuses a release that does not fit, before anything is changed.
    pub fn check_size(&self, tree: &Tree) -> Result<(), InstallError> {
        let tree_bytes = tree.bytes().len() as u64;
        let data_bytes = tree.shape().data_blocks * BLOCK;
        for (place, file, needed) in [
            ("the slot", &self.data, data_bytes),
            ("the slot's tree", &self.tree, tree_bytes),
        ] {
            let mut end = file;
            let found = end
                .seek(SeekFrom::End(0))
                .map_err(device("measuring the slot"))?;
            if found < needed {
                return Err(InstallError::TooSmall {
                    place,
                    needed,
                    found,
                });
            }
        }
        Ok(())
    }

    /// Which blocks have the content the tree wants.
    pub fn scan(&self, tree: &Tree, watch: &mut Watch<'_>) -> Result<Vec<bool>, InstallError> {
        let progress = |done, total| watch(Progress::Scanned { done, total });
        matching(&self.data, tree, progress).map_err(device("reading the slot"))
    }

    /// From here on the slot is no release, until `complete`.
    pub fn disown(&self) -> Result<(), InstallError> {
        let zeros = [0; BLOCK as usize];
        let written = self.tree.write_all_at(&zeros, ROOT_BLOCK * BLOCK);
        written
            .and_then(|()| self.tree.sync_all())
            .map_err(device("clearing the slot's root"))
    }

    /// Writes blocks that follow each other.
    pub fn write_blocks(&self, block: u64, content: &[u8]) -> Result<(), InstallError> {
        self.data
            .write_all_at(content, block * BLOCK)
            .map_err(device("writing the slot"))
    }

    /// Writes the tree, proves that all of the slot is on the disk, and makes it a release.
    pub fn complete(&self, tree: &Tree, watch: &mut Watch<'_>) -> Result<(), InstallError> {
        let writing = device("writing the slot");
        self.data.sync_all().map_err(&writing)?;
        for (number, block) in tree.bytes().chunks(BLOCK as usize).enumerate() {
            let number = number as u64;
            if number != ROOT_BLOCK && !holds(&self.tree, number, block) {
                self.tree
                    .write_all_at(block, number * BLOCK)
                    .map_err(&writing)?;
            }
        }
        self.tree.sync_all().map_err(&writing)?;
        self.read_back(tree, watch)?;
        let root = &tree.bytes()[(ROOT_BLOCK * BLOCK) as usize..][..BLOCK as usize];
        self.tree
            .write_all_at(root, ROOT_BLOCK * BLOCK)
            .map_err(&writing)?;
        self.tree.sync_all().map_err(&writing)?;
        self.read_back_tree(tree)
    }

    fn read_back(&self, tree: &Tree, watch: &mut Watch<'_>) -> Result<(), InstallError> {
        let reading = device("reading the slot back");
        drop_cache(&self.data).map_err(&reading)?;
        let progress = |done, total| watch(Progress::Verified { done, total });
        let found = matching(&self.data, tree, progress).map_err(&reading)?;
        match found.iter().position(|matches| !matches) {
            Some(block) => Err(InstallError::ReadBack {
                place: "the slot",
                block: block as u64,
            }),
            None => Ok(()),
        }
    }

    fn read_back_tree(&self, tree: &Tree) -> Result<(), InstallError> {
        let reading = device("reading the slot's tree back");
        drop_cache(&self.tree).map_err(&reading)?;
        let mut found = vec![0; tree.bytes().len()];
        self.tree.read_exact_at(&mut found, 0).map_err(&reading)?;
        let (found, written) = (
            found.chunks(BLOCK as usize),
            tree.bytes().chunks(BLOCK as usize),
        );
        match found
            .zip(written)
            .position(|(found, written)| found != written)
        {
            Some(block) => Err(InstallError::ReadBack {
                place: "the slot's tree",
                block: block as u64,
            }),
            None => Ok(()),
        }
    }
}

/// The tree on a slot's partition, which may be anything.
pub fn read_tree(partition: &File, data_blocks: u64) -> Result<Vec<u8>, InstallError> {
    let length = length(data_blocks).map_err(|source| InstallError::Tree {
        target: "the active slot".into(),
        source,
    })?;
    let mut bytes = vec![0; length as usize];
    let read = partition.read_exact_at(&mut bytes, 0);
    read.map_err(device("reading the active slot's tree"))?;
    Ok(bytes)
}

pub(super) fn device(doing: &'static str) -> impl Fn(io::Error) -> InstallError {
    move |source| InstallError::Device(doing, source)
}

fn holds(file: &File, block: u64, content: &[u8]) -> bool {
    let mut found = [0; BLOCK as usize];
    file.read_exact_at(&mut found, block * BLOCK).is_ok() && found == content
}

/// Which blocks the tree holds, in parts that are hashed beside each other.
fn matching(data: &File, tree: &Tree, mut progress: impl FnMut(u64, u64)) -> io::Result<Vec<bool>> {
    let total = tree.shape().data_blocks;
    let mut matches = Vec::with_capacity(total as usize);
    let part = |part: Range<u64>| {
        let mut found = Vec::with_capacity((part.end - part.start) as usize);
        let mut batch = vec![0; BATCH];
        let mut at = part.start;
        while at < part.end {
            let size = ((part.end - at) * BLOCK).min(BATCH as u64) as usize;
            data.read_exact_at(&mut batch[..size], at * BLOCK)?;
            for content in batch[..size].chunks(BLOCK as usize) {
                found.push(tree.holds(at, content));
                at += 1;
            }
        }
        Ok::<_, io::Error>(found)
    };
    in_rounds(total, part, |found, at| {
        matches.extend(found.into_iter().flatten());
        progress(at * BLOCK, total * BLOCK);
    })?;
    Ok(matches)
}

/// What is read next comes from the disk: clean pages are dropped, and after a sync all are clean.
pub(super) fn drop_cache(file: &File) -> io::Result<()> {
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

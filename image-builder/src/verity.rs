//! The dm-verity hash tree of a file, byte for byte as `veritysetup format` makes it.
//!
//! Format 1, SHA-256, blocks of 4096 bytes, salt before the data. Block 0 is the superblock, the
//! tree follows with its root first. The salt is fixed, so equal blocks of two releases have equal
//! hashes: an update reuses what the active slot has.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::identity::Uuid;

pub const BLOCK: usize = 4096;
const HASH: usize = 32;
/// Blocks read at a time by a worker.
const BATCH: usize = 64;

#[derive(Debug, Clone)]
pub struct Verity {
    pub salt: Digest,
    pub uuid: Uuid,
    pub data_blocks: u64,
    pub root: Digest,
    tree: Vec<u8>,
}

impl Verity {
    /// Hashes `data`, whose size must be a multiple of the block size.
    pub fn of(data: &File, salt: Digest, uuid: Uuid) -> io::Result<Self> {
        let size = data.metadata()?.len();
        if size == 0 || size % BLOCK as u64 != 0 {
            return Err(io::Error::other(format!(
                "{size} bytes are no whole number of blocks"
            )));
        }
        let data_blocks = size / BLOCK as u64;
        let mut level = leaves(data, data_blocks, &salt)?;
        let mut levels = Vec::new();
        loop {
            level.resize(level.len().next_multiple_of(BLOCK), 0);
            let above: Vec<u8> = level
                .chunks(BLOCK)
                .flat_map(|block| hash(&salt, block))
                .collect();
            let root = level.len() == BLOCK;
            levels.push(level);
            if root {
                let root = Digest::new(above.try_into().expect("one hash"));
                let tree = levels.into_iter().rev().flatten().collect();
                return Ok(Self {
                    salt,
                    uuid,
                    data_blocks,
                    root,
                    tree,
                });
            }
            level = above;
        }
    }

    /// Superblock and tree, as they lie in the verity partition.
    pub fn write(&self, mut output: impl Write) -> io::Result<()> {
        output.write_all(&self.superblock())?;
        output.write_all(&self.tree)
    }

    fn superblock(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |offset: usize, bytes: &[u8]| {
            block[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0, b"verity\0\0");
        put(8, &1_u32.to_le_bytes());
        put(12, &1_u32.to_le_bytes());
        put(16, self.uuid.bytes());
        put(32, b"sha256");
        put(64, &(BLOCK as u32).to_le_bytes());
        put(68, &(BLOCK as u32).to_le_bytes());
        put(72, &self.data_blocks.to_le_bytes());
        put(80, &(HASH as u16).to_le_bytes());
        put(88, self.salt.bytes());
        block
    }
}

fn hash(salt: &Digest, block: &[u8]) -> [u8; HASH] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(block)
        .finalize()
        .into()
}

fn leaves(data: &File, blocks: u64, salt: &Digest) -> io::Result<Vec<u8>> {
    let blocks = usize::try_from(blocks).map_err(io::Error::other)?;
    let mut hashes = vec![0; blocks * HASH];
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = blocks.div_ceil(workers);
    thread::scope(|scope| {
        let workers: Vec<_> = hashes
            .chunks_mut(share * HASH)
            .enumerate()
            .map(|(index, part)| scope.spawn(move || leaves_from(data, index * share, part, salt)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("hashing does not panic"))
    })?;
    Ok(hashes)
}

fn leaves_from(data: &File, first: usize, part: &mut [u8], salt: &Digest) -> io::Result<()> {
    let mut buffer = vec![0; BATCH * BLOCK];
    for (batch, hashes) in part.chunks_mut(BATCH * HASH).enumerate() {
        let buffer = &mut buffer[..hashes.len() / HASH * BLOCK];
        data.read_exact_at(buffer, ((first + batch * BATCH) * BLOCK) as u64)?;
        for (block, place) in buffer.chunks(BLOCK).zip(hashes.chunks_mut(HASH)) {
            place.copy_from_slice(&hash(salt, block));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verity(blocks: usize) -> Verity {
        let mut file = tempfile::tempfile().unwrap();
        for block in 0..blocks {
            file.write_all(&[block as u8; BLOCK]).unwrap();
        }
        Verity::of(&file, Digest::of(b"salt"), Uuid::named("test")).unwrap()
    }

    #[test]
    fn the_tree_has_as_many_levels_as_it_needs() {
        for (blocks, tree) in [
            (1, 1),
            (128, 1),
            (129, 3),
            (128 * 128, 129),
            (128 * 128 + 1, 132),
        ] {
            assert_eq!(verity(blocks).tree.len() / BLOCK, tree, "{blocks} blocks");
        }
    }

    #[test]
    fn the_root_hash_is_that_of_the_first_block_of_the_tree() {
        let verity = verity(300);
        let mut bytes = Vec::new();
        verity.write(&mut bytes).unwrap();
        assert_eq!(
            &hash(&verity.salt, &bytes[BLOCK..2 * BLOCK]),
            verity.root.bytes()
        );
        assert_eq!(&bytes[..8], b"verity\0\0");
    }

    #[test]
    fn a_file_of_half_a_block_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(Verity::of(&file, Digest::of(b""), Uuid::named("test")).is_err());
        file.write_all(b"half").unwrap();
        assert!(Verity::of(&file, Digest::of(b""), Uuid::named("test")).is_err());
    }
}

//! A release's dm-verity tree, as the kernel reads it: superblock, then the levels, root first.

use sha2::{Digest, Sha256};

pub(super) const BLOCK: u64 = 4096;
const HASH: usize = 32;
const PER_BLOCK: u64 = BLOCK / HASH as u64;

pub type Hash = [u8; HASH];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidTree {
    #[error("it has no superblock of format 1 with SHA-256 and blocks of {BLOCK} bytes")]
    Superblock,
    #[error("it ends before its leaves do")]
    Short,
    #[error("level {level}, block {block} does not match its hash")]
    Hash { level: usize, block: u64 },
}

/// A tree of which every block was checked, from the root hash down.
#[derive(Debug, Clone)]
pub struct Tree {
    pub bytes: Vec<u8>,
    pub data_blocks: u64,
    salt: Vec<u8>,
    leaves: usize,
}

impl Tree {
    pub fn parse(mut bytes: Vec<u8>, root: &Hash) -> Result<Self, InvalidTree> {
        let (data_blocks, salt) = superblock(&bytes).ok_or(InvalidTree::Superblock)?;
        let mut levels = vec![data_blocks.div_ceil(PER_BLOCK)];
        while let Some(last) = levels.last().copied().filter(|last| *last > 1) {
            levels.push(last.div_ceil(PER_BLOCK));
        }
        let blocks = 1 + levels.iter().sum::<u64>();
        let length = usize::try_from(blocks * BLOCK).map_err(|_| InvalidTree::Short)?;
        if bytes.len() < length {
            return Err(InvalidTree::Short);
        }
        bytes.truncate(length);
        let block_at = |number: u64| &bytes[place(number)..place(number + 1)];
        let (mut above, mut next) = (vec![*root], 1);
        for (level, count) in levels.iter().enumerate().rev() {
            let mut below = Vec::new();
            for block in 0..*count {
                let content = block_at(next + block);
                if above.get(usize::try_from(block).unwrap_or(usize::MAX))
                    != Some(&hash(&salt, content))
                {
                    return Err(InvalidTree::Hash { level, block });
                }
                let (hashes, _) = content.as_chunks::<HASH>();
                below.extend_from_slice(hashes);
            }
            next += count;
            above = below;
        }
        let leaves = place(blocks - levels[0]);
        Ok(Self {
            bytes,
            data_blocks,
            salt,
            leaves,
        })
    }

    pub fn blocks(&self) -> u64 {
        self.bytes.len() as u64 / BLOCK
    }

    pub fn block(&self, number: u64) -> &[u8] {
        &self.bytes[place(number)..place(number + 1)]
    }

    /// Whether this is the content of a data block.
    pub fn holds(&self, number: u64, content: &[u8]) -> bool {
        self.is_leaf(number, &self.hash(content))
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub fn hash(&self, content: &[u8]) -> Hash {
        hash(&self.salt, content)
    }

    pub fn is_leaf(&self, number: u64, hash: &Hash) -> bool {
        let at = self.leaves + usize::try_from(number).unwrap_or(usize::MAX / HASH) * HASH;
        self.bytes.get(at..at + HASH) == Some(&hash[..])
    }
}

/// Number of data blocks, and salt.
fn superblock(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let block = bytes.get(..usize::try_from(BLOCK).ok()?)?;
    let number = |range: std::ops::Range<usize>| {
        block[range]
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let known = block.starts_with(b"verity\0\0")
        && number(8..12) == 1
        && number(12..16) == 1
        && block[32..].starts_with(b"sha256\0")
        && number(64..68) == BLOCK
        && number(68..72) == BLOCK;
    let (blocks, salt) = (number(72..80), usize::try_from(number(80..82)).ok()?);
    let sound = known && salt <= 256 && (2..=1 << 24).contains(&blocks);
    sound.then(|| (blocks, block[88..88 + salt].to_vec()))
}

fn place(block: u64) -> usize {
    usize::try_from(block * BLOCK).unwrap_or(usize::MAX)
}

fn hash(salt: &[u8], content: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(content);
    hasher.finalize().into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The tree over these blocks and its root hash, made the other way round: from the leaves.
    pub(crate) fn tree_over(data: &[Vec<u8>]) -> (Vec<u8>, Hash) {
        let salt = [7; 32];
        let mut head = b"verity\0\0\x01\0\0\0\x01\0\0\0".to_vec();
        head.extend([0; 16]);
        head.extend(b"sha256\0");
        head.resize(64, 0);
        head.extend([0, 16, 0, 0, 0, 16, 0, 0]);
        head.extend((data.len() as u64).to_le_bytes());
        head.extend([32, 0, 0, 0, 0, 0, 0, 0]);
        head.extend(salt);
        head.resize(place(1), 0);
        let mut levels = Vec::new();
        let mut hashes: Vec<Hash> = data.iter().map(|block| hash(&salt, block)).collect();
        loop {
            let mut level = hashes.concat();
            level.resize(level.len().next_multiple_of(place(1)), 0);
            hashes = level
                .chunks(place(1))
                .map(|block| hash(&salt, block))
                .collect();
            levels.push(level);
            if hashes.len() == 1 {
                break;
            }
        }
        levels.reverse();
        ([vec![head], levels].concat().concat(), hashes[0])
    }

    pub(crate) fn block(number: u32) -> Vec<u8> {
        number.to_le_bytes().repeat(1024)
    }

    #[test]
    fn a_tree_of_two_levels_knows_its_blocks() {
        let data: Vec<Vec<u8>> = (0..300).map(block).collect();
        let (mut bytes, root) = tree_over(&data);
        bytes.resize(bytes.len() + 5000, 0xee);
        let tree = Tree::parse(bytes, &root).unwrap();
        assert_eq!((tree.data_blocks, tree.blocks()), (300, 5));
        assert!((0..300).all(|number| tree.holds(number.into(), &block(number))));
        assert!(!tree.holds(3, &block(4)) && !tree.holds(300, &block(0)));
    }

    #[test]
    fn a_flipped_byte_anywhere_is_found() {
        let data: Vec<Vec<u8>> = (0..300).map(block).collect();
        let (bytes, root) = tree_over(&data);
        for at in (0..4)
            .chain([32, 64, 80, 90])
            .chain((4096..bytes.len()).step_by(997))
        {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(Tree::parse(wrong, &root).is_err(), "{at}");
        }
        for length in [0, 4095, 4096, bytes.len() - 1] {
            assert!(Tree::parse(bytes[..length].to_vec(), &root).is_err());
        }
    }
}

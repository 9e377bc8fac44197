//! A dm-verity hash tree as `veritysetup` lays it out: superblock, then the levels, root first.
//!
//! Format 1, SHA-256, blocks of 4096 bytes, salt before the block.

use super::BLOCK;
use crate::digest::Digest;

const MAGIC: &[u8; 8] = b"verity\0\0";
const DIGEST: usize = 32;
const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
const PER_BLOCK: u64 = BLOCK / DIGEST as u64;
const ALGORITHM: &[u8; 7] = b"sha256\0";

/// What a tree must be of to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub data_blocks: u64,
    pub salt: Vec<u8>,
    pub root_hash: Digest,
}

/// A tree in which every hash was checked against the one above it.
#[derive(Clone, Debug)]
pub struct Tree {
    shape: Shape,
    bytes: Vec<u8>,
    leaves_at: usize,
    /// The digest of a block of zeros.
    zeros: Digest,
}

/// Why bytes are not the tree they should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidTree {
    #[error("a tree over {0} blocks is not supported (2 to 2^24)")]
    Blocks(u64),
    #[error("it has {found} bytes, the tree needs {needed}")]
    Length { found: u64, needed: u64 },
    #[error("superblock: {0} is not as expected")]
    Superblock(&'static str),
    #[error("level {level}, block {block} does not match its hash")]
    Hash { level: usize, block: u64 },
}

/// Blocks of each level, leaves first.
fn levels(data_blocks: u64) -> Vec<u64> {
    let mut levels = vec![data_blocks.div_ceil(PER_BLOCK)];
    while let Some(&last) = levels.last().filter(|last| **last > 1) {
        levels.push(last.div_ceil(PER_BLOCK));
    }
    levels
}

/// Bytes of the tree over so many blocks, with its superblock.
pub fn length(data_blocks: u64) -> Result<u64, InvalidTree> {
    if !(2..=1 << 24).contains(&data_blocks) {
        return Err(InvalidTree::Blocks(data_blocks));
    }
    Ok((1 + levels(data_blocks).iter().sum::<u64>()) * BLOCK)
}

impl Tree {
    /// Reads a tree from the beginning of `bytes`, which may be longer: a partition is.
    pub fn parse(mut bytes: Vec<u8>, shape: Shape) -> Result<Self, InvalidTree> {
        let needed = length(shape.data_blocks)?;
        let found = bytes.len() as u64;
        if found < needed {
            return Err(InvalidTree::Length { found, needed });
        }
        bytes.truncate(needed as usize);
        check_superblock(&bytes, &shape).map_err(InvalidTree::Superblock)?;
        let leaves_at = check_levels(&bytes, &shape)?;
        Ok(Self {
            zeros: Digest::salted(&shape.salt, &ZEROS),
            shape,
            bytes,
            leaves_at,
        })
    }

    /// Makes the tree over blocks whose digests are given.
    pub fn build(leaves: &[Digest], salt: &[u8], uuid: [u8; 16]) -> Result<Self, InvalidTree> {
        let data_blocks = leaves.len() as u64;
        let needed = length(data_blocks)?;
        if salt.len() > 256 {
            return Err(InvalidTree::Superblock("salt"));
        }
        let mut built = vec![pack(leaves)];
        while let Some(below) = built.last().filter(|level| level.len() > BLOCK as usize) {
            let blocks = below.chunks(BLOCK as usize);
            let digests: Vec<_> = blocks.map(|block| Digest::salted(salt, block)).collect();
            built.push(pack(&digests));
        }
        let mut bytes = superblock(data_blocks, salt, uuid);
        built.iter().rev().for_each(|level| bytes.extend(level));
        debug_assert_eq!(bytes.len() as u64, needed);
        let root_hash = Digest::salted(salt, &bytes[BLOCK as usize..][..BLOCK as usize]);
        Self::parse(
            bytes,
            Shape {
                data_blocks,
                salt: salt.to_vec(),
                root_hash,
            },
        )
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The whole tree with its superblock, as it lies on the partition.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest a data block must have.
    pub fn leaf(&self, block: u64) -> Digest {
        digest_at(&self.bytes, self.leaves_at + block as usize * DIGEST)
    }

    pub fn leaves(&self) -> impl Iterator<Item = Digest> {
        (0..self.shape.data_blocks).map(|block| self.leaf(block))
    }

    /// Whether content is that of a block.
    pub fn holds(&self, block: u64, content: &[u8]) -> bool {
        // Unused space is zeros; finding that costs less than hashing it again.
        let digest = if content == ZEROS {
            self.zeros
        } else {
            Digest::salted(&self.shape.salt, content)
        };
        digest == self.leaf(block)
    }
}

fn check_levels(bytes: &[u8], shape: &Shape) -> Result<usize, InvalidTree> {
    let mut at = BLOCK as usize;
    let mut above = vec![shape.root_hash];
    let blocks = levels(shape.data_blocks);
    for (level, count) in blocks.iter().enumerate().rev() {
        for block in 0..*count {
            let content = &bytes[at + (block * BLOCK) as usize..][..BLOCK as usize];
            if Digest::salted(&shape.salt, content) != above[block as usize] {
                return Err(InvalidTree::Hash { level, block });
            }
        }
        if let Some(below) = level.checked_sub(1) {
            above = (0..blocks[below])
                .map(|n| digest_at(bytes, at + n as usize * DIGEST))
                .collect();
            at += (count * BLOCK) as usize;
        }
    }
    Ok(at)
}

fn digest_at(bytes: &[u8], at: usize) -> Digest {
    Digest(
        bytes[at..at + DIGEST]
            .try_into()
            .expect("the slice has the length of a digest"),
    )
}

fn pack(digests: &[Digest]) -> Vec<u8> {
    let mut level: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
    level.resize(level.len().next_multiple_of(BLOCK as usize), 0);
    level
}

/// See <https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity>.
fn superblock(data_blocks: u64, salt: &[u8], uuid: [u8; 16]) -> Vec<u8> {
    let mut block = vec![0; BLOCK as usize];
    block[..8].copy_from_slice(MAGIC);
    block[8..12].copy_from_slice(&1u32.to_le_bytes());
    block[12..16].copy_from_slice(&1u32.to_le_bytes());
    block[16..32].copy_from_slice(&uuid);
    block[32..39].copy_from_slice(ALGORITHM);
    block[64..68].copy_from_slice(&(BLOCK as u32).to_le_bytes());
    block[68..72].copy_from_slice(&(BLOCK as u32).to_le_bytes());
    block[72..80].copy_from_slice(&data_blocks.to_le_bytes());
    block[80..82].copy_from_slice(&(salt.len() as u16).to_le_bytes());
    block[88..88 + salt.len()].copy_from_slice(salt);
    block
}

fn check_superblock(bytes: &[u8], shape: &Shape) -> Result<(), &'static str> {
    let uuid = bytes[16..32].try_into().expect("16 bytes");
    let expected = superblock(shape.data_blocks, &shape.salt, uuid);
    let fields = [
        (0..8, "the magic number"),
        (8..12, "version"),
        (12..16, "hash type"),
        (32..64, "algorithm"),
        (64..68, "data block size"),
        (68..72, "hash block size"),
        (72..80, "number of data blocks"),
        (80..82, "salt size"),
        (88..344, "salt"),
    ];
    match fields
        .into_iter()
        .find(|(at, _)| bytes[at.clone()] != expected[at.clone()])
    {
        Some((_, field)) => Err(field),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(blocks: u64) -> Tree {
        let leaves: Vec<_> = (0..blocks).map(|n| Digest::of(&n.to_le_bytes())).collect();
        Tree::build(&leaves, b"salt", [7; 16]).unwrap()
    }

    #[test]
    fn levels_go_up_to_one_block() {
        assert_eq!(levels(2), [1]);
        assert_eq!(levels(128), [1]);
        assert_eq!(levels(129), [2, 1]);
        assert_eq!(levels(128 * 128 + 1), [129, 2, 1]);
        assert_eq!(length(123_957), Ok((1 + 969 + 8 + 1) * 4096));
    }

    #[test]
    fn what_was_built_is_read_and_every_leaf_is_found() {
        for blocks in [2, 128, 129, 16_385] {
            let built = tree(blocks);
            let mut partition = built.bytes().to_vec();
            partition.extend([0; 100]);
            let read = Tree::parse(partition, built.shape().clone()).unwrap();
            assert_eq!(read.bytes(), built.bytes());
            assert_eq!(
                read.leaf(blocks - 1),
                Digest::of(&(blocks - 1).to_le_bytes())
            );
            assert_eq!(read.leaves().count() as u64, blocks);
        }
    }

    #[test]
    fn the_root_hash_is_the_one_veritysetup_prints() {
        let content = [[1u8; 4096], [2; 4096], [3; 4096]];
        let leaves: Vec<_> = content
            .iter()
            .map(|block| Digest::salted(&[9; 32], block))
            .collect();
        let tree = Tree::build(&leaves, &[9; 32], [0; 16]).unwrap();
        let root = "0c9864d394b2d596213c7da296b0cddd0451d2df1e4a8e4c0168a7cf5b629323";
        assert_eq!(tree.shape().root_hash.to_string(), root);
        assert!(tree.holds(1, &content[1]) && !tree.holds(1, &content[2]));
    }

    #[test]
    fn any_other_byte_is_noticed() {
        let good = tree(300);
        let check = |at: usize, expected: &str| {
            let mut bytes = good.bytes().to_vec();
            bytes[at] ^= 1;
            let error = Tree::parse(bytes, good.shape().clone()).unwrap_err();
            assert!(error.to_string().contains(expected), "{at}: {error}");
        };
        check(0, "the magic number");
        check(72, "number of data blocks");
        check(88, "salt");
        check(4096, "level 1, block 0");
        check(8192, "level 0, block 0");
        check(4 * 4096, "level 0, block 2");
        let short = good.bytes()[..4096].to_vec();
        assert!(matches!(
            Tree::parse(short, good.shape().clone()),
            Err(InvalidTree::Length { found: 4096, .. })
        ));
        let shape = Shape {
            data_blocks: 1 << 40,
            ..good.shape().clone()
        };
        assert_eq!(
            Tree::parse(vec![], shape).unwrap_err(),
            InvalidTree::Blocks(1 << 40)
        );
    }
}

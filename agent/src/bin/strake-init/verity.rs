//! The dm-verity superblock as veritysetup writes it (format 1), the root hash it implies, and the
//! line that opens the device. Pure; refuses every variant the image builder does not make.
//!
//! Layout: <https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity>

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

pub(crate) const BLOCK: usize = 4096;
const SECTORS_PER_BLOCK: u64 = BLOCK as u64 / 512;
/// Keeps the size in sectors far from overflow: 2^40 blocks are 4 PiB.
const MOST_BLOCKS: u64 = 1 << 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RootHash([u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) uuid: [u8; 16],
    pub(crate) data_blocks: u64,
    salt: Vec<u8>,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Unusable {
    #[error("it is empty")]
    Empty,
    #[error("it has no verity superblock")]
    Signature,
    #[error("its superblock ends early")]
    Short,
    #[error("its verity format is not version 1, type 1")]
    Version,
    #[error("its hash is not sha256")]
    Algorithm,
    #[error("its blocks are not of 4096 bytes")]
    BlockSize,
    #[error("its {0} data blocks are out of range")]
    DataBlocks(u64),
    #[error("its salt of {0} bytes is longer than 256")]
    Salt(u16),
}

impl Superblock {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Superblock, Unusable> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(Unusable::Empty);
        }
        if !bytes.starts_with(b"verity\0\0") {
            return Err(Unusable::Signature);
        }
        if bytes.len() < 512 {
            return Err(Unusable::Short);
        }
        if [u32_at(bytes, 8), u32_at(bytes, 12)] != [1, 1] {
            return Err(Unusable::Version);
        }
        if bytes[32..64] != *b"sha256\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" {
            return Err(Unusable::Algorithm);
        }
        if [u32_at(bytes, 64), u32_at(bytes, 68)] != [BLOCK as u32; 2] {
            return Err(Unusable::BlockSize);
        }
        let data_blocks = u64::from_le_bytes(array_at(bytes, 72));
        // A single block has no tree: its own hash would be the root hash.
        if !(2..=MOST_BLOCKS).contains(&data_blocks) {
            return Err(Unusable::DataBlocks(data_blocks));
        }
        let salt_size = u16::from_le_bytes(array_at(bytes, 80));
        if salt_size > 256 {
            return Err(Unusable::Salt(salt_size));
        }
        let salt = bytes[88..88 + usize::from(salt_size)].to_vec();
        Ok(Superblock {
            uuid: array_at(bytes, 16),
            data_blocks,
            salt,
        })
    }

    pub(crate) fn root_hash(&self, first_hash_block: &[u8]) -> RootHash {
        let hash = Sha256::new()
            .chain_update(&self.salt)
            .chain_update(first_hash_block);
        RootHash(hash.finalize().into())
    }

    pub(crate) fn sectors(&self) -> u64 {
        self.data_blocks * SECTORS_PER_BLOCK
    }

    /// Parameters of the device-mapper target, devices as `major:minor`. The tree starts in block
    /// 1, after the superblock. A corrupt block ends the boot: no program may go on with half a
    /// release. By a panic, whose text outlives it in pstore, and not by a plain restart.
    pub(crate) fn table(&self, data: &str, hash: &str, root: &RootHash) -> String {
        let salt = if self.salt.is_empty() {
            "-".into()
        } else {
            hex(&self.salt)
        };
        let blocks = self.data_blocks;
        format!(
            "1 {data} {hash} {BLOCK} {BLOCK} {blocks} 1 sha256 {root} {salt} 1 \
             panic_on_corruption"
        )
    }
}

#[derive(Debug, Error)]
#[error("not 64 hexadecimal digits")]
pub(crate) struct NotAHash;

impl FromStr for RootHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<RootHash, NotAHash> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAHash);
        }
        let mut hash = [0; 32];
        for (index, byte) in hash.iter_mut().enumerate() {
            let digits = &text[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotAHash)?;
        }
        Ok(RootHash(hash))
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("a slice of N bytes fits an array of N")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A superblock of `salt.len()` bytes of salt for 1000 data blocks.
    pub(crate) fn superblock(salt: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK];
        bytes[..8].copy_from_slice(b"verity\0\0");
        (bytes[8], bytes[12]) = (1, 1);
        bytes[16..32].copy_from_slice(&[0xab; 16]);
        bytes[32..38].copy_from_slice(b"sha256");
        (bytes[65], bytes[69]) = (0x10, 0x10);
        bytes[72..80].copy_from_slice(&1000u64.to_le_bytes());
        bytes[80..82].copy_from_slice(&(salt.len() as u16).to_le_bytes());
        bytes[88..88 + salt.len()].copy_from_slice(salt);
        bytes
    }

    #[test]
    fn a_superblock_gives_the_line_veritysetup_would_load() {
        let superblock = Superblock::parse(&superblock(&[1, 2, 0xff])).unwrap();
        assert_eq!(superblock.sectors(), 8000);
        assert_eq!(superblock.uuid, [0xab; 16]);
        let root: RootHash = "0f".repeat(32).parse().unwrap();
        let expected = format!(
            "1 254:2 254:3 4096 4096 1000 1 sha256 {} 0102ff 1 panic_on_corruption",
            "0f".repeat(32)
        );
        assert_eq!(superblock.table("254:2", "254:3", &root), expected);
        let unsalted = Superblock {
            salt: Vec::new(),
            ..superblock
        };
        assert!(
            unsalted
                .table("1:2", "1:3", &root)
                .contains(" - 1 panic_on_corruption")
        );
    }

    /// The expected hash is what `veritysetup format --salt=616263` prints for 128 blocks of zeros.
    #[test]
    fn the_root_hash_is_the_one_veritysetup_prints() {
        let superblock = Superblock::parse(&superblock(b"abc")).unwrap();
        let leaf: [u8; 32] = Sha256::new_with_prefix(b"abc")
            .chain_update([0; BLOCK])
            .finalize()
            .into();
        let root = superblock.root_hash(&leaf.repeat(BLOCK / leaf.len()));
        assert_eq!(
            root.to_string(),
            "0c02872a7b1afa3a6814e48f4c2435cd1e5fe7e62f8720b6e9b5fcea1b1889c3"
        );
    }

    #[test]
    fn hostile_superblocks_are_refused() {
        let patch = |at: usize, with: &[u8]| {
            let mut bytes = superblock(&[7; 32]);
            bytes[at..at + with.len()].copy_from_slice(with);
            Superblock::parse(&bytes).unwrap_err()
        };
        assert_eq!(patch(0, b"Verity"), Unusable::Signature);
        assert_eq!(patch(8, &[2]), Unusable::Version);
        assert_eq!(patch(12, &[0]), Unusable::Version);
        assert_eq!(patch(32, b"sha512"), Unusable::Algorithm);
        assert_eq!(patch(38, b" 1 evil"), Unusable::Algorithm);
        assert_eq!(patch(64, &[0; 4]), Unusable::BlockSize);
        assert_eq!(patch(68, &[0xff; 4]), Unusable::BlockSize);
        assert_eq!(patch(72, &[0xff; 8]), Unusable::DataBlocks(u64::MAX));
        assert_eq!(patch(72, &1u64.to_le_bytes()), Unusable::DataBlocks(1));
        assert_eq!(patch(80, &[0xff; 2]), Unusable::Salt(u16::MAX));
        assert_eq!(patch(80, &257u16.to_le_bytes()), Unusable::Salt(257));
        assert_eq!(Superblock::parse(&[0; BLOCK]), Err(Unusable::Empty));
        assert_eq!(Superblock::parse(&[]), Err(Unusable::Empty));
        let whole = superblock(&[7; 256]);
        for length in 1..512 {
            assert!(Superblock::parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(Superblock::parse(&whole[..512]).is_ok());
    }
}

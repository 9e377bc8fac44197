//! The nine partitions of a Strake disk: where they are and what they are for. No I/O.

use crate::digest::Digest;
use crate::identity::Uuid;

pub const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// First partition, and the alignment of all.
const START: u64 = MIB;
/// The backup table's place, rounded up to keep the disk's size in whole MiB.
const END: u64 = MIB;

pub const ESP_SIZE: u64 = 1024 * MIB;
pub const USR_SIZE: u64 = 2048 * MIB;
pub const VERITY_SIZE: u64 = 32 * MIB;
pub const OEM_SIZE: u64 = 256 * MIB;
pub const CONFIG_SIZE: u64 = 16 * MIB;
pub const STATE_SIZE: u64 = 256 * MIB;
/// As it is in the image; the first boot makes it the rest of the disk.
pub const DATA_SIZE: u64 = 256 * MIB;

// Discoverable Partitions Specification, x86-64.
const TYPE_ESP: Uuid = Uuid::new(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
const TYPE_USR: Uuid = Uuid::new(0x8484680c_9521_48c6_9c11_b0720656f69e);
const TYPE_USR_VERITY: Uuid = Uuid::new(0x77ff5f63_e7b6_4633_acf4_1565b864c0e6);
const TYPE_VAR: Uuid = Uuid::new(0x4d21b016_b534_45c2_a9fb_5c16e091fd2d);
const TYPE_LINUX: Uuid = Uuid::new(0x0fc63daf_8483_4772_8e79_3d69d8477de4);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub label: &'static str,
    pub kind: Uuid,
    pub uuid: Uuid,
    /// In bytes, from the start of the disk.
    pub start: u64,
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub disk: Uuid,
    pub size: u64,
    pub partitions: Vec<Partition>,
}

impl Layout {
    /// A disk whose slot A holds the release with this root hash and whose slot B is empty.
    pub fn of(root: &Digest) -> Self {
        let (usr, verity) = Uuid::of_slot(root);
        let list = [
            ("EFI-SYSTEM", TYPE_ESP, None, ESP_SIZE),
            ("USR-A", TYPE_USR, Some(usr), USR_SIZE),
            ("USR-A-VERITY", TYPE_USR_VERITY, Some(verity), VERITY_SIZE),
            ("USR-B", TYPE_USR, None, USR_SIZE),
            ("USR-B-VERITY", TYPE_USR_VERITY, None, VERITY_SIZE),
            ("OEM", TYPE_LINUX, None, OEM_SIZE),
            ("CONFIG", TYPE_LINUX, None, CONFIG_SIZE),
            ("STATE", TYPE_LINUX, None, STATE_SIZE),
            ("DATA", TYPE_VAR, None, DATA_SIZE),
        ];
        let mut start = START;
        let mut place = |(label, kind, uuid, size): (_, _, Option<Uuid>, u64)| {
            let uuid = uuid.unwrap_or_else(|| Uuid::named(&format!("partition {label}")));
            let partition = Partition {
                label,
                kind,
                uuid,
                start,
                size,
            };
            start += size;
            partition
        };
        let partitions = list.map(&mut place).to_vec();
        Self {
            disk: Uuid::named("disk"),
            size: start + END,
            partitions,
        }
    }

    pub fn partition(&self, label: &str) -> &Partition {
        let found = self
            .partitions
            .iter()
            .find(|partition| partition.label == label);
        found.expect("labels are those of the list above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_table_is_as_designed() {
        let layout = Layout::of(&Digest::of(b"root"));
        let text: String = layout
            .partitions
            .iter()
            .map(|part| {
                format!(
                    "{:12} {:5} {:5}\n",
                    part.label,
                    part.start / MIB,
                    part.size / MIB
                )
            })
            .collect();
        let expected = "\
EFI-SYSTEM       1  1024
USR-A         1025  2048
USR-A-VERITY  3073    32
USR-B         3105  2048
USR-B-VERITY  5153    32
OEM           5185   256
CONFIG        5441    16
STATE         5457   256
DATA          5713   256
";
        assert_eq!(text, expected);
        assert_eq!(layout.size / MIB, 5970);
    }

    #[test]
    fn slot_a_is_named_by_its_root_hash() {
        let root = Digest::of(b"root");
        let layout = Layout::of(&root);
        let hex = |label: &str| layout.partition(label).uuid.to_string().replace('-', "");
        assert_eq!(hex("USR-A") + &hex("USR-A-VERITY"), root.to_string());
    }
}

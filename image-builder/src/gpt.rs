//! The GUID partition table: protective MBR, primary and backup, written and read. No I/O.
//!
//! UEFI specification 2.10, chapter 5. Reading refuses a table whose checksums are wrong.

use crate::identity::Uuid;
use crate::layout::{Layout, SECTOR};

const ENTRIES: usize = 128;
const ENTRY: usize = 128;
const TABLE: usize = ENTRIES * ENTRY;
const HEADER: usize = 92;
const SIGNATURE: &[u8; 8] = b"EFI PART";
/// MBR, header and entries.
pub const PRIMARY_SIZE: usize = 34 * SECTOR as usize;
/// Entries and header at the end of the disk.
pub const BACKUP_SIZE: usize = 33 * SECTOR as usize;

/// The bytes at the start and at the end of the disk.
pub fn tables(layout: &Layout) -> (Vec<u8>, Vec<u8>) {
    let sectors = layout.size / SECTOR;
    let entries = entries(layout);
    let crc = crc32fast::hash(&entries);
    let mut primary = protective_mbr(sectors);
    primary.extend(header(layout, crc, 1, sectors - 1, 2));
    primary.extend(&entries);
    let mut backup = entries;
    backup.extend(header(layout, crc, sectors - 1, 1, sectors - 33));
    (primary, backup)
}

fn protective_mbr(sectors: u64) -> Vec<u8> {
    let mut mbr = vec![0; SECTOR as usize];
    mbr[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    mbr[458..462].copy_from_slice(&size.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

fn entries(layout: &Layout) -> Vec<u8> {
    let mut table = vec![0; TABLE];
    for (partition, entry) in layout.partitions.iter().zip(table.chunks_mut(ENTRY)) {
        let first = partition.start / SECTOR;
        let last = first + partition.size / SECTOR - 1;
        entry[..16].copy_from_slice(&partition.kind.to_guid());
        entry[16..32].copy_from_slice(&partition.uuid.to_guid());
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        for (unit, place) in partition
            .label
            .encode_utf16()
            .zip(entry[56..].chunks_mut(2))
        {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
    table
}

fn header(layout: &Layout, entries_crc: u32, own: u64, other: u64, entries: u64) -> Vec<u8> {
    let sectors = layout.size / SECTOR;
    let mut header = vec![0; SECTOR as usize];
    let mut put = |offset: usize, bytes: &[u8]| {
        header[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, SIGNATURE);
    put(8, &0x0001_0000_u32.to_le_bytes());
    put(12, &(HEADER as u32).to_le_bytes());
    put(24, &own.to_le_bytes());
    put(32, &other.to_le_bytes());
    put(40, &34_u64.to_le_bytes());
    put(48, &(sectors - 34).to_le_bytes());
    put(56, &layout.disk.to_guid());
    put(72, &entries.to_le_bytes());
    put(80, &(ENTRIES as u32).to_le_bytes());
    put(84, &(ENTRY as u32).to_le_bytes());
    put(88, &entries_crc.to_le_bytes());
    let crc = crc32fast::hash(&header[..HEADER]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    header
}

/// A partition as read from a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub label: String,
    pub kind: Uuid,
    pub uuid: Uuid,
    pub start: u64,
    pub size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no GUID partition table")]
    Missing,
    #[error("the partition table has a shape that is not supported")]
    Shape,
    #[error("the partition table's header has a wrong checksum")]
    HeaderChecksum,
    #[error("the partition table's entries have a wrong checksum")]
    EntriesChecksum,
    #[error("partition {0} ends before it starts")]
    Extent(usize),
}

/// Reads the first `PRIMARY_SIZE` bytes of a disk.
pub fn read(primary: &[u8]) -> Result<Vec<Entry>, Refused> {
    let sector = SECTOR as usize;
    let header = primary.get(sector..2 * sector).ok_or(Refused::Missing)?;
    let entries = primary
        .get(2 * sector..2 * sector + TABLE)
        .ok_or(Refused::Missing)?;
    if &header[..8] != SIGNATURE {
        return Err(Refused::Missing);
    }
    if long(header, 72) != 2 || word(header, 12) != HEADER as u32 {
        return Err(Refused::Shape);
    }
    if (word(header, 80), word(header, 84)) != (ENTRIES as u32, ENTRY as u32) {
        return Err(Refused::Shape);
    }
    let mut cleared = header[..HEADER].to_vec();
    cleared[16..20].fill(0);
    if crc32fast::hash(&cleared) != word(header, 16) {
        return Err(Refused::HeaderChecksum);
    }
    if crc32fast::hash(entries) != word(header, 88) {
        return Err(Refused::EntriesChecksum);
    }
    let used = entries
        .chunks(ENTRY)
        .enumerate()
        .filter(|(_, entry)| entry[..16] != [0; 16]);
    used.map(|(index, entry)| read_entry(entry).ok_or(Refused::Extent(index + 1)))
        .collect()
}

fn read_entry(entry: &[u8]) -> Option<Entry> {
    let (first, last) = (long(entry, 32), long(entry, 40));
    let sectors = last.checked_sub(first)?.checked_add(1)?;
    let units = entry[56..]
        .chunks(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let label: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    let guid =
        |offset: usize| Uuid::from_guid(entry[offset..offset + 16].try_into().expect("16 bytes"));
    Some(Entry {
        label: String::from_utf16_lossy(&label),
        kind: guid(0),
        uuid: guid(16),
        start: first.checked_mul(SECTOR)?,
        size: sectors.checked_mul(SECTOR)?,
    })
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("4 bytes"))
}

fn long(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn table() -> (Layout, Vec<u8>) {
        let layout = Layout::of(&Digest::of(b"root"));
        let (primary, backup) = tables(&layout);
        assert_eq!((primary.len(), backup.len()), (PRIMARY_SIZE, BACKUP_SIZE));
        (layout, primary)
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let (layout, primary) = table();
        let entries = read(&primary).unwrap();
        assert_eq!(entries.len(), layout.partitions.len());
        for (entry, partition) in entries.iter().zip(&layout.partitions) {
            assert_eq!(entry.label, partition.label);
            assert_eq!((entry.start, entry.size), (partition.start, partition.size));
            assert_eq!((entry.kind, entry.uuid), (partition.kind, partition.uuid));
        }
    }

    #[test]
    fn a_damaged_table_is_refused() {
        let (_, good) = table();
        let damaged = |offset: usize| {
            let mut bytes = good.clone();
            bytes[offset] ^= 1;
            read(&bytes).unwrap_err()
        };
        assert_eq!(damaged(512), Refused::Missing);
        assert_eq!(damaged(512 + 56), Refused::HeaderChecksum);
        assert_eq!(damaged(1024 + 40), Refused::EntriesChecksum);
        assert_eq!(read(&good[..100]), Err(Refused::Missing));
    }
}

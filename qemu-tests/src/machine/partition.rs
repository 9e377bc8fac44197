//! Where a partition with a given label lies on a raw disk image (UEFI specification 5.3).

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

const SECTOR: u64 = 512;
const LABEL: Range<usize> = 56..128;

#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    #[error("reading the partition table")]
    Io(#[from] io::Error),
    #[error("the disk has no GPT")]
    NoTable,
    #[error("the disk has no partition {label}")]
    Missing { label: String },
}

/// The bytes of the partition.
pub fn find(disk: &mut (impl Read + Seek), label: &str) -> Result<Range<u64>, PartitionError> {
    let mut header = [0; 92];
    disk.seek(SeekFrom::Start(SECTOR))?;
    disk.read_exact(&mut header)?;
    if !header.starts_with(b"EFI PART") {
        return Err(PartitionError::NoTable);
    }
    let (count, size) = (number(&header[80..84]), number(&header[84..88]));
    if !(128..=4096).contains(&size) || count > 4096 {
        return Err(PartitionError::NoTable);
    }
    disk.seek(SeekFrom::Start(
        number(&header[72..80]).saturating_mul(SECTOR),
    ))?;
    let mut entry = vec![0; usize::try_from(size).unwrap_or_default()];
    for _ in 0..count {
        disk.read_exact(&mut entry)?;
        if decode(&entry[LABEL]) == label {
            let (first, last) = (number(&entry[32..40]), number(&entry[40..48]));
            return Ok(first.saturating_mul(SECTOR)..last.saturating_add(1).saturating_mul(SECTOR));
        }
    }
    Err(PartitionError::Missing {
        label: label.to_owned(),
    })
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn decode(label: &[u8]) -> String {
    let units = label
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    String::from_utf16_lossy(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn disk(label: &str) -> Cursor<Vec<u8>> {
        let mut bytes = vec![0; 4096];
        bytes[512..520].copy_from_slice(b"EFI PART");
        bytes[512 + 72] = 2;
        bytes[512 + 80] = 4;
        bytes[512 + 84] = 128;
        let entry = &mut bytes[1024 + 128..1024 + 256];
        entry[32] = 8;
        entry[41] = 1;
        for (place, unit) in label.encode_utf16().enumerate() {
            entry[56 + 2 * place..58 + 2 * place].copy_from_slice(&unit.to_le_bytes());
        }
        Cursor::new(bytes)
    }

    #[test]
    fn a_partition_is_found_by_its_label() {
        assert_eq!(
            find(&mut disk("CONFIG"), "CONFIG").unwrap(),
            8 * 512..257 * 512
        );
        let missing = find(&mut disk("CONFIG2"), "CONFIG").unwrap_err();
        assert_eq!(missing.to_string(), "the disk has no partition CONFIG");
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in [vec![], vec![0; 4096]] {
            assert!(find(&mut Cursor::new(bytes), "CONFIG").is_err());
        }
        let mut huge = disk("CONFIG");
        huge.get_mut()[512 + 87] = 0xff;
        assert!(matches!(
            find(&mut huge, "CONFIG"),
            Err(PartitionError::NoTable)
        ));
    }
}

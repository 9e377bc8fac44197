//! The recording's bytes: the format of dm-log-writes, which QEMU writes as well.
//!
//! One sector of superblock, then for each entry one sector that describes it and its data.

use super::SECTOR;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// No request of a guest is larger; a description that says so is not one.
const LARGEST: u64 = 1 << 32;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidLog {
    #[error("it does not begin as a recording of block writes")]
    Magic,
    #[error("its version is {0}, this reads 1")]
    Version(u64),
    #[error("its sectors have {0} bytes, this reads {SECTOR}")]
    SectorSize(u32),
    #[error("entry {number} has {what}")]
    Entry { number: u64, what: &'static str },
    #[error("it ends in entry {number}")]
    Short { number: u64 },
}

/// What an entry did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `forced`: on the disk before it was reported as done.
    Write {
        forced: bool,
    },
    Discard,
    Flush,
    Mark,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub sector: u64,
    pub sectors: u64,
    /// Where the data lie in the recording, in bytes.
    pub data: u64,
}

impl Entry {
    /// Sectors of data that follow the description.
    pub(super) fn data_sectors(&self) -> u64 {
        match self.kind {
            Kind::Write { .. } => self.sectors,
            Kind::Discard | Kind::Flush | Kind::Mark => 0,
        }
    }
}

/// How many entries the recording has.
pub(super) fn superblock(bytes: &[u8; SECTOR as usize]) -> Result<u64, InvalidLog> {
    let number = |at| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if number(0) != MAGIC {
        return Err(InvalidLog::Magic);
    }
    if number(8) != VERSION {
        return Err(InvalidLog::Version(number(8)));
    }
    let size = u32::from_le_bytes(bytes[24..28].try_into().expect("four bytes"));
    if u64::from(size) != SECTOR {
        return Err(InvalidLog::SectorSize(size));
    }
    Ok(number(16))
}

/// The description of entry `number`, whose data would begin at `data`.
pub(super) fn entry(
    bytes: &[u8; SECTOR as usize],
    number: u64,
    data: u64,
) -> Result<Entry, InvalidLog> {
    let field = |at| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let (sector, sectors, flags) = (field(0), field(8), field(16));
    let wrong = |what| Err(InvalidLog::Entry { number, what });
    if flags & !(FLUSH | FUA | DISCARD | MARK) != 0 {
        return wrong("flags this does not know");
    }
    if sectors > LARGEST
        || sector
            .checked_add(sectors)
            .is_none_or(|end| end > u64::MAX / SECTOR)
    {
        return wrong("a range no disk has");
    }
    let kind = match flags {
        _ if flags & MARK != 0 => Kind::Mark,
        _ if flags & DISCARD != 0 => Kind::Discard,
        _ if flags & FLUSH != 0 && sectors == 0 => Kind::Flush,
        _ if flags & FLUSH != 0 => return wrong("a flush with data"),
        _ => Kind::Write {
            forced: flags & FUA != 0,
        },
    };
    Ok(Entry {
        kind,
        sector,
        sectors,
        data,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn sector(fields: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = fields
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .collect();
        bytes.resize(SECTOR as usize, 0);
        bytes
    }

    fn head(fields: [u64; 4]) -> Result<u64, InvalidLog> {
        superblock(&sector(&fields).try_into().unwrap())
    }

    fn described(fields: [u64; 4]) -> Result<Kind, InvalidLog> {
        entry(&sector(&fields).try_into().unwrap(), 7, 0).map(|entry| entry.kind)
    }

    #[test]
    fn a_superblock_says_how_many_entries_there_are() {
        assert_eq!(head([MAGIC, 1, 12, 512]), Ok(12));
        for (fields, refused) in [
            ([1, 1, 12, 512], InvalidLog::Magic),
            ([MAGIC, 2, 12, 512], InvalidLog::Version(2)),
            ([MAGIC, 1, 12, 4096], InvalidLog::SectorSize(4096)),
        ] {
            assert_eq!(head(fields), Err(refused));
        }
    }

    #[test]
    fn the_flags_say_what_an_entry_did() {
        for (sectors, flags, kind) in [
            (8, 0, Kind::Write { forced: false }),
            (8, FUA, Kind::Write { forced: true }),
            (8, DISCARD, Kind::Discard),
            (0, FLUSH, Kind::Flush),
            (0, MARK, Kind::Mark),
        ] {
            assert_eq!(described([3, sectors, flags, 0]), Ok(kind));
        }
    }

    #[test]
    fn a_description_that_cannot_be_is_refused_with_its_number() {
        for fields in [
            [0, 8, 16, 0],
            [u64::MAX, 8, 0, 0],
            [0, LARGEST + 1, 0, 0],
            [0, 8, 1, 0],
        ] {
            let refused = described(fields).unwrap_err();
            assert!(
                matches!(refused, InvalidLog::Entry { number: 7, .. }),
                "{refused}"
            );
        }
    }
}

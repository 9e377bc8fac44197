//! Patches from one file to another: extents in order, each copied from the old file, unpacked
//! with a part of the old file as reference, or made of such a part by [`diff`].
//!
//! ```text
//! "STRKPAT1" | new size u64 | old size u64 | extents u32 | 0 u32
//! per extent: new length u32 | kind u32 (0 copy, 1 zstd, 2 diff) | reference offset u64
//!             | reference length u32 | body length u32
//! the bodies, in order
//! ```
//! All numbers little endian. An extent is decoded by itself, with at most [`REFERENCE`] bytes of
//! the old file and [`EXTENT`] bytes of result in memory.

use std::ops::Range;

use zstd::zstd_safe::DCtx;

use super::diff;

/// Largest result of one extent.
pub const EXTENT: u64 = 8 << 20;
/// Largest reference of one extent.
pub const REFERENCE: u64 = 32 << 20;
/// Largest table that is read.
pub const TABLE: u64 = 16 << 20;

const MAGIC: &[u8; 8] = b"STRKPAT1";
const HEAD: usize = 32;
const ENTRY: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Copy,
    Zstd,
    Diff,
}

/// One extent; `body` is where its bytes lie in the patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    pub kind: Kind,
    pub new: Range<u64>,
    pub old: Range<u64>,
    pub body: Range<u64>,
}

/// A patch's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub new_size: u64,
    pub old_size: u64,
    pub extents: Vec<Extent>,
}

/// Why a patch is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidPatch {
    #[error("it does not begin as a patch does")]
    Head,
    #[error("its table has {found} bytes, its head says {expected}")]
    Table { found: u64, expected: u64 },
    #[error("extent {0} is impossible")]
    Extent(usize),
    #[error("the extents make {found} bytes, the head says {expected}")]
    NewSize { found: u64, expected: u64 },
    #[error("the bodies end at {found}, the patch at {expected}")]
    Length { found: u64, expected: u64 },
    #[error("the extent at byte {0} cannot be decoded")]
    Decode(u64),
}

impl Table {
    /// Reads a table, which is exactly the first bytes of a patch of `length` bytes.
    pub fn parse(bytes: &[u8], length: u64) -> Result<Self, InvalidPatch> {
        if bytes.len() < HEAD || !bytes.starts_with(MAGIC) || u32_at(bytes, 28) != 0 {
            return Err(InvalidPatch::Head);
        }
        let (new_size, old_size) = (u64_at(bytes, 8), u64_at(bytes, 16));
        let count = u64::from(u32_at(bytes, 24));
        let (found, expected) = (bytes.len() as u64, HEAD as u64 + count * ENTRY as u64);
        if found != expected || found > TABLE {
            return Err(InvalidPatch::Table { found, expected });
        }
        let (mut made, mut at) = (0, found);
        let mut extents = Vec::with_capacity(count as usize);
        for (number, entry) in bytes[HEAD..].chunks_exact(ENTRY).enumerate() {
            let extent = extent(entry, made, at, old_size);
            let extent = extent.ok_or(InvalidPatch::Extent(number))?;
            (made, at) = (extent.new.end, extent.body.end);
            extents.push(extent);
        }
        if made != new_size {
            return Err(InvalidPatch::NewSize {
                found: made,
                expected: new_size,
            });
        }
        if at != length {
            return Err(InvalidPatch::Length {
                found: at,
                expected: length,
            });
        }
        Ok(Self {
            new_size,
            old_size,
            extents,
        })
    }

    /// The bytes that are read by `parse`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = self.extents.len() as u32;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.new_size.to_le_bytes());
        bytes.extend(self.old_size.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        for extent in &self.extents {
            let length = |range: &Range<u64>| ((range.end - range.start) as u32).to_le_bytes();
            bytes.extend(length(&extent.new));
            bytes.extend((extent.kind as u32).to_le_bytes());
            bytes.extend(extent.old.start.to_le_bytes());
            bytes.extend(length(&extent.old));
            bytes.extend(length(&extent.body));
        }
        bytes
    }

    /// The extents that make any of the blocks, which are in order.
    pub fn making(&self, blocks: impl IntoIterator<Item = u64>, block: u64) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        for number in blocks {
            let span = number * block..(number + 1) * block;
            let first = self
                .extents
                .partition_point(|extent| extent.new.end <= span.start);
            let rest = self.extents[first..].iter();
            let touched = first..first + rest.take_while(|e| e.new.start < span.end).count();
            let known = found.last().map_or(0, |last| last + 1);
            found.extend(touched.start.max(known)..touched.end.max(known));
        }
        found
    }
}

/// How long the table of a patch is, by its own head.
pub fn table_length(patch: &[u8]) -> u64 {
    let count = patch.get(24..28).map_or(0, |_| u32_at(patch, 24));
    HEAD as u64 + u64::from(count) * ENTRY as u64
}

fn extent(entry: &[u8], made: u64, at: u64, old_size: u64) -> Option<Extent> {
    let kind = match u32_at(entry, 4) {
        0 => Kind::Copy,
        1 => Kind::Zstd,
        2 => Kind::Diff,
        _ => return None,
    };
    let new = u64::from(u32_at(entry, 0));
    let (start, old) = (u64_at(entry, 8), u64::from(u32_at(entry, 16)));
    let body = u64::from(u32_at(entry, 20));
    let end = start.checked_add(old)?;
    let possible = (1..=EXTENT).contains(&new)
        && end <= old_size
        && match kind {
            Kind::Copy => old == new && body == 0,
            Kind::Zstd | Kind::Diff => {
                old <= REFERENCE && (1..=new + (new >> 7) + 1024).contains(&body)
            }
        };
    let new = made..made.checked_add(new)?;
    possible.then(|| Extent {
        kind,
        new,
        old: start..end,
        body: at..at + body,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Makes an extent's part of the new file. `old` and `body` are what the extent's ranges name.
pub fn decode(extent: &Extent, old: &[u8], body: &[u8]) -> Result<Vec<u8>, InvalidPatch> {
    let failed = || InvalidPatch::Decode(extent.new.start);
    let length = (extent.new.end - extent.new.start) as usize;
    let made = match extent.kind {
        Kind::Copy => old.to_vec(),
        Kind::Zstd => {
            // One shot from memory to memory: the window is the result itself, so the decoder
            // takes nothing more however large a window the frame asks for.
            let mut context = DCtx::create();
            context.ref_prefix(old).map_err(|_| failed())?;
            let mut made = Vec::with_capacity(length);
            context.decompress(&mut made, body).map_err(|_| failed())?;
            made
        }
        Kind::Diff => {
            let content = zstd::bulk::decompress(body, diff::longest(length));
            let content = content.map_err(|_| failed())?;
            diff::apply(&content, old, length).ok_or_else(failed)?
        }
    };
    if made.len() == length {
        Ok(made)
    } else {
        Err(failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let extents = vec![
            Extent {
                kind: Kind::Copy,
                new: 0..8192,
                old: 4096..12_288,
                body: 80..80,
            },
            Extent {
                kind: Kind::Zstd,
                new: 8192..12_288,
                old: 0..4096,
                body: 80..100,
            },
        ];
        Table {
            new_size: 12_288,
            old_size: 12_288,
            extents,
        }
    }

    #[test]
    fn the_table_is_read_as_written() {
        assert_eq!(Table::parse(&table().to_bytes(), 100), Ok(table()));
        assert_eq!(table().making([0, 1], 4096), [0]);
        assert_eq!(table().making([0, 2], 4096), [0, 1]);
        assert_eq!(table().making([], 4096), [0; 0]);
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        type Change = fn(&mut Table);
        let cases: [(Change, InvalidPatch); 7] = [
            (|t| t.extents[0].old = 8192..16_384, InvalidPatch::Extent(0)),
            (|t| t.extents[0].old.end -= 1, InvalidPatch::Extent(0)),
            (
                |t| t.extents[1].old.end += REFERENCE,
                InvalidPatch::Extent(1),
            ),
            (|t| t.extents[1].body.end = 80, InvalidPatch::Extent(1)),
            (
                |t| t.extents[1].body.end = 90,
                InvalidPatch::Length {
                    found: 90,
                    expected: 100,
                },
            ),
            (
                |t| t.new_size = 1,
                InvalidPatch::NewSize {
                    found: 12_288,
                    expected: 1,
                },
            ),
            (|t| t.extents[1].new.end += EXTENT, InvalidPatch::Extent(1)),
        ];
        for (change, expected) in cases {
            let mut table = table();
            change(&mut table);
            assert_eq!(Table::parse(&table.to_bytes(), 100), Err(expected));
        }
        let bytes = table().to_bytes();
        for cut in 0..bytes.len() {
            assert!(Table::parse(&bytes[..cut], 100).is_err(), "{cut} bytes");
        }
    }

    #[test]
    fn an_extent_never_grows_beyond_its_length() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 24], 3).unwrap();
        let extent = &table().extents[1];
        assert_eq!(
            decode(extent, &[0; 4096], &bomb),
            Err(InvalidPatch::Decode(8192))
        );
        assert_eq!(
            decode(extent, &[], b"no frame"),
            Err(InvalidPatch::Decode(8192))
        );
    }
}

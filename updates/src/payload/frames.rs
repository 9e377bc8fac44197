//! The slot's content in independent zstd frames, so that any part can be fetched by itself.
//!
//! The file is a zstd stream that `zstd -d` unpacks, with the seek table of zstd's own "seekable
//! format" at its end: a skippable frame of pairs (compressed length, raw length).

use super::BLOCK;

/// Raw bytes of every frame but the last, as the publisher makes them.
pub const FRAME: u64 = 256 << 10;
/// Largest raw length of a frame that is decoded.
const LARGEST_FRAME: u32 = 1 << 20;
/// Largest table that is read: one entry per block of a slot of 16 GiB.
const LARGEST_TABLE: u64 = 32 << 20;

const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
const HEAD: usize = 8;
const ENTRY: usize = 8;
const FOOT: usize = 9;

/// One frame: where it lies in the file, and what it holds of the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub offset: u64,
    pub length: u32,
    /// First byte of the slot's content it holds.
    pub start: u64,
    pub raw: u32,
}

/// The table of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub frames: Vec<Frame>,
}

/// Why a table or a frame is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidFrames {
    #[error("the table of {0} bytes is not a seek table")]
    Table(u64),
    #[error("frame {0} has an impossible length")]
    Frame(usize),
    #[error("the frames hold {found} bytes, expected {expected}")]
    Content { found: u64, expected: u64 },
    #[error("frames and table are {found} bytes, the file has {expected}")]
    File { found: u64, expected: u64 },
    #[error("the frame does not decode to {0} bytes")]
    Decode(u32),
}

impl Index {
    /// Reads the table of a file of `file_length` bytes that must hold `content` bytes.
    pub fn parse(table: &[u8], file_length: u64, content: u64) -> Result<Self, InvalidFrames> {
        let length = table.len() as u64;
        let entries = entries(table).ok_or(InvalidFrames::Table(length))?;
        let (mut offset, mut start) = (0, 0);
        let mut frames = Vec::with_capacity(entries.len() / ENTRY);
        for (number, entry) in entries.chunks_exact(ENTRY).enumerate() {
            let (length, raw) = (le(&entry[..4]), le(&entry[4..]));
            let possible = raw > 0
                && raw <= LARGEST_FRAME
                && u64::from(raw).is_multiple_of(BLOCK)
                && (1..=raw + (raw >> 7) + 1024).contains(&length);
            if !possible {
                return Err(InvalidFrames::Frame(number));
            }
            frames.push(Frame {
                offset,
                length,
                start,
                raw,
            });
            offset += u64::from(length);
            start += u64::from(raw);
        }
        if start != content {
            return Err(InvalidFrames::Content {
                found: start,
                expected: content,
            });
        }
        if offset + length != file_length {
            return Err(InvalidFrames::File {
                found: offset + length,
                expected: file_length,
            });
        }
        Ok(Self { frames })
    }

    /// The table of frames with these (compressed, raw) lengths.
    pub fn to_table(lengths: &[(u32, u32)]) -> Vec<u8> {
        let count = lengths.len() as u32;
        let body = count * ENTRY as u32 + FOOT as u32;
        let mut table = [SKIPPABLE.to_le_bytes(), body.to_le_bytes()].concat();
        for (length, raw) in lengths {
            table.extend([length.to_le_bytes(), raw.to_le_bytes()].concat());
        }
        table.extend(count.to_le_bytes());
        table.push(0);
        table.extend(SEEKABLE.to_le_bytes());
        table
    }

    /// The frames that hold any of the blocks, which are in order.
    pub fn holding(&self, blocks: impl IntoIterator<Item = u64>) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        for block in blocks {
            let at = block * BLOCK;
            let frame = self
                .frames
                .partition_point(|frame| frame.start <= at)
                .saturating_sub(1);
            if found.last() != Some(&frame) {
                found.push(frame);
            }
        }
        found
    }
}

/// The entries of a table without checksums.
fn entries(table: &[u8]) -> Option<&[u8]> {
    let body = table.get(HEAD..)?;
    let entries = body.get(..body.len().checked_sub(FOOT)?)?;
    let foot = &body[entries.len()..];
    let count = u64::from(le(&foot[..4]));
    let sound = le(&table[..4]) == SKIPPABLE
        && u64::from(le(&table[4..8])) == body.len() as u64
        && le(&foot[5..]) == SEEKABLE
        && foot[4] == 0
        && count * ENTRY as u64 == entries.len() as u64
        && table.len() as u64 <= LARGEST_TABLE;
    sound.then_some(entries)
}

fn le(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Unpacks one frame; never makes more than its raw length.
pub fn decode(frame: &Frame, bytes: &[u8]) -> Result<Vec<u8>, InvalidFrames> {
    let raw = zstd::bulk::decompress(bytes, frame.raw as usize);
    match raw {
        Ok(raw) if raw.len() == frame.raw as usize => Ok(raw),
        _ => Err(InvalidFrames::Decode(frame.raw)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_as_written() {
        let table = Index::to_table(&[(100, 8192), (50, 4096)]);
        let length = 150 + table.len() as u64;
        let index = Index::parse(&table, length, 12_288).unwrap();
        let second = Frame {
            offset: 100,
            length: 50,
            start: 8192,
            raw: 4096,
        };
        assert_eq!(index.frames[1], second);
        assert_eq!(index.holding([0, 1]), [0]);
        assert_eq!(index.holding([1, 2]), [0, 1]);
        assert_eq!(index.holding([]), [0; 0]);
    }

    #[test]
    fn tables_that_do_not_add_up_are_refused() {
        let table = |lengths: &[(u32, u32)]| Index::to_table(lengths);
        let parse = |table: &[u8], content| Index::parse(table, 150 + table.len() as u64, content);
        let good = table(&[(100, 8192), (50, 4096)]);
        assert_eq!(
            parse(&good, 8192),
            Err(InvalidFrames::Content {
                found: 12_288,
                expected: 8192
            })
        );
        assert!(matches!(
            Index::parse(&good, 9, 12_288),
            Err(InvalidFrames::File { .. })
        ));
        for lengths in [
            (0, 4096),
            (100, 0),
            (100, 4097),
            (100, 2 << 20),
            (9000, 4096),
        ] {
            assert_eq!(
                parse(&table(&[lengths]), 4096),
                Err(InvalidFrames::Frame(0))
            );
        }
        for cut in 0..good.len() {
            assert!(parse(&good[..cut], 12_288).is_err(), "{cut} bytes");
        }
    }

    #[test]
    fn a_frame_never_grows_beyond_its_raw_length() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 24], 3).unwrap();
        let frame = Frame {
            offset: 0,
            length: bomb.len() as u32,
            start: 0,
            raw: 4096,
        };
        assert_eq!(decode(&frame, &bomb), Err(InvalidFrames::Decode(4096)));
        let short = zstd::bulk::compress(&[0; 100], 3).unwrap();
        assert_eq!(decode(&frame, &short), Err(InvalidFrames::Decode(4096)));
        assert_eq!(
            decode(&frame, b"no frame"),
            Err(InvalidFrames::Decode(4096))
        );
    }
}

//! gzip with an end: a size limit, and no silence about data cut short.

use std::io::{ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

pub(super) const MAGIC: [u8; 2] = [0x1F, 0x8B];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Error {
    #[error("it expands beyond the limit of 16 MiB in all")]
    TooBig,
    #[error("it is cut short")]
    CutShort,
    #[error("its checksum or its data is wrong")]
    Corrupt,
}

/// Unpacks all members; what follows the last one must be another member or nothing.
pub(crate) fn unpack(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let mut unpacked = Vec::new();
    let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    match MultiGzDecoder::new(bytes)
        .take(ceiling)
        .read_to_end(&mut unpacked)
    {
        Ok(_) if unpacked.len() > limit => Err(Error::TooBig),
        Ok(_) => Ok(unpacked),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Error::CutShort),
        Err(_) => Err(Error::Corrupt),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    #[test]
    fn what_was_packed_comes_back() {
        assert_eq!(unpack(&pack(b"hello"), 5), Ok(b"hello".to_vec()));
        let two = [pack(b"a"), pack(b"b")].concat();
        assert_eq!(
            unpack(&two, 5),
            Ok(b"ab".to_vec()),
            "members follow one another"
        );
    }

    #[test]
    fn every_way_of_cutting_it_short_is_noticed() {
        let packed = pack(b"some text that is packed");
        for end in 2..packed.len() {
            assert!(unpack(&packed[..end], 100).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_noticed() {
        let mut packed = pack(b"some text");
        let at = packed.len() - 6;
        packed[at] ^= 1;
        assert_eq!(unpack(&packed, 100), Err(Error::Corrupt));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        assert_eq!(unpack(&pack(&vec![0; 1 << 20]), 1000), Err(Error::TooBig));
    }
}

//! Fixed names for what formats want random ones for.

use std::fmt;

use serde::Serialize;

use crate::digest::Digest;

/// A UUID in the byte order of its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// The same for each build, different for each name.
    pub fn named(name: &str) -> Self {
        Self::from_half(&Digest::of(format!("strake {name}").as_bytes()).bytes()[..16])
    }

    /// The slot's partitions are named by the halves of its root hash, as the Discoverable
    /// Partitions Specification asks.
    pub fn of_slot(root: &Digest) -> (Self, Self) {
        let (data, tree) = root.bytes().split_at(16);
        let plain = |half: &[u8]| Self(half.try_into().expect("half of 32 bytes"));
        (plain(data), plain(tree))
    }

    pub const fn new(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// As GPT and EFI store it: the first three fields in little endian.
    pub fn to_guid(self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }

    pub fn from_guid(mut bytes: [u8; 16]) -> Self {
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Self(bytes)
    }

    /// Version 8 of RFC 9562: own content.
    fn from_half(half: &[u8]) -> Self {
        let mut bytes: [u8; 16] = half.try_into().expect("16 bytes");
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Uuid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_has_its_first_fields_swapped() {
        let uuid = Uuid::new(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
        assert_eq!(uuid.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(
            uuid.to_guid()[..8],
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]
        );
        assert_eq!(Uuid::from_guid(uuid.to_guid()), uuid);
    }
}

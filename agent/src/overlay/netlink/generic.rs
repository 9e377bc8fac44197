//! Generic netlink: messages of families that have names, each numbered when the kernel starts.
//!
//! Only what the overlay needs: an own encoder of a few lines instead of two crates more.

use std::convert::Infallible;
use std::io;

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_sys::protocols::NETLINK_GENERIC;

use super::socket::Socket;

/// Of the family that knows all others.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const CONTROL_VERSION: u8 = 2;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// Command, version, and two bytes that nobody uses.
const HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;
const NESTED: u16 = 1 << 15;
const KIND: u16 = (1 << 14) - 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generic {
    pub(super) family: u16,
    pub(super) command: u8,
    pub(super) version: u8,
    pub(super) attributes: Vec<u8>,
}

impl NetlinkSerializable for Generic {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        HEADER + self.attributes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..HEADER].copy_from_slice(&[self.command, self.version, 0, 0]);
        buffer[HEADER..self.buffer_len()].copy_from_slice(&self.attributes);
    }
}

impl NetlinkDeserializable for Generic {
    type Error = Infallible;

    /// A message without its header is one without attributes.
    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Generic, Infallible> {
        let byte = |nth: usize| payload.get(nth).copied().unwrap_or_default();
        Ok(Generic {
            family: header.message_type,
            command: byte(0),
            version: byte(1),
            attributes: payload.get(HEADER..).unwrap_or_default().to_vec(),
        })
    }
}

/// Attributes being written.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// The value's length is that of a key or a list of one peer: far below what fits.
    pub(super) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Attributes {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        let padded = self.0.len().next_multiple_of(4);
        self.0.resize(padded, 0);
        self
    }

    pub(super) fn nest(&mut self, kind: u16, inner: Attributes) -> &mut Attributes {
        self.put(kind | NESTED, &inner.0)
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Attributes being read; what is cut short ends them.
pub(super) struct Read<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Read<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let number = |at: usize| {
            let bytes = self.0.get(at..at + 2)?;
            Some(u16::from_ne_bytes(bytes.try_into().ok()?))
        };
        let (length, kind) = (usize::from(number(0)?), number(2)?);
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & KIND, value))
    }
}

pub(super) fn open() -> io::Result<Socket<Generic>> {
    Socket::open(NETLINK_GENERIC)
}

/// The number that the kernel has given to a family.
pub(super) fn family(socket: &mut Socket<Generic>, name: &str) -> io::Result<u16> {
    let asked = Generic {
        family: CONTROL,
        command: GET_FAMILY,
        version: CONTROL_VERSION,
        attributes: Attributes::default()
            .put(FAMILY_NAME, format!("{name}\0").as_bytes())
            .take(),
    };
    let found = socket.find(asked)?;
    let unknown = || io::Error::other(format!("this kernel does not have {name}"));
    let found = found.ok_or_else(unknown)?;
    let id = Read(&found.attributes).find(|(kind, _)| *kind == FAMILY_ID);
    let id = id.and_then(|(_, value)| Some(u16::from_ne_bytes(value.try_into().ok()?)));
    id.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By hand, on a machine whose lowest byte comes first.
    #[test]
    fn attributes_are_padded_and_nested_ones_marked() {
        let mut inner = Attributes::default();
        inner.put(3, &[7]);
        let mut all = Attributes::default();
        all.put(1, &[1, 2, 3, 4]).nest(8, inner);
        let expected = [
            8, 0, 1, 0, 1, 2, 3, 4, // four bytes of kind 1
            12, 0, 8, 0x80, // nested, of kind 8
            5, 0, 3, 0, 7, 0, 0, 0, // one byte of kind 3, padded
        ];
        let bytes = all.take();
        assert_eq!(bytes, expected);
        let read: Vec<(u16, &[u8])> = Read(&bytes).collect();
        assert_eq!(read, [(1, &expected[4..8]), (8, &expected[12..])]);
    }

    /// The kernel's own family is everywhere, and has the number that its header file says.
    #[test]
    fn a_family_is_found_by_its_name() {
        let mut socket = open().expect("a socket");
        assert_eq!(family(&mut socket, "nlctrl").expect("a number"), CONTROL);
        let error = family(&mut socket, "no such one").expect_err("unknown");
        assert_eq!(error.to_string(), "this kernel does not have no such one");
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_reading_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Read(&bytes).count() <= bytes.len());
        }
    }
}

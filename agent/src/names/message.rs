//! DNS messages (RFC 1035, 6891), as much of them as addresses of names need. Pure; takes any bytes.

use std::net::IpAddr;

pub const A: u16 = 1;
pub const PTR: u16 = 12;
pub const AAAA: u16 = 28;
pub const ANY: u16 = 255;
pub const IN: u16 = 1;
const SOA: u16 = 6;
const OPT: u16 = 41;

/// How long an answer may be remembered, in seconds; also that there is none.
pub const TTL: u32 = 5;
/// Of a datagram: what passes every network whole.
pub const DATAGRAM: usize = 1232;
/// Of a datagram for whoever does not say how much he takes.
const OLD_DATAGRAM: usize = 512;
const HEADER: usize = 12;
const LONGEST_NAME: usize = 255;
const LONGEST_LABEL: usize = 63;
/// Of what we append ourselves for those who know extensions.
const EXTENSION: usize = 11;
/// A pointer to the question's name, which stands right behind the header.
const TO_THE_QUESTION: u16 = 0xc000 | HEADER as u16;

const RESPONSE: u16 = 0x8000;
const OPERATION: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CHECKING_DISABLED: u16 = 0x0010;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Well = 0,
    Malformed = 1,
    Failed = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// What the asker says of itself beyond the message of old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    None,
    /// It takes datagrams of this size.
    Takes(u16),
    UnknownVersion,
    Malformed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    id: u16,
    flags: u16,
    /// In lower case, without the root.
    pub labels: Vec<Vec<u8>>,
    pub kind: u16,
    pub class: u16,
    pub extension: Extension,
    /// As it was written.
    question: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Nothing that may be answered.
    Silence,
    Refused(Vec<u8>),
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A name written out: nothing stands before it that it could point to.
    fn name(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut labels = Vec::new();
        let mut length = 1;
        loop {
            let next = usize::from(self.byte()?);
            if next == 0 {
                return Some(labels);
            }
            length += next + 1;
            if next > LONGEST_LABEL || length > LONGEST_NAME {
                return None;
            }
            labels.push(self.take(next)?.to_ascii_lowercase());
        }
    }

    /// The additional records, of which only one is of interest, and nothing behind them.
    fn extension(&mut self, records: u16) -> Option<Extension> {
        let mut found = Extension::None;
        for _ in 0..records {
            let name = self.name()?;
            let (kind, size) = (self.number()?, self.number()?);
            let version = self.take(4)?[1];
            let length = self.number()?;
            self.take(length.into())?;
            if kind != OPT {
                continue;
            }
            if !name.is_empty() || found != Extension::None {
                return None;
            }
            found = match version {
                0 => Extension::Takes(size),
                _ => Extension::UnknownVersion,
            };
        }
        (self.at == self.bytes.len()).then_some(found)
    }
}

impl Query {
    pub fn parse(bytes: &[u8]) -> Result<Query, Unreadable> {
        let mut reader = Reader { bytes, at: 0 };
        let mut number = || reader.number().ok_or(Unreadable::Silence);
        let (id, flags) = (number()?, number()?);
        let (questions, answers) = (number()?, number()?);
        let (authorities, additional) = (number()?, number()?);
        if flags & RESPONSE != 0 {
            return Err(Unreadable::Silence);
        }
        let refused = |code| Unreadable::Refused(bare(id, flags, code));
        if flags & OPERATION != 0 {
            return Err(refused(Code::NotImplemented));
        }
        let mut question = || Some((reader.name()?, reader.number()?, reader.number()?));
        let (1, Some((labels, kind, class))) = (questions, question()) else {
            return Err(refused(Code::Malformed));
        };
        let question = bytes[HEADER..reader.at].to_vec();
        let extension = match (answers, authorities) {
            (0, 0) => reader.extension(additional),
            _ => None,
        };
        Ok(Query {
            id,
            flags,
            labels,
            kind,
            class,
            extension: extension.unwrap_or(Extension::Malformed),
            question,
        })
    }

    /// How large a datagram for this asker may be.
    pub fn datagram(&self) -> usize {
        match self.extension {
            Extension::Takes(size) => usize::from(size).clamp(OLD_DATAGRAM, DATAGRAM),
            _ => OLD_DATAGRAM,
        }
    }

    /// For what cannot be answered better.
    pub fn refusal(&self, code: Code) -> Vec<u8> {
        let mut writer = Writer::new(self, code);
        writer.extend();
        writer.bytes
    }

    /// The addresses, as many as fit into `most` bytes. Without one the asker is told so for all of
    /// the zone that the last `zone` labels name.
    pub fn answer(&self, code: Code, addresses: &[IpAddr], zone: usize, most: usize) -> Vec<u8> {
        let mut writer = Writer::new(self, code);
        writer.flag(AUTHORITATIVE);
        let room = most.saturating_sub(self.extended());
        for address in addresses {
            if !writer.address(*address, room) {
                writer.flag(TRUNCATED);
                break;
            }
        }
        if addresses.is_empty() {
            writer.start_of_authority(self.offset_of(zone));
        }
        writer.extend();
        writer.bytes
    }

    /// The names of what is at an address, as many as fit; without one there is nothing of the kind.
    pub fn pointing<'n>(
        &self,
        names: impl IntoIterator<Item = &'n Vec<Vec<u8>>>,
        most: usize,
    ) -> Vec<u8> {
        let mut writer = Writer::new(self, Code::Well);
        writer.flag(AUTHORITATIVE);
        let room = most.saturating_sub(self.extended());
        for name in names {
            let mut data = Vec::new();
            for label in name {
                // No longer than 63 bytes.
                data.push(label.len() as u8);
                data.extend(label);
            }
            data.push(0);
            if !writer.answer(PTR, &data, room) {
                writer.flag(TRUNCATED);
                break;
            }
        }
        writer.extend();
        writer.bytes
    }

    fn extended(&self) -> usize {
        match self.extension {
            Extension::None => 0,
            _ => EXTENSION,
        }
    }

    /// Where in the message the last labels of the question's name begin.
    fn offset_of(&self, zone: usize) -> u16 {
        let before = self.labels.len().saturating_sub(zone);
        let length: usize = self.labels[..before].iter().map(|one| one.len() + 1).sum();
        // A name is no longer than 255 bytes.
        0xc000 | (HEADER + length) as u16
    }
}

/// A header that stands alone.
fn bare(id: u16, flags: u16, code: Code) -> Vec<u8> {
    let kept = flags & (OPERATION | RECURSION_DESIRED);
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend(id.to_be_bytes());
    bytes.extend((RESPONSE | kept | code as u16).to_be_bytes());
    bytes.resize(HEADER, 0);
    bytes
}

struct Writer<'q> {
    query: &'q Query,
    bytes: Vec<u8>,
}

impl<'q> Writer<'q> {
    fn new(query: &'q Query, code: Code) -> Writer<'q> {
        let kept = query.flags & (RECURSION_DESIRED | CHECKING_DISABLED);
        let flags = RESPONSE | RECURSION_AVAILABLE | kept | code as u16;
        let mut bytes = Vec::with_capacity(OLD_DATAGRAM);
        bytes.extend(query.id.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        bytes.extend(1_u16.to_be_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(&query.question);
        Writer { query, bytes }
    }

    fn flag(&mut self, flag: u16) {
        let [high, low] = flag.to_be_bytes();
        self.bytes[2] |= high;
        self.bytes[3] |= low;
    }

    /// One more record in the section whose count stands here in the header.
    fn count(&mut self, at: usize) {
        let count = u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]) + 1;
        self.bytes[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }

    fn record(&mut self, owner: u16, kind: u16, data: &[u8]) {
        self.bytes.extend(owner.to_be_bytes());
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(IN.to_be_bytes());
        self.bytes.extend(TTL.to_be_bytes());
        // Data of ours: a few dozen bytes.
        self.bytes.extend((data.len() as u16).to_be_bytes());
        self.bytes.extend(data);
    }

    fn address(&mut self, address: IpAddr, room: usize) -> bool {
        match address {
            IpAddr::V4(v4) => self.answer(A, &v4.octets(), room),
            IpAddr::V6(v6) => self.answer(AAAA, &v6.octets(), room),
        }
    }

    /// Whether it fits.
    fn answer(&mut self, kind: u16, data: &[u8], room: usize) -> bool {
        let before = self.bytes.len();
        self.record(TO_THE_QUESTION, kind, data);
        if self.bytes.len() > room {
            self.bytes.truncate(before);
            return false;
        }
        self.count(6);
        true
    }

    /// Says how long nothing is to be asked again.
    fn start_of_authority(&mut self, zone: u16) {
        let mut data = Vec::new();
        for label in ["resolver", "hostmaster"] {
            // Ten bytes at most.
            data.push(label.len() as u8);
            data.extend(label.as_bytes());
            data.extend(zone.to_be_bytes());
        }
        // Serial, refresh, retry, expire; the last one is what counts.
        for number in [1, 3600, 600, 86_400, TTL] {
            data.extend(number.to_be_bytes());
        }
        self.record(zone, SOA, &data);
        self.count(8);
    }

    fn extend(&mut self) {
        let high: u32 = match self.query.extension {
            Extension::None => return,
            // Its code is 16: the four low bits stand in the header.
            Extension::UnknownVersion => 1 << 24,
            Extension::Takes(_) | Extension::Malformed => 0,
        };
        self.bytes.push(0);
        self.bytes.extend(OPT.to_be_bytes());
        self.bytes.extend((DATAGRAM as u16).to_be_bytes());
        self.bytes.extend(high.to_be_bytes());
        self.bytes.extend(0_u16.to_be_bytes());
        self.count(10);
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

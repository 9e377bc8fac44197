//! A netlink socket: of routes, or of generic netlink. Requests go out many to a datagram: the kernel has done all of them and
//! queued its answers when the call that sends them returns.
//!
//! The crate `rtnetlink` sends a datagram per request and waits for each answer; its message types
//! are used here, its connection is not.

use std::io;
use std::marker::PhantomData;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket as Raw, SocketAddr};

/// Requests to a datagram: their answers fit the smallest receive buffer.
const AT_ONCE: usize = 64;
const BUFFER: usize = 256 * 1024;
/// Looks at a table that others keep changing.
const TRIES: usize = 10;
const ERROR: u16 = 2;
const DONE: u16 = 3;

#[derive(Debug)]
pub(super) struct Socket<M> {
    raw: Raw,
    sequence: u32,
    buffer: Vec<u8>,
    messages: PhantomData<M>,
}

impl<M: NetlinkSerializable + NetlinkDeserializable + Clone> Socket<M> {
    pub(super) fn open(protocol: isize) -> io::Result<Socket<M>> {
        let mut raw = Raw::new(protocol)?;
        raw.bind_auto()?;
        raw.connect(&SocketAddr::new(0, 0))?;
        // Without the request copied into each answer.
        raw.set_cap_ack(true)?;
        // The kernel looks at what a list is asked for, and lists only that.
        raw.set_netlink_get_strict_chk(true)?;
        Ok(Socket {
            raw,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER),
            messages: PhantomData,
        })
    }

    fn put(&mut self, bytes: &mut Vec<u8>, message: M, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let payload = NetlinkPayload::InnerMessage(message);
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = bytes.len();
        // Each message begins at a multiple of four.
        bytes.resize((start + message.buffer_len()).next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
        self.sequence
    }

    /// The outcome of each request, in their order.
    pub(super) fn requests(&mut self, requests: Vec<(M, u16)>) -> io::Result<Vec<io::Result<()>>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let mut bytes = Vec::new();
            let mut sequences = Vec::new();
            for (message, flags) in requests.by_ref().take(AT_ONCE) {
                let flags = NLM_F_REQUEST | NLM_F_ACK | flags;
                sequences.push(self.put(&mut bytes, message, flags));
            }
            self.raw.send(&bytes, 0)?;
            let mut answers = self.answers(&sequences)?;
            for sequence in sequences {
                let lost = || Err(io::Error::other("the kernel gave no answer"));
                let answer = answers.iter().position(|(one, _)| *one == sequence);
                outcomes.push(answer.map_or_else(lost, |index| answers.swap_remove(index).1));
            }
        }
        Ok(outcomes)
    }

    pub(super) fn request(&mut self, message: M, flags: u16) -> io::Result<()> {
        let mut outcomes = self.requests(vec![(message, flags)])?;
        outcomes.pop().unwrap_or(Ok(()))
    }

    fn answers(&mut self, sequences: &[u32]) -> io::Result<Vec<(u32, io::Result<()>)>> {
        let mut answers = Vec::with_capacity(sequences.len());
        while answers.len() < sequences.len() {
            self.receive()?;
            for part in Parts(&self.buffer) {
                if part.kind == ERROR && sequences.contains(&part.sequence) {
                    answers.push((part.sequence, outcome(part.payload)));
                }
            }
        }
        Ok(answers)
    }

    /// One object, or nothing when there is none such.
    pub(super) fn find(&mut self, message: M) -> io::Result<Option<M>> {
        let mut bytes = Vec::new();
        let sequence = self.put(&mut bytes, message, NLM_F_REQUEST | NLM_F_ACK);
        self.raw.send(&bytes, 0)?;
        let mut found = None;
        loop {
            self.receive()?;
            for part in Parts(&self.buffer).filter(|part| part.sequence == sequence) {
                if part.kind != ERROR {
                    found = part.read().or(found);
                    continue;
                }
                return match outcome(part.payload) {
                    Ok(()) => Ok(found),
                    Err(error) if is_absent(&error) => Ok(None),
                    Err(error) => Err(error),
                };
            }
        }
    }

    /// A whole table. What cannot be understood is nothing of ours and is left out.
    pub(super) fn dump(&mut self, message: &M) -> io::Result<Vec<M>> {
        for _ in 0..TRIES {
            if let Some(all) = self.dump_once(message.clone())? {
                return Ok(all);
            }
        }
        Err(io::Error::other("the table changed while it was read"))
    }

    /// Nothing: it changed meanwhile.
    fn dump_once(&mut self, message: M) -> io::Result<Option<Vec<M>>> {
        let mut bytes = Vec::new();
        let sequence = self.put(&mut bytes, message, NLM_F_REQUEST | NLM_F_DUMP);
        self.raw.send(&bytes, 0)?;
        let mut all = Vec::new();
        let mut changed = false;
        loop {
            self.receive()?;
            for part in Parts(&self.buffer).filter(|part| part.sequence == sequence) {
                changed |= part.flags & NLM_F_DUMP_INTR != 0;
                match part.kind {
                    DONE | ERROR => {
                        return match outcome(part.payload) {
                            Ok(()) => Ok((!changed).then_some(all)),
                            // A table nobody has used yet.
                            Err(error) if is_absent(&error) => Ok(Some(all)),
                            Err(error) => Err(error),
                        };
                    }
                    _ => all.extend(part.read()),
                }
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.raw.recv(&mut self.buffer, 0)?;
        Ok(())
    }
}

/// No such device, route or entry.
pub(super) fn is_absent(error: &io::Error) -> bool {
    const ENOENT: i32 = 2;
    const ESRCH: i32 = 3;
    const ENODEV: i32 = 19;
    const EADDRNOTAVAIL: i32 = 99;
    let absent = [ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL];
    error
        .raw_os_error()
        .is_some_and(|number| absent.contains(&number))
}

fn outcome(payload: &[u8]) -> io::Result<()> {
    let code = payload
        .first_chunk()
        .map_or(0, |code| i32::from_ne_bytes(*code));
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
    }
}

struct Part<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    whole: &'a [u8],
    payload: &'a [u8],
}

impl Part<'_> {
    fn read<M: NetlinkDeserializable>(&self) -> Option<M> {
        match NetlinkMessage::deserialize(self.whole).ok()?.payload {
            NetlinkPayload::InnerMessage(message) => Some(message),
            _ => None,
        }
    }
}

/// The messages of one datagram.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let bytes = self.0;
        let header = NetlinkBuffer::new_checked(bytes).ok()?;
        let length = header.length() as usize;
        let whole = bytes.get(..length)?;
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Part {
            kind: header.message_type(),
            flags: header.flags(),
            sequence: header.sequence_number(),
            payload: header.payload(),
            whole,
        })
    }
}

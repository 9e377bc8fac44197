//! The packets of `strake overlay check`: pure. Each machine answers, in the tunnel, those of
//! machines that have a lease; it says how large a packet arrived, and answers with one as large as
//! it was asked for, so that each direction is tried by itself.
//!
//! Of a machine that does not answer, a third one can be asked: it asks that one whether it has
//! heard of the first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

/// UDP, at the tunnel's own address.
pub const PORT: u16 = 8473;
pub const LEAST: usize = 40;
const MAGIC: [u8; 8] = *b"strakeP1";
/// A question passed on is forgotten after this.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions of others at a time.
const MOST_PENDING: usize = 256;
const NEVER: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub kind: Kind,
    /// Of the question; the answer has the same.
    pub number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answer with so many bytes.
    Ask { wanted: u16 },
    /// So many bytes arrived.
    Answer { arrived: u16 },
    /// Ask this machine whether it has heard of me.
    AskThere(IpAddr),
    /// Have you heard of this machine?
    Heard(IpAddr),
    /// So many seconds ago; nothing: never.
    HeardAt { of: IpAddr, ago: Option<u32> },
}

impl Packet {
    /// Padded to the size, when that is more than it needs.
    pub fn to_bytes(self, size: usize) -> Vec<u8> {
        let (kind, number, address, ago) = match self.kind {
            Kind::Ask { wanted } => (1, wanted, None, NEVER),
            Kind::Answer { arrived } => (2, arrived, None, NEVER),
            Kind::AskThere(address) => (3, 0, Some(address), NEVER),
            Kind::Heard(address) => (4, 0, Some(address), NEVER),
            Kind::HeardAt { of, ago } => (5, 0, Some(of), ago.unwrap_or(NEVER)),
        };
        let address = match address {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
            Some(IpAddr::V6(address)) => address,
            None => Ipv6Addr::UNSPECIFIED,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.push(kind);
        bytes.push(0);
        bytes.extend(number.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(address.octets());
        bytes.extend(ago.to_be_bytes());
        bytes.resize(size.max(LEAST), 0);
        bytes
    }

    pub fn parse(bytes: &[u8]) -> Option<Packet> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (head, rest) = rest.split_first_chunk::<2>()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (own, rest) = rest.split_first_chunk()?;
        let (address, rest) = rest.split_first_chunk::<16>()?;
        let (ago, _) = rest.split_first_chunk()?;
        let number = u16::from_be_bytes(*number);
        let address = Ipv6Addr::from(*address).to_canonical();
        let ago = Some(u32::from_be_bytes(*ago)).filter(|ago| *ago != NEVER);
        Some(Packet {
            kind: match head[0] {
                1 => Kind::Ask { wanted: number },
                2 => Kind::Answer { arrived: number },
                3 => Kind::AskThere(address),
                4 => Kind::Heard(address),
                5 => Kind::HeardAt { of: address, ago },
                _ => return None,
            },
            number: u64::from_be_bytes(*own),
        })
    }
}

/// What a machine remembers to answer with.
#[derive(Debug, Default)]
pub struct Responder {
    heard: BTreeMap<IpAddr, Instant>,
    pending: BTreeMap<u64, (SocketAddr, Instant)>,
}

impl Responder {
    /// What to send, and where. `peers` are the tunnel's addresses of machines with a lease: nobody
    /// else gets anything, so that nobody can have others flooded. `most` is the largest answer.
    pub fn receive(
        &mut self,
        (from, bytes): (SocketAddr, &[u8]),
        peers: &BTreeSet<IpAddr>,
        most: usize,
        now: Instant,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        if !peers.contains(&from.ip()) {
            return None;
        }
        let packet = Packet::parse(bytes)?;
        self.heard.retain(|address, _| peers.contains(address));
        self.pending.retain(|_, (_, until)| *until > now);
        let (to, kind, size) = match packet.kind {
            Kind::Ask { wanted } => {
                self.heard.insert(from.ip(), now);
                let arrived = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                let size = usize::from(wanted).min(most);
                (from, Kind::Answer { arrived }, size)
            }
            Kind::AskThere(there) => {
                if !peers.contains(&there) || self.pending.len() >= MOST_PENDING {
                    return None;
                }
                self.pending.insert(packet.number, (from, now + PATIENCE));
                (SocketAddr::new(there, PORT), Kind::Heard(from.ip()), LEAST)
            }
            Kind::Heard(of) => {
                let at = self.heard.get(&of);
                let ago = at.map(|at| now.duration_since(*at).as_secs());
                let ago = ago.map(|ago| u32::try_from(ago).unwrap_or(NEVER - 1));
                (from, Kind::HeardAt { of, ago }, LEAST)
            }
            Kind::HeardAt { .. } => {
                let (asker, _) = self.pending.remove(&packet.number)?;
                (asker, packet.kind, LEAST)
            }
            Kind::Answer { .. } => return None,
        };
        let number = packet.number;
        Some((to, Packet { kind, number }.to_bytes(size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 1422;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 5, last, 0])
    }

    fn door(last: u8) -> SocketAddr {
        SocketAddr::new(ip(last), PORT)
    }

    fn packet(kind: Kind) -> Packet {
        Packet { kind, number: 7 }
    }

    fn peers(all: &[u8]) -> BTreeSet<IpAddr> {
        all.iter().map(|last| ip(*last)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_says_what_arrived_and_is_as_large_as_wanted_but_not_larger_than_fits() {
        let mut responder = Responder::default();
        for (sent, wanted, answered) in [(40, 1000, 1000), (1422, 40, 40), (40, 60_000, MOST)] {
            let ask = packet(Kind::Ask { wanted }).to_bytes(sent);
            let from = SocketAddr::new(ip(2), 4000);
            let told = responder.receive((from, &ask), &peers(&[2]), MOST, Instant::now());
            let (to, bytes) = told.expect("an answer");
            assert_eq!((to, bytes.len()), (from, answered));
            let arrived = sent as u16;
            assert_eq!(
                Packet::parse(&bytes),
                Some(packet(Kind::Answer { arrived }))
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_machine_tells_whether_one_has_heard_of_another() {
        // 1 asks 3 about 2, which has heard of 1 five seconds ago.
        let all = peers(&[1, 2, 3]);
        let (mut two, mut three) = (Responder::default(), Responder::default());
        let ask = packet(Kind::Ask { wanted: 40 }).to_bytes(40);
        two.receive((door(1), &ask), &all, MOST, Instant::now());
        tokio::time::advance(Duration::from_secs(5)).await;
        let now = Instant::now();
        let asker = SocketAddr::new(ip(1), 4000);
        let there = packet(Kind::AskThere(ip(2))).to_bytes(0);
        let passed = three
            .receive((asker, &there), &all, MOST, now)
            .expect("passed on");
        assert_eq!(passed.0, door(2));
        let told = two
            .receive((door(3), &passed.1), &all, MOST, now)
            .expect("told");
        assert_eq!(told.0, door(3));
        let back = three
            .receive((door(2), &told.1), &all, MOST, now)
            .expect("passed back");
        assert_eq!(back.0, asker);
        let ago = Some(5);
        let of = ip(1);
        assert_eq!(
            Packet::parse(&back.1),
            Some(packet(Kind::HeardAt { of, ago }))
        );
        // Once is enough.
        assert_eq!(three.receive((door(2), &told.1), &all, MOST, now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_get_no_answer_and_reach_nobody_through_this_machine() {
        let mut responder = Responder::default();
        let mut receive = |from, kind| {
            let bytes = packet(kind).to_bytes(0);
            responder.receive((from, &bytes), &peers(&[2]), MOST, Instant::now())
        };
        assert_eq!(receive(door(9), Kind::Ask { wanted: 1000 }), None);
        assert_eq!(receive(door(2), Kind::AskThere(ip(9))), None);
        let of = ip(2);
        assert_eq!(receive(door(2), Kind::HeardAt { of, ago: None }), None);
        assert_eq!(receive(door(2), Kind::Answer { arrived: 1 }), None);
    }

    proptest! {
        #[test]
        fn every_packet_is_read_as_it_is_written(
            number: u64, size: u16, ago: u32, kind in 0..5, bits: u32, padding in 0usize..2000,
        ) {
            let address = IpAddr::V4(bits.into());
            let kind = match kind {
                0 => Kind::Ask { wanted: size },
                1 => Kind::Answer { arrived: size },
                2 => Kind::AskThere(address),
                3 => Kind::Heard(address),
                _ => Kind::HeardAt { of: address, ago: Some(ago).filter(|ago| *ago != NEVER) },
            };
            let packet = Packet { kind, number };
            let bytes = packet.to_bytes(padding);
            prop_assert_eq!(bytes.len(), padding.max(LEAST));
            prop_assert_eq!(Packet::parse(&bytes), Some(packet));
        }

        #[test]
        fn any_bytes_are_harmless(bytes: Vec<u8>, with_magic: bool) {
            let mut whole = if with_magic { MAGIC.to_vec() } else { Vec::new() };
            whole.extend(bytes);
            let mut responder = Responder::default();
            let from = door(2);
            let told = responder.receive((from, &whole), &peers(&[2]), MOST, Instant::now());
            if let Some((_, answer)) = told {
                prop_assert!(answer.len() <= MOST);
            }
        }
    }
}

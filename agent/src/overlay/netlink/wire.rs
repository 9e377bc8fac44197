//! Devices and peers of wireguard, as messages of its family of generic netlink, both ways
//! (<https://www.wireguard.com/xplatform/>; numbers: the kernel's `wireguard.h`).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::generic::{self, Attributes, Generic, Read};
use super::socket::Socket;
use crate::overlay::cidr::{Cidr, Family};
use crate::overlay::kernel::Error;
use crate::overlay::lease::Subnets;
use crate::overlay::state::{Change, Peer};
use crate::overlay::wire::{PublicKey, Secret};

const FAMILY: &str = "wireguard";
const VERSION: u8 = 1;
const GET_DEVICE: u8 = 0;
const SET_DEVICE: u8 = 1;

/// Attributes of a device.
const INDEX: u16 = 1;
const PRIVATE_KEY: u16 = 3;
const LISTEN_PORT: u16 = 6;
const PEERS: u16 = 8;
/// Attributes of a peer.
const PUBLIC_KEY: u16 = 1;
const PRESHARED_KEY: u16 = 2;
const FLAGS: u16 = 3;
const ENDPOINT: u16 = 4;
const KEEPALIVE: u16 = 5;
const LAST_HANDSHAKE: u16 = 6;
const RECEIVED: u16 = 7;
const SENT: u16 = 8;
const ALLOWED: u16 = 9;
const REMOVE: u32 = 1;
const REPLACE_ALLOWED: u32 = 2;
/// Attributes of an allowed range.
const RANGE_FAMILY: u16 = 1;
const RANGE_ADDRESS: u16 = 2;
const RANGE_LENGTH: u16 = 3;
/// In lists, where every item has a number that nobody reads.
const ITEM: u16 = 0;
/// The kernel's numbers of address families.
const INET: u16 = 2;
const INET6: u16 = 10;
/// As long as a peer's session lasts, in seconds: one with a handshake so young is there.
const ALIVE: u64 = 180;

/// A peer as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) key: PublicKey,
    pub(super) preshared: Option<Secret>,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) keepalive: u16,
    pub(super) last_handshake: Option<u64>,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) allowed: Vec<(IpAddr, u8)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Held {
    pub(super) key: Option<Secret>,
    pub(super) port: u16,
    pub(super) peers: Vec<Seen>,
}

#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket<Generic>,
    family: u16,
    /// Where each peer was said to be last, by device.
    told: BTreeMap<(u32, PublicKey), SocketAddr>,
}

impl Wire {
    pub(super) fn open() -> io::Result<Wire> {
        let mut socket = generic::open()?;
        Ok(Wire {
            family: generic::family(&mut socket, FAMILY)?,
            socket,
            told: BTreeMap::new(),
        })
    }

    fn message(&self, command: u8, attributes: Vec<u8>) -> Generic {
        Generic {
            family: self.family,
            command,
            version: VERSION,
            attributes,
        }
    }

    pub(super) fn device(&mut self, index: u32) -> Result<Held, Error> {
        let asked = Attributes::default()
            .put(INDEX, &index.to_ne_bytes())
            .take();
        let asked = self.message(GET_DEVICE, asked);
        let parts = self.socket.dump(&asked);
        let parts = parts.map_err(|error| Error::new("list peers of wireguard", error))?;
        let mut held = Held::default();
        for part in parts {
            read(&mut held, &part.attributes);
        }
        Ok(held)
    }

    /// The device has this key and port; whether it had not. Peers are left as they are.
    pub(super) fn hold(&mut self, index: u32, key: &Secret, port: u16) -> Result<bool, Error> {
        let held = self.device(index)?;
        if held.key.as_ref() == Some(key) && held.port == port {
            return Ok(false);
        }
        let asked = self.message(SET_DEVICE, device_attributes(index, key, port));
        let done = self.socket.request(asked, 0);
        let doing = format!("give wireguard its key and UDP port {port}");
        done.map_err(|error| Error::new(doing, error))?;
        Ok(true)
    }

    pub(super) fn put(
        &mut self,
        peers: &[(Change, u32, Peer)],
    ) -> Result<Vec<(Change, io::Error)>, Error> {
        let failed = self.all(peers, put_attributes)?;
        for (change, index, peer) in peers {
            let is_done = !failed.iter().any(|(other, _)| other == change);
            if let (Some(endpoint), true) = (peer.endpoint, is_done) {
                self.told.insert((*index, peer.key), endpoint);
            }
        }
        Ok(failed)
    }

    pub(super) fn remove(
        &mut self,
        peers: &[(Change, u32, Peer)],
    ) -> Result<Vec<(Change, io::Error)>, Error> {
        for (_, index, peer) in peers {
            self.told.remove(&(*index, peer.key));
        }
        self.all(peers, remove_attributes)
    }

    fn all(
        &mut self,
        peers: &[(Change, u32, Peer)],
        attributes: fn(u32, &Peer) -> Vec<u8>,
    ) -> Result<Vec<(Change, io::Error)>, Error> {
        let messages = peers.iter().map(|(_, index, peer)| {
            let message = self.message(SET_DEVICE, attributes(*index, peer));
            (message, 0)
        });
        let messages = messages.collect();
        let outcomes = self.socket.requests(messages);
        let outcomes = outcomes.map_err(|error| Error::new("change peers of wireguard", error))?;
        let all = peers.iter().zip(outcomes);
        Ok(all
            .filter_map(|((change, _, _), outcome)| Some((*change, outcome.err()?)))
            .collect())
    }

    /// As it is compared with what it should be.
    pub(super) fn state_of(&self, index: u32, device: Family, seen: &Seen, now: u64) -> Peer {
        let told = self.told.get(&(index, seen.key));
        compared(device, seen, told.copied(), now)
    }
}

/// A peer that has moved on by itself, and shows by a handshake that it is there, counts as being
/// where it was said to be: whoever is behind a changing address is not called back.
fn compared(device: Family, seen: &Seen, told: Option<SocketAddr>, now: u64) -> Peer {
    let mut allowed = Subnets { v4: None, v6: None };
    let mut surplus = 0;
    for (address, length) in &seen.allowed {
        let range = Cidr::new(*address, *length).ok();
        match range.map(|range| (range, range.family())) {
            Some((range, Family::V4)) if allowed.v4.is_none() => allowed.v4 = Some(range),
            Some((range, Family::V6)) if allowed.v6.is_none() => allowed.v6 = Some(range),
            _ => surplus += 1,
        }
    }
    let is_alive = seen
        .last_handshake
        .and_then(|at| now.checked_sub(at))
        .is_some_and(|ago| ago < ALIVE);
    Peer {
        device,
        key: seen.key,
        endpoint: told.filter(|_| is_alive).or(seen.endpoint),
        allowed,
        surplus,
        keepalive: seen.keepalive,
        preshared: seen.preshared,
    }
}

fn device_attributes(index: u32, key: &Secret, port: u16) -> Vec<u8> {
    Attributes::default()
        .put(INDEX, &index.to_ne_bytes())
        .put(PRIVATE_KEY, key.bytes())
        .put(LISTEN_PORT, &port.to_ne_bytes())
        .take()
}

fn put_attributes(index: u32, peer: &Peer) -> Vec<u8> {
    let mut one = Attributes::default();
    one.put(PUBLIC_KEY, &peer.key.0);
    one.put(FLAGS, &REPLACE_ALLOWED.to_ne_bytes());
    let none = [0; 32];
    let preshared = peer.preshared.as_ref().map_or(&none, Secret::bytes);
    one.put(PRESHARED_KEY, preshared);
    if let Some(endpoint) = peer.endpoint {
        one.put(ENDPOINT, &endpoint_bytes(endpoint));
    }
    one.put(KEEPALIVE, &peer.keepalive.to_ne_bytes());
    let mut allowed = Attributes::default();
    for range in [peer.allowed.v4, peer.allowed.v6].into_iter().flatten() {
        let mut item = Attributes::default();
        match range.address() {
            IpAddr::V4(address) => item
                .put(RANGE_FAMILY, &INET.to_ne_bytes())
                .put(RANGE_ADDRESS, &address.octets()),
            IpAddr::V6(address) => item
                .put(RANGE_FAMILY, &INET6.to_ne_bytes())
                .put(RANGE_ADDRESS, &address.octets()),
        };
        item.put(RANGE_LENGTH, &[range.length()]);
        allowed.nest(ITEM, item);
    }
    one.nest(ALLOWED, allowed);
    of_device(index, one)
}

fn remove_attributes(index: u32, peer: &Peer) -> Vec<u8> {
    let mut one = Attributes::default();
    one.put(PUBLIC_KEY, &peer.key.0);
    one.put(FLAGS, &REMOVE.to_ne_bytes());
    of_device(index, one)
}

fn of_device(index: u32, peer: Attributes) -> Vec<u8> {
    let mut peers = Attributes::default();
    peers.nest(ITEM, peer);
    Attributes::default()
        .put(INDEX, &index.to_ne_bytes())
        .nest(PEERS, peers)
        .take()
}

/// A `sockaddr_in` or `sockaddr_in6`.
fn endpoint_bytes(endpoint: SocketAddr) -> Vec<u8> {
    let port = endpoint.port().to_be_bytes();
    match endpoint {
        SocketAddr::V4(v4) => {
            let start = [INET.to_ne_bytes(), port].concat();
            [&start[..], &v4.ip().octets(), &[0; 8]].concat()
        }
        SocketAddr::V6(v6) => {
            let start = [INET6.to_ne_bytes(), port].concat();
            let (flow, scope) = (v6.flowinfo().to_be_bytes(), v6.scope_id().to_ne_bytes());
            [&start[..], &flow, &v6.ip().octets(), &scope].concat()
        }
    }
}

fn endpoint(bytes: &[u8]) -> Option<SocketAddr> {
    let number = |at: usize| <[u8; 2]>::try_from(bytes.get(at..at + 2)?).ok();
    let (family, port) = (
        u16::from_ne_bytes(number(0)?),
        u16::from_be_bytes(number(2)?),
    );
    match family {
        INET => {
            let address: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(address).into(), port))
        }
        INET6 => {
            let flow = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
            let address: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            let address = SocketAddrV6::new(Ipv6Addr::from(address), port, flow, scope);
            Some(address.into())
        }
        _ => None,
    }
}

fn array<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.try_into().ok()
}

/// Takes in one part of an answer. A long list goes on in the next part, a peer's ranges also.
fn read(held: &mut Held, attributes: &[u8]) {
    for (kind, value) in Read(attributes) {
        match kind {
            PRIVATE_KEY => held.key = array(value).and_then(Secret::known),
            LISTEN_PORT => held.port = array(value).map_or(0, u16::from_ne_bytes),
            PEERS => {
                for (_, value) in Read(value) {
                    let Some(mut peer) = peer(value) else {
                        continue;
                    };
                    match held.peers.last_mut().filter(|last| last.key == peer.key) {
                        Some(last) => last.allowed.append(&mut peer.allowed),
                        None => held.peers.push(peer),
                    }
                }
            }
            _ => {}
        }
    }
}

fn peer(attributes: &[u8]) -> Option<Seen> {
    let mut key = None;
    let mut peer = Seen {
        key: PublicKey([0; 32]),
        preshared: None,
        endpoint: None,
        keepalive: 0,
        last_handshake: None,
        received_bytes: 0,
        sent_bytes: 0,
        allowed: Vec::new(),
    };
    for (kind, value) in Read(attributes) {
        match kind {
            PUBLIC_KEY => key = array(value).map(PublicKey),
            PRESHARED_KEY => peer.preshared = array(value).and_then(Secret::known),
            ENDPOINT => peer.endpoint = endpoint(value),
            KEEPALIVE => peer.keepalive = array(value).map_or(0, u16::from_ne_bytes),
            // Seconds and nanoseconds; all zeros: never.
            LAST_HANDSHAKE => {
                let seconds = value.first_chunk().map(|part| u64::from_ne_bytes(*part));
                peer.last_handshake = seconds.filter(|seconds| *seconds != 0);
            }
            RECEIVED => peer.received_bytes = array(value).map_or(0, u64::from_ne_bytes),
            SENT => peer.sent_bytes = array(value).map_or(0, u64::from_ne_bytes),
            ALLOWED => peer
                .allowed
                .extend(Read(value).filter_map(|(_, value)| range(value))),
            _ => {}
        }
    }
    peer.key = key?;
    Some(peer)
}

fn range(attributes: &[u8]) -> Option<(IpAddr, u8)> {
    let mut address = None;
    let mut length = None;
    for (kind, value) in Read(attributes) {
        match (kind, value.len()) {
            (RANGE_ADDRESS, 4) => address = array::<4>(value).map(IpAddr::from),
            (RANGE_ADDRESS, 16) => address = array::<16>(value).map(IpAddr::from),
            (RANGE_LENGTH, 1) => length = value.first().copied(),
            _ => {}
        }
    }
    Some((address?, length?))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

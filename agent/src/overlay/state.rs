//! What the kernel has to know of the peers, and how it is brought there from what it knows: pure.
//!
//! Ours is: a route to within the network that carries our protocol number or leads into the
//! tunnel's device, and every permanent neighbour, forwarding entry and wireguard peer of that device. Everything
//! else is foreign and is neither seen nor touched.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::cidr::{Cidr, Family};
use super::lease::Subnets;
use super::mac::Mac;
use super::wire::{PublicKey, Secret};

/// The routing protocol number of our routes. Not one that any other daemon is known to use.
pub const PROTOCOL: u8 = 91;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    pub destination: Cidr,
    /// Unspecified where the device itself knows where to.
    pub gateway: IpAddr,
    pub way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Through the tunnel's device of the destination's family; the gateway is taken to be there.
    Tunnel,
    /// Over the uplink, where the gateway is on the link.
    Uplink,
    /// Somewhere else: only ever seen, never wanted.
    Elsewhere(u32),
}

/// Who answers for an address in the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbour {
    pub address: IpAddr,
    pub mac: Mac,
}

/// Where the tunnel sends packets to a hardware address. The family of the device is that of `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forwarding {
    pub mac: Mac,
    pub to: IpAddr,
}

/// A machine at the other end of a tunnel of wireguard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Whose device it is in; the first family where both share one.
    pub device: Family,
    pub key: PublicKey,
    pub endpoint: Option<SocketAddr>,
    /// What it may send from, and is sent: its own and nobody else's.
    pub allowed: Subnets,
    /// Allowed beyond that: only ever seen, never wanted.
    pub surplus: usize,
    pub keepalive: u16,
    pub preshared: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    pub routes: BTreeSet<Route>,
    pub neighbours: BTreeSet<Neighbour>,
    pub forwardings: BTreeSet<Forwarding>,
    pub peers: BTreeSet<Peer>,
}

/// One request to the kernel. A neighbour, a forwarding entry or a peer that is put replaces what is
/// there under the same key; a route is added, and refused where another one leads to its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    PutPeer(Peer),
    PutNeighbour(Neighbour),
    PutForwarding(Forwarding),
    RemoveRoute(Route),
    PutRoute(Route),
    RemoveForwarding(Forwarding),
    RemoveNeighbour(Neighbour),
    RemovePeer(Peer),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::PutPeer(one) => write!(f, "put peer {one}"),
            Change::RemovePeer(one) => write!(f, "remove peer {one}"),
            Change::PutNeighbour(one) => write!(f, "put neighbour {} {}", one.address, one.mac),
            Change::PutForwarding(one) => write!(f, "put forwarding {} to {}", one.mac, one.to),
            Change::PutRoute(one) => write!(f, "put route {one}"),
            Change::RemoveRoute(one) => write!(f, "remove route {one}"),
            Change::RemoveForwarding(one) => {
                write!(f, "remove forwarding {} to {}", one.mac, one.to)
            }
            Change::RemoveNeighbour(one) => {
                write!(f, "remove neighbour {} {}", one.address, one.mac)
            }
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if !self.gateway.is_unspecified() {
            write!(f, " via {}", self.gateway)?;
        }
        match self.way {
            Way::Tunnel => f.write_str(" in the tunnel"),
            Way::Uplink => f.write_str(" on the uplink"),
            Way::Elsewhere(index) => write!(f, " on interface {index}"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.key, self.allowed)?;
        match self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => Ok(()),
        }
    }
}

impl Change {
    /// Whose device it concerns.
    pub fn family(&self) -> Family {
        Family::of(match self {
            Change::PutPeer(one) | Change::RemovePeer(one) => return one.device,
            Change::PutNeighbour(one) | Change::RemoveNeighbour(one) => one.address,
            Change::PutForwarding(one) | Change::RemoveForwarding(one) => one.to,
            Change::PutRoute(one) | Change::RemoveRoute(one) => one.destination.address(),
        })
    }
}

/// What to do, in an order in which no packet is sent to where nothing is known: a peer's address
/// is known before its route leads there, and forgotten after.
pub fn changes(observed: &State, desired: &State) -> Vec<Change> {
    let (neighbours, old_neighbours) =
        compare(&observed.neighbours, &desired.neighbours, |one| one.address);
    let (forwardings, old_forwardings) =
        compare(&observed.forwardings, &desired.forwardings, |one| {
            (one.mac, Family::of(one.to))
        });
    let (peers, old_peers) = compare(&observed.peers, &desired.peers, |one| (one.device, one.key));
    let old_routes = observed.routes.difference(&desired.routes);
    let routes = desired.routes.difference(&observed.routes);
    let mut all = Vec::new();
    all.extend(peers.map(Change::PutPeer));
    all.extend(neighbours.map(Change::PutNeighbour));
    all.extend(forwardings.map(Change::PutForwarding));
    all.extend(old_routes.copied().map(Change::RemoveRoute));
    all.extend(routes.copied().map(Change::PutRoute));
    all.extend(old_forwardings.map(Change::RemoveForwarding));
    all.extend(old_neighbours.map(Change::RemoveNeighbour));
    all.extend(old_peers.map(Change::RemovePeer));
    all
}

/// What to put, and what to remove: nothing whose place is taken by what is put.
fn compare<'a, T: Copy + Ord, K: Ord + 'a>(
    observed: &'a BTreeSet<T>,
    desired: &'a BTreeSet<T>,
    key: impl Fn(&T) -> K + 'a,
) -> (impl Iterator<Item = T> + 'a, impl Iterator<Item = T> + 'a) {
    let kept: BTreeSet<K> = desired.iter().map(&key).collect();
    let surplus = observed.difference(desired);
    (
        desired.difference(observed).copied(),
        surplus
            .filter(move |one| !kept.contains(&key(one)))
            .copied(),
    )
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub(crate) mod tests;

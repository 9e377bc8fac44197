//! The kernel itself, over route netlink and, for wireguard, generic netlink. Blocking: each call takes microseconds, and the kernel
//! has done its work when it returns.

mod entries;
mod generic;
mod link;
mod rules;
mod socket;
mod tunnel;
mod wire;

use std::collections::BTreeSet;
use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage as Message;
use serde_json::Value;

use netlink_sys::protocols::NETLINK_ROUTE;

use self::socket::{Socket, is_absent};
use self::wire::Wire;
use super::cidr::{Cidr, Family};
use super::kernel::{
    Choice, Connection, Counters, Error, Kernel, Known, Made, Place, Tunnel, Uplink,
};
use super::state::{Change, Peer, State};
use crate::update::clock;

#[derive(Debug)]
pub struct Netlink {
    socket: Socket<Message>,
    /// Opened when it is needed: without a device of its kind the kernel may not know wireguard.
    wire: Option<Wire>,
}

impl Netlink {
    pub fn open() -> Result<Netlink, Error> {
        let socket = Socket::open(NETLINK_ROUTE);
        let socket = socket.map_err(|error| Error::new("open a netlink socket", error))?;
        Ok(Netlink { socket, wire: None })
    }

    fn wire(&mut self) -> Result<&mut Wire, Error> {
        let wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::open().map_err(|error| Error::new("find wireguard", error))?,
        };
        Ok(self.wire.insert(wire))
    }

    fn dump(&mut self, what: &str, message: &Message) -> Result<Vec<Message>, Error> {
        let all = self.socket.dump(message);
        all.map_err(|error| Error::new(format!("list {what}"), error))
    }
}

impl Kernel for Netlink {
    fn uplink(&mut self, choice: &Choice) -> Result<Option<Uplink>, Error> {
        link::uplink(self, choice)
    }

    fn make_tunnel(&mut self, tunnel: &Tunnel) -> Result<(u32, Made), Error> {
        tunnel::make_tunnel(self, tunnel)
    }

    fn remove_tunnel(&mut self, name: &str) -> Result<bool, Error> {
        link::remove(self, name)
    }

    fn observe(&mut self, place: &Place) -> Result<State, Error> {
        let mut state = State::default();
        let families = place.networks.iter().map(Cidr::family);
        for family in families {
            let routes = self.dump("routes", &entries::all_routes(family))?;
            let routes = routes.iter();
            state
                .routes
                .extend(routes.filter_map(|one| entries::own_route(one, place)));
        }
        if place.known == Known::Keys {
            state.peers = self.peers(place)?;
        }
        let stations = match place.known {
            Known::Stations => place.tunnels.as_slice(),
            Known::Keys | Known::Nothing => &[],
        };
        for (family, index) in stations {
            let known = self.dump("neighbours", &entries::all_neighbours(*family, *index))?;
            let known = known.iter();
            state
                .neighbours
                .extend(known.filter_map(|one| entries::neighbour(one, *index)));
            let known = self.dump("forwarding entries", &entries::all_forwardings(*index))?;
            let known = known.iter();
            state
                .forwardings
                .extend(known.filter_map(|one| entries::forwarding(one, *index)));
        }
        Ok(state)
    }

    fn apply(
        &mut self,
        place: &Place,
        changes: &[Change],
    ) -> Result<Vec<(Change, io::Error)>, Error> {
        let mut asked = Vec::with_capacity(changes.len());
        let mut requests = Vec::with_capacity(changes.len());
        // Peers are known before their routes, and forgotten after.
        let mut failed = self.put_peers(place, changes)?;
        let is_peer =
            |change: &&Change| matches!(change, Change::PutPeer(_) | Change::RemovePeer(_));
        for change in changes.iter().filter(|change| !is_peer(change)) {
            match request(place, change) {
                Some(request) => {
                    asked.push(*change);
                    requests.push(request);
                }
                None => failed.push((*change, io::Error::other("there is no tunnel for it"))),
            }
        }
        let outcomes = self.socket.requests(requests);
        let outcomes = outcomes.map_err(|error| Error::new("change routes", error))?;
        for (change, outcome) in asked.into_iter().zip(outcomes) {
            let removes = matches!(
                change,
                Change::RemoveRoute(_) | Change::RemoveForwarding(_) | Change::RemoveNeighbour(_)
            );
            match outcome {
                Ok(()) => {}
                Err(error) if removes && is_absent(&error) => {}
                Err(error) => failed.push((change, error)),
            }
        }
        failed.extend(self.remove_peers(place, changes)?);
        Ok(failed)
    }

    fn other_routes(&mut self, place: &Place) -> Result<Vec<Cidr>, Error> {
        let mut others = Vec::new();
        for family in [Family::V4, Family::V6] {
            let routes = self.dump("routes", &entries::all_routes(family))?;
            let routes = routes.iter();
            others.extend(routes.filter_map(|one| entries::other_route(one, place)));
        }
        Ok(others)
    }

    fn counters(&mut self, device: &str) -> Result<Option<Counters>, Error> {
        link::counters(self, device)
    }

    fn connections(&mut self, device: &str) -> Result<Vec<Connection>, Error> {
        let Some(index) = link::index(self, device)? else {
            return Ok(Vec::new());
        };
        let peers = self.wire()?.device(index)?.peers.into_iter();
        let connection = |peer: wire::Seen| Connection {
            device: device.to_string(),
            key: peer.key,
            endpoint: peer.endpoint,
            last_handshake: peer.last_handshake,
            received_bytes: peer.received_bytes,
            sent_bytes: peer.sent_bytes,
        };
        Ok(peers.map(connection).collect())
    }

    fn load_rules(&mut self, text: &str) -> Result<(), Error> {
        rules::load(text).map_err(|error| Error::new("load rules of nftables", error))
    }

    fn docker_rules(&mut self, family: Family) -> Result<Option<Value>, Error> {
        rules::list(family).map_err(|error| Error::new("list docker's rules", error))
    }

    fn rules_generation(&mut self) -> Result<u32, Error> {
        let generation = rules::generation();
        generation.map_err(|error| Error::new("tell whether rules were changed", error))
    }
}

/// Peers with the index of their device.
fn in_devices<'a>(
    place: &'a Place,
    changes: &'a [Change],
    pick: impl Fn(&Change) -> Option<Peer> + 'a,
) -> Vec<(Change, u32, Peer)> {
    let all = changes.iter().filter_map(move |change| {
        let peer = pick(change)?;
        Some((*change, place.tunnel(peer.device)?, peer))
    });
    all.collect()
}

impl Netlink {
    /// Of each device once, by the first family that it carries.
    fn peers(&mut self, place: &Place) -> Result<BTreeSet<Peer>, Error> {
        let mut peers = BTreeSet::new();
        let mut seen = Vec::new();
        let now = clock().unix();
        for (family, index) in &place.tunnels {
            if !seen.contains(index) {
                seen.push(*index);
                let wire = self.wire()?;
                let device = wire.device(*index)?;
                let known = device.peers.iter();
                peers.extend(known.map(|peer| wire.state_of(*index, *family, peer, now)));
            }
        }
        Ok(peers)
    }

    fn put_peers(
        &mut self,
        place: &Place,
        changes: &[Change],
    ) -> Result<Vec<(Change, io::Error)>, Error> {
        let put = in_devices(place, changes, |change| match change {
            Change::PutPeer(peer) => Some(*peer),
            _ => None,
        });
        match put.is_empty() {
            true => Ok(Vec::new()),
            false => self.wire()?.put(&put),
        }
    }

    fn remove_peers(
        &mut self,
        place: &Place,
        changes: &[Change],
    ) -> Result<Vec<(Change, io::Error)>, Error> {
        let old = in_devices(place, changes, |change| match change {
            Change::RemovePeer(peer) => Some(*peer),
            _ => None,
        });
        match old.is_empty() {
            true => Ok(Vec::new()),
            false => self.wire()?.remove(&old),
        }
    }
}

fn request(place: &Place, change: &Change) -> Option<(Message, u16)> {
    let replace = NLM_F_CREATE | NLM_F_REPLACE;
    let tunnel = place.tunnel(change.family());
    Some(match change {
        // Of generic netlink.
        Change::PutPeer(_) | Change::RemovePeer(_) => return None,
        Change::PutNeighbour(one) => {
            let message = entries::neighbour_message(one, tunnel?);
            (Message::NewNeighbour(message), replace)
        }
        Change::RemoveNeighbour(one) => {
            let message = entries::neighbour_message(one, tunnel?);
            (Message::DelNeighbour(message), 0)
        }
        Change::PutForwarding(one) => {
            let message = entries::forwarding_message(one, tunnel?);
            (Message::NewNeighbour(message), replace)
        }
        Change::RemoveForwarding(one) => {
            let message = entries::forwarding_message(one, tunnel?);
            (Message::DelNeighbour(message), 0)
        }
        Change::PutRoute(one) => {
            let message = entries::route_message(one, place)?;
            (Message::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
        }
        Change::RemoveRoute(one) => {
            let mut message = entries::route_message(one, place)?;
            entries::only_to_remove(one, &mut message);
            (Message::DelRoute(message), 0)
        }
    })
}

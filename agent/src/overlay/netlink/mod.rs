//! The kernel itself, over route netlink. Blocking: each call takes microseconds, and the kernel
//! has done its work when it returns.

mod entries;
mod link;
mod rules;
mod socket;

use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage as Message;

use self::socket::{Socket, is_absent};
use super::cidr::{Cidr, Family};
use super::kernel::{Choice, Counters, Error, Kernel, Made, Place, Tunnel, Uplink};
use super::state::{Change, State};

#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
}

impl Netlink {
    pub fn open() -> Result<Netlink, Error> {
        let socket = Socket::open();
        let socket = socket.map_err(|error| Error::new("open a netlink socket", error))?;
        Ok(Netlink { socket })
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
        link::make_tunnel(self, tunnel)
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
        for (family, index) in &place.tunnels {
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
        let mut failed = Vec::new();
        for change in changes {
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

    fn load_rules(&mut self, text: &str) -> Result<(), Error> {
        rules::load(text).map_err(|error| Error::new("load rules of nftables", error))
    }

    fn rules_generation(&mut self) -> Result<u32, Error> {
        let generation = rules::generation();
        generation.map_err(|error| Error::new("tell whether rules were changed", error))
    }
}

fn request(place: &Place, change: &Change) -> Option<(Message, u16)> {
    let replace = NLM_F_CREATE | NLM_F_REPLACE;
    let tunnel = place.tunnel(change.family());
    Some(match change {
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

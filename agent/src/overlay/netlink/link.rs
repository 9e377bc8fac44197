//! Interfaces: found, counted, removed; and the one that carries the tunnel.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::RouteAttribute;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::Netlink;
use super::entries::all_routes;
use crate::overlay::cidr::{Cidr, Family};
use crate::overlay::kernel::{Choice, Counters, Error, Uplink};

fn get(attribute: Option<LinkAttribute>, index: u32) -> Message {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.extend(attribute);
    Message::GetLink(message)
}

fn find(netlink: &mut Netlink, asked: Message, name: &str) -> Result<Option<LinkMessage>, Error> {
    let found = netlink.socket.find(asked);
    let found = found.map_err(|error| Error::new(format!("find interface {name}"), error))?;
    Ok(match found {
        Some(Message::NewLink(link)) => Some(link),
        _ => None,
    })
}

pub(super) fn by_name(netlink: &mut Netlink, name: &str) -> Result<Option<LinkMessage>, Error> {
    let asked = get(Some(LinkAttribute::IfName(name.to_string())), 0);
    find(netlink, asked, name)
}

pub(super) fn index(netlink: &mut Netlink, name: &str) -> Result<Option<u32>, Error> {
    Ok(by_name(netlink, name)?.map(|link| link.header.index))
}

fn by_index(netlink: &mut Netlink, index: u32) -> Result<Option<LinkMessage>, Error> {
    find(netlink, get(None, index), &index.to_string())
}

/// An address of an interface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address {
    pub(super) interface: u32,
    pub(super) address: IpAddr,
    pub(super) length: u8,
    pub(super) scope: AddressScope,
    flags: AddressHeaderFlags,
}

pub(super) fn addresses(netlink: &mut Netlink) -> Result<Vec<Address>, Error> {
    let all = netlink.dump("addresses", &Message::GetAddress(AddressMessage::default()))?;
    Ok(all.iter().filter_map(address).collect())
}

fn address(message: &Message) -> Option<Address> {
    let Message::NewAddress(message) = message else {
        return None;
    };
    let header = &message.header;
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            // On a link between two, `Address` is the other end.
            AddressAttribute::Local(address) => found = Some(*address),
            AddressAttribute::Address(address) => found = found.or(Some(*address)),
            _ => {}
        }
    }
    Some(Address {
        interface: header.index,
        address: found?,
        length: header.prefix_len,
        scope: header.scope,
        flags: header.flags,
    })
}

impl Address {
    fn is_usable(&self) -> bool {
        let not = AddressHeaderFlags::Tentative
            | AddressHeaderFlags::Deprecated
            | AddressHeaderFlags::Dadfailed;
        // A second address of IPv6 is one for a while, for privacy.
        let passing = self.address.is_ipv6() && self.flags.contains(AddressHeaderFlags::Secondary);
        self.scope == AddressScope::Universe && !self.flags.intersects(not) && !passing
    }
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    let mut attributes = link.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn mtu_of(link: &LinkMessage) -> Option<u32> {
    let mut attributes = link.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

pub(super) fn uplink(netlink: &mut Netlink, choice: &Choice) -> Result<Option<Uplink>, Error> {
    let all = addresses(netlink)?;
    let link = match choice {
        Choice::Name(name) => by_name(netlink, name)?,
        Choice::Address(address) => match all.iter().find(|one| one.address == *address) {
            Some(one) => by_index(netlink, one.interface)?,
            None => None,
        },
        Choice::Default => match default_interface(netlink)? {
            Some(index) => by_index(netlink, index)?,
            None => None,
        },
    };
    let Some(link) = link.filter(|link| link.header.flags.contains(LinkFlags::Up)) else {
        return Ok(None);
    };
    let index = link.header.index;
    let mut usable: Vec<(IpAddr, Cidr)> = Vec::new();
    for one in all
        .iter()
        .filter(|one| one.interface == index && one.is_usable())
    {
        let network = Cidr::around(one.address, one.length);
        usable.extend(network.ok().map(|network| (one.address, network)));
    }
    // The address that was asked for is the one to use.
    if let Choice::Address(address) = choice {
        usable.sort_by_key(|(one, _)| one != address);
    }
    let (name, mtu) = (name_of(&link), mtu_of(&link));
    let (Some(name), Some(mtu), false) = (name, mtu, usable.is_empty()) else {
        return Ok(None);
    };
    Ok(Some(Uplink {
        index,
        name: name.to_string(),
        mtu,
        addresses: usable,
    }))
}

/// Of the default route with the lowest metric; IPv4's first.
fn default_interface(netlink: &mut Netlink) -> Result<Option<u32>, Error> {
    for family in [Family::V4, Family::V6] {
        let routes = netlink.dump("routes", &all_routes(family))?;
        let default = |message: &Message| {
            let Message::NewRoute(route) = message else {
                return None;
            };
            if route.header.destination_prefix_length > 0 {
                return None;
            }
            let (mut metric, mut interface) = (0, None);
            for attribute in &route.attributes {
                match attribute {
                    RouteAttribute::Priority(number) => metric = *number,
                    RouteAttribute::Oif(index) => interface = Some(*index),
                    _ => {}
                }
            }
            Some((metric, interface?))
        };
        if let Some((_, interface)) = routes.iter().filter_map(default).min() {
            return Ok(Some(interface));
        }
    }
    Ok(None)
}

pub(super) fn delete(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.interface_family = AddressFamily::Unspec;
    netlink.socket.request(Message::DelLink(message), 0)
}

pub(super) fn remove(netlink: &mut Netlink, name: &str) -> Result<bool, Error> {
    let Some(link) = by_name(netlink, name)? else {
        return Ok(false);
    };
    let done = delete(netlink, link.header.index);
    done.map_err(|error| Error::new(format!("remove {name}"), error))?;
    Ok(true)
}

pub(super) fn counters(netlink: &mut Netlink, name: &str) -> Result<Option<Counters>, Error> {
    let Some(link) = by_name(netlink, name)? else {
        return Ok(None);
    };
    let stats = link.attributes.iter().find_map(|one| match one {
        LinkAttribute::Stats64(stats) => Some(stats),
        _ => None,
    });
    Ok(stats.map(|stats| Counters {
        received_packets: stats.rx_packets,
        sent_packets: stats.tx_packets,
        received_bytes: stats.rx_bytes,
        sent_bytes: stats.tx_bytes,
        receive_errors: stats.rx_errors,
        send_errors: stats.tx_errors,
        receive_drops: stats.rx_dropped,
        send_drops: stats.tx_dropped,
    }))
}

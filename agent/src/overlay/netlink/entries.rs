//! Routes, neighbours and forwarding entries as netlink messages, both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage,
    NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use crate::overlay::cidr::{Cidr, Family};
use crate::overlay::kernel::Place;
use crate::overlay::mac::Mac;
use crate::overlay::state::{Forwarding, Neighbour, PROTOCOL, Route, Way};

pub(super) fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

pub(super) fn all_routes(family: Family) -> Message {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    Message::GetRoute(message)
}

pub(super) fn all_neighbours(family: Family, index: u32) -> Message {
    let mut message = NeighbourMessage::default();
    message.header.family = address_family(family);
    message.attributes = vec![NeighbourAttribute::IfIndex(index)];
    Message::GetNeighbour(message)
}

pub(super) fn all_forwardings(index: u32) -> Message {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    Message::GetNeighbour(message)
}

/// A route of the main table, whoever's it is.
struct Seen {
    destination: Cidr,
    gateway: Option<IpAddr>,
    interface: u32,
    protocol: RouteProtocol,
}

fn seen(message: &Message) -> Option<Seen> {
    let Message::NewRoute(message) = message else {
        return None;
    };
    let header = &message.header;
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut table = u32::from(header.table);
    let mut destination = unspecified;
    let mut gateway = None;
    let mut interface = 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = plain(address)?,
            RouteAttribute::Gateway(address) => gateway = plain(address),
            RouteAttribute::Oif(index) => interface = *index,
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    let destination = Cidr::new(destination, header.destination_prefix_length).ok()?;
    let is_main = table == u32::from(RouteHeader::RT_TABLE_MAIN);
    is_main.then_some(Seen {
        destination,
        gateway,
        interface,
        protocol: header.protocol,
    })
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn is_own(route: &Seen, place: &Place) -> bool {
    let within = place
        .networks
        .iter()
        .any(|network| network.covers(&route.destination));
    let tunnelled = place.tunnel(route.destination.family()) == Some(route.interface);
    // The kernel's own come and go with the device's addresses.
    within
        && match route.protocol {
            RouteProtocol::Kernel | RouteProtocol::Ra => false,
            RouteProtocol::Other(PROTOCOL) => true,
            _ => tunnelled,
        }
}

pub(super) fn own_route(message: &Message, place: &Place) -> Option<Route> {
    let route = seen(message).filter(|route| is_own(route, place))?;
    let family = route.destination.family();
    Some(Route {
        destination: route.destination,
        // Without one it is none of ours, and is removed as it is.
        gateway: route.gateway.unwrap_or(match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }),
        way: match route.interface {
            index if place.tunnel(family) == Some(index) => Way::Tunnel,
            index if place.uplink == index => Way::Uplink,
            index => Way::Elsewhere(index),
        },
    })
}

pub(super) fn other_route(message: &Message, place: &Place) -> Option<Cidr> {
    let route = seen(message).filter(|route| !is_own(route, place))?;
    let tunnelled = place.tunnel(route.destination.family()) == Some(route.interface);
    (route.destination.length() > 0 && !tunnelled).then_some(route.destination)
}

pub(super) fn route_message(route: &Route, place: &Place) -> Option<RouteMessage> {
    let family = route.destination.family();
    let (interface, flags) = match route.way {
        // The device itself knows where to.
        Way::Tunnel if route.gateway.is_unspecified() => {
            (place.tunnel(family)?, RouteFlags::empty())
        }
        Way::Tunnel => (place.tunnel(family)?, RouteFlags::Onlink),
        Way::Uplink => (place.uplink, RouteFlags::empty()),
        Way::Elsewhere(index) => (index, RouteFlags::empty()),
    };
    let scope = match route.gateway.is_unspecified() && family == Family::V4 {
        true => RouteScope::Link,
        false => RouteScope::Universe,
    };
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: address_family(family),
        destination_prefix_length: route.destination.length(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Other(PROTOCOL),
        scope,
        kind: RouteType::Unicast,
        flags,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Destination(route.destination.address().into()),
        RouteAttribute::Oif(interface),
    ];
    if !route.gateway.is_unspecified() {
        let gateway = RouteAttribute::Gateway(route.gateway.into());
        message.attributes.push(gateway);
    }
    Some(message)
}

/// What leads into the tunnel's device is ours whoever put it there; elsewhere only what carries
/// our number is.
pub(super) fn only_to_remove(route: &Route, message: &mut RouteMessage) {
    message.header.scope = RouteScope::NoWhere;
    message.header.flags = RouteFlags::empty();
    if route.way == Way::Tunnel {
        message.header.protocol = RouteProtocol::Unspec;
    }
}

fn header(family: AddressFamily, index: u32, flags: NeighbourFlags) -> NeighbourHeader {
    NeighbourHeader {
        family,
        ifindex: index,
        state: NeighbourState::Permanent,
        flags,
        kind: RouteType::Unspec,
    }
}

pub(super) fn neighbour_message(one: &Neighbour, index: u32) -> NeighbourMessage {
    let family = address_family(Family::of(one.address));
    let mut message = NeighbourMessage::default();
    message.header = header(family, index, NeighbourFlags::empty());
    message.attributes = vec![
        NeighbourAttribute::Destination(one.address.into()),
        NeighbourAttribute::LinkLayerAddress(one.mac.0.to_vec()),
    ];
    message
}

pub(super) fn forwarding_message(one: &Forwarding, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header = header(AddressFamily::Bridge, index, NeighbourFlags::Own);
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(one.mac.0.to_vec()),
        NeighbourAttribute::Destination(one.to.into()),
    ];
    message
}

fn permanent(message: &Message, index: u32) -> Option<(Option<IpAddr>, Mac)> {
    let Message::NewNeighbour(message) = message else {
        return None;
    };
    let header = &message.header;
    if header.ifindex != index || header.state != NeighbourState::Permanent {
        return None;
    }
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(to) => address = destination(to),
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = bytes.first_chunk().map(|m| Mac(*m))
            }
            _ => {}
        }
    }
    Some((address, mac?))
}

fn destination(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some((*address).into()),
        NeighbourAddress::Inet6(address) => Some((*address).into()),
        NeighbourAddress::Other(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from);
            v4.or(v6).ok()
        }
        _ => None,
    }
}

pub(super) fn neighbour(message: &Message, index: u32) -> Option<Neighbour> {
    let (address, mac) = permanent(message, index)?;
    Some(Neighbour {
        address: address?,
        mac,
    })
}

pub(super) fn forwarding(message: &Message, index: u32) -> Option<Forwarding> {
    let (to, mac) = permanent(message, index)?;
    // All zeros is where packets for unknown stations go: not of one peer.
    (mac.0 != [0; 6]).then_some(Forwarding { mac, to: to? })
}

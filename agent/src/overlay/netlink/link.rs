//! Interfaces: the one that carries the tunnel, and the tunnel's own device.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::RouteAttribute;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::Netlink;
use super::entries::{address_family, all_routes};
use crate::overlay::cidr::{Cidr, Family};
use crate::overlay::kernel::{Choice, Counters, Error, Made, Tunnel, Uplink};

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

fn by_name(netlink: &mut Netlink, name: &str) -> Result<Option<LinkMessage>, Error> {
    let asked = get(Some(LinkAttribute::IfName(name.to_string())), 0);
    find(netlink, asked, name)
}

fn by_index(netlink: &mut Netlink, index: u32) -> Result<Option<LinkMessage>, Error> {
    find(netlink, get(None, index), &index.to_string())
}

/// An address of an interface.
#[derive(Debug, Clone, Copy)]
struct Address {
    interface: u32,
    address: IpAddr,
    length: u8,
    scope: AddressScope,
    flags: AddressHeaderFlags,
}

fn addresses(netlink: &mut Netlink) -> Result<Vec<Address>, Error> {
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

/// What can only be said when a device is made.
fn agrees(link: &LinkMessage, tunnel: &Tunnel) -> bool {
    let mut infos = link.attributes.iter().filter_map(|one| match one {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let settings = infos
        .next()
        .into_iter()
        .flatten()
        .find_map(|one| match one {
            LinkInfo::Data(InfoData::Vxlan(settings)) => Some(settings),
            _ => None,
        });
    let Some(settings) = settings else {
        return false;
    };
    let has = |wanted: &InfoVxlan| settings.contains(wanted);
    has(&InfoVxlan::Id(tunnel.vni))
        && has(&InfoVxlan::Port(tunnel.port))
        && has(&InfoVxlan::Link(tunnel.uplink))
        && has(&local(tunnel.local))
        && has(&InfoVxlan::Learning(tunnel.learning))
        && has(&InfoVxlan::Gbp) == tunnel.gbp
}

fn local(address: IpAddr) -> InfoVxlan {
    match address {
        IpAddr::V4(address) => InfoVxlan::Local(address),
        IpAddr::V6(address) => InfoVxlan::Local6(address),
    }
}

fn creation(tunnel: &Tunnel) -> Message {
    let mut settings = vec![
        InfoVxlan::Id(tunnel.vni),
        InfoVxlan::Link(tunnel.uplink),
        local(tunnel.local),
        InfoVxlan::Learning(tunnel.learning),
        InfoVxlan::Port(tunnel.port),
    ];
    if tunnel.gbp {
        settings.push(InfoVxlan::Gbp);
    }
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(tunnel.name.clone()),
        LinkAttribute::Address(tunnel.mac.0.to_vec()),
        LinkAttribute::Mtu(tunnel.mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vxlan),
            LinkInfo::Data(InfoData::Vxlan(settings)),
        ]),
    ];
    Message::NewLink(message)
}

pub(super) fn make_tunnel(netlink: &mut Netlink, tunnel: &Tunnel) -> Result<(u32, Made), Error> {
    let name = &tunnel.name;
    let failed = |doing: &str| {
        let doing = format!("{doing} {name}");
        move |error| Error::new(doing, error)
    };
    let mut made = Made::Kept;
    let mut found = by_name(netlink, name)?;
    if let Some(link) = found.take_if(|link| !agrees(link, tunnel)) {
        made = Made::Recreated;
        delete(netlink, link.header.index).map_err(failed("remove"))?;
    }
    if found.is_none() {
        if made == Made::Kept {
            made = Made::Created;
        }
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let done = netlink.socket.request(creation(tunnel), flags);
        done.map_err(failed("make"))?;
        // Peers do not advertise routers; a container that does is not to be heard.
        let setting = format!("/proc/sys/net/ipv6/conf/{name}/accept_ra");
        match std::fs::write(setting, "0") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("set accept_ra of")(error));
            }
            _ => {}
        }
        found = by_name(netlink, name)?;
    }
    let missing = || Error::new(format!("find {name}"), io::ErrorKind::NotFound.into());
    let link = found.ok_or_else(missing)?;
    let index = link.header.index;
    let mac = LinkAttribute::Address(tunnel.mac.0.to_vec());
    let mtu = LinkAttribute::Mtu(tunnel.mtu);
    let is_right = link.attributes.contains(&mac)
        && link.attributes.contains(&mtu)
        && link.header.flags.contains(LinkFlags::Up);
    if !is_right {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = vec![mac, mtu];
        let done = netlink.socket.request(Message::SetLink(message), 0);
        done.map_err(failed("set up"))?;
    }
    let moved = set_address(netlink, index, tunnel.address)?;
    if made == Made::Kept && (!is_right || moved) {
        made = Made::Adapted;
    }
    Ok((index, made))
}

/// The device has this address and no other of the family; whether it was not so already.
fn set_address(netlink: &mut Netlink, index: u32, wanted: IpAddr) -> Result<bool, Error> {
    let family = Family::of(wanted);
    let all = addresses(netlink)?;
    let of_device = all
        .iter()
        .filter(|one| one.interface == index && Family::of(one.address) == family);
    let global = of_device.filter(|one| one.scope != AddressScope::Link);
    let is_right = |one: &&Address| one.address == wanted && one.length == family.bits();
    let (right, wrong): (Vec<&Address>, Vec<&Address>) = global.partition(is_right);
    for one in &wrong {
        let message = address_message(index, one.address, one.length);
        let done = netlink.socket.request(Message::DelAddress(message), 0);
        done.map_err(|error| Error::new(format!("remove address {}", one.address), error))?;
    }
    if right.is_empty() {
        let message = address_message(index, wanted, family.bits());
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        let done = netlink.socket.request(Message::NewAddress(message), flags);
        done.map_err(|error| Error::new(format!("give address {wanted}"), error))?;
    }
    Ok(right.is_empty() || !wrong.is_empty())
}

fn address_message(index: u32, address: IpAddr, length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = address_family(Family::of(address));
    message.header.prefix_len = length;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    if address.is_ipv6() {
        // Nobody else can have it, and nobody would answer.
        let flags = AddressAttribute::Flags(AddressFlags::Nodad);
        message.attributes.push(flags);
    }
    message
}

fn delete(netlink: &mut Netlink, index: u32) -> io::Result<()> {
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

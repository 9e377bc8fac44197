//! The tunnel's devices: made, and brought to what they should be.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoIpTunnel, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::Netlink;
use super::entries::address_family;
use super::link::{Address, addresses, by_name, delete};
use crate::overlay::cidr::Family;
use crate::overlay::kernel::{Device, Error, Made, Tunnel};

/// What can only be said when a device is made: whether this one was made so.
fn agrees(link: &LinkMessage, device: &Device) -> bool {
    let infos = link.attributes.iter().find_map(|one| match one {
        LinkAttribute::LinkInfo(infos) => Some(infos.as_slice()),
        _ => None,
    });
    let infos = infos.unwrap_or_default();
    let data = infos.iter().find_map(|one| match one {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    match (device, data) {
        (
            Device::Vxlan {
                vni,
                port,
                local,
                uplink,
                gbp,
                learning,
                ..
            },
            Some(InfoData::Vxlan(settings)),
        ) => {
            let has = |wanted: &InfoVxlan| settings.contains(wanted);
            has(&InfoVxlan::Id(*vni))
                && has(&InfoVxlan::Port(*port))
                && has(&InfoVxlan::Link(*uplink))
                && has(&vxlan_local(*local))
                && has(&InfoVxlan::Learning(*learning))
                && has(&InfoVxlan::Gbp) == *gbp
        }
        (Device::Ipip { local, uplink }, Some(InfoData::IpTunnel(settings))) => {
            let has = |wanted: &InfoIpTunnel| settings.contains(wanted);
            infos.contains(&LinkInfo::Kind(InfoKind::IpIp))
                && has(&InfoIpTunnel::Local(*local))
                && has(&InfoIpTunnel::Link(*uplink))
                && !settings.iter().any(is_remote)
        }
        // Key and port can be changed at any time.
        (Device::Wireguard { .. }, _) => infos.contains(&LinkInfo::Kind(InfoKind::Wireguard)),
        _ => false,
    }
}

/// Towards one machine only, rather than to whom the route says.
fn is_remote(setting: &InfoIpTunnel) -> bool {
    matches!(setting, InfoIpTunnel::Remote(to) if !to.is_unspecified())
}

fn vxlan_local(address: IpAddr) -> InfoVxlan {
    match address {
        IpAddr::V4(address) => InfoVxlan::Local(address),
        IpAddr::V6(address) => InfoVxlan::Local6(address),
    }
}

fn info(device: &Device) -> Vec<LinkInfo> {
    match device {
        Device::Vxlan {
            vni,
            port,
            local,
            uplink,
            gbp,
            learning,
            ..
        } => {
            let mut settings = vec![
                InfoVxlan::Id(*vni),
                InfoVxlan::Link(*uplink),
                vxlan_local(*local),
                InfoVxlan::Learning(*learning),
                InfoVxlan::Port(*port),
            ];
            if *gbp {
                settings.push(InfoVxlan::Gbp);
            }
            let data = LinkInfo::Data(InfoData::Vxlan(settings));
            vec![LinkInfo::Kind(InfoKind::Vxlan), data]
        }
        Device::Ipip { local, uplink } => {
            let settings = vec![
                InfoIpTunnel::Link(*uplink),
                InfoIpTunnel::Local(*local),
                InfoIpTunnel::PMtuDisc(true),
            ];
            let data = LinkInfo::Data(InfoData::IpTunnel(settings));
            vec![LinkInfo::Kind(InfoKind::IpIp), data]
        }
        Device::Wireguard { .. } => vec![LinkInfo::Kind(InfoKind::Wireguard)],
    }
}

/// Only vxlan's carries Ethernet.
fn hardware_address(device: &Device) -> Option<LinkAttribute> {
    match device {
        Device::Vxlan { mac, .. } => Some(LinkAttribute::Address(mac.0.to_vec())),
        Device::Wireguard { .. } | Device::Ipip { .. } => None,
    }
}

fn creation(tunnel: &Tunnel) -> Message {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(tunnel.name.clone()),
        LinkAttribute::Mtu(tunnel.mtu),
        LinkAttribute::LinkInfo(info(&tunnel.device)),
    ];
    let address = hardware_address(&tunnel.device);
    message.attributes.extend(address);
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
    if let Some(link) = found.take_if(|link| !agrees(link, &tunnel.device)) {
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
        // The module may be another than before, with another number.
        netlink.wire = None;
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
    let mut adapted = match &tunnel.device {
        Device::Wireguard { key, port } => netlink.wire()?.hold(index, key, *port)?,
        Device::Vxlan { .. } | Device::Ipip { .. } => false,
    };
    let mut wanted = vec![LinkAttribute::Mtu(tunnel.mtu)];
    wanted.extend(hardware_address(&tunnel.device));
    let is_right = wanted.iter().all(|one| link.attributes.contains(one))
        && link.header.flags.contains(LinkFlags::Up);
    if !is_right {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = wanted;
        let done = netlink.socket.request(Message::SetLink(message), 0);
        done.map_err(failed("set up"))?;
    }
    for address in &tunnel.addresses {
        adapted |= set_address(netlink, index, *address)?;
    }
    if made == Made::Kept && (!is_right || adapted) {
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

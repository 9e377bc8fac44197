//! This machine's place in the network: what it offers peers, and its devices. Pure.

use std::net::IpAddr;

use super::cidr::{Cidr, Family};
use super::config::{Backend, Config, Mode};
use super::kernel::{Device, Known, Tunnel, Uplink, vxlan_name};
use super::lease::{Lease, Subnets, TunnelEnd};
use super::mac::Mac;
use super::wire::Secret;
use super::wired::Need;

/// What the tunnel adds to each packet: the outer IP header, UDP, vxlan, and Ethernet's.
const VXLAN_OVER_V4: u32 = 50;
const VXLAN_OVER_V6: u32 = 70;
/// The longer outer IP header, UDP, and wireguard's own: flannel's figure in either family.
const WIREGUARD: u32 = 80;
const IPIP: u32 = 20;
/// flannel's.
const IPIP_DEVICE: &str = "flannel.ipip";

/// What is this machine's own.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    pub machine: &'a str,
    /// What peers send to, where it is not an address of the uplink.
    pub public: Option<IpAddr>,
    /// Where wireguard is used.
    pub key: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{interface} has no {family} address, which the network needs")]
pub struct NoAddress {
    interface: String,
    family: Family,
}

/// The lease that this machine wants, with the subnets of before.
pub fn offer(
    config: &Config,
    identity: Identity<'_>,
    uplink: &Uplink,
    before: Subnets,
) -> Result<Lease, NoAddress> {
    let mut lease = Lease {
        subnets: before,
        public_v4: None,
        public_v6: None,
        backend: config.backend.name().to_string(),
        v4: TunnelEnd::default(),
        v6: TunnelEnd::default(),
        machine: Some(identity.machine.to_string()),
    };
    let (outer, need) = outer(config);
    let mut missing = None;
    for family in outer {
        let given = identity
            .public
            .filter(|address| Family::of(*address) == family);
        match uplink.address(family).map(|own| given.unwrap_or(own)) {
            Some(IpAddr::V4(address)) => lease.public_v4 = Some(address),
            Some(IpAddr::V6(address)) => lease.public_v6 = Some(address),
            None => missing = missing.or(Some(family)),
        }
    }
    let has_one = lease.public_v4.is_some() || lease.public_v6.is_some();
    if let Some(family) = missing.filter(|_| need == Need::Each || !has_one) {
        return Err(NoAddress {
            interface: uplink.name.clone(),
            family,
        });
    }
    for (family, _) in config.families() {
        let end = end(config, identity, family);
        match family {
            Family::V4 => lease.v4 = end,
            Family::V6 => lease.v6 = end,
        }
    }
    Ok(lease)
}

/// Over which families packets go between machines.
fn outer(config: &Config) -> (Vec<Family>, Need) {
    match &config.backend {
        Backend::Wireguard(wireguard) => wireguard.outer(config),
        _ => {
            let families = config.families().map(|(family, _)| family);
            (families.collect(), Need::Each)
        }
    }
}

fn end(config: &Config, identity: Identity<'_>, family: Family) -> TunnelEnd {
    match &config.backend {
        Backend::Vxlan(vxlan) => TunnelEnd {
            vni: Some(vxlan.vni),
            mac: Some(Mac::of_machine(identity.machine, vxlan.vni, family)),
            key: None,
        },
        Backend::Wireguard(_) => TunnelEnd {
            key: identity.key.map(|key| key.public()),
            ..TunnelEnd::default()
        },
        Backend::HostGw | Backend::Ipip(_) => TunnelEnd::default(),
    }
}

/// What the tunnel adds to each packet, in bytes.
pub fn overhead(config: &Config) -> u32 {
    match (&config.backend, config.v6) {
        (Backend::HostGw, _) => 0,
        (Backend::Vxlan(_), Some(_)) => VXLAN_OVER_V6,
        (Backend::Vxlan(_), None) => VXLAN_OVER_V4,
        (Backend::Wireguard(_), _) => WIREGUARD,
        (Backend::Ipip(_), _) => IPIP,
    }
}

/// Of packets in the overlay: what fits the uplink in every family there is.
pub fn mtu(config: &Config, uplink: &Uplink) -> u32 {
    let given = match &config.backend {
        Backend::Vxlan(vxlan) => vxlan.mtu,
        Backend::Wireguard(wireguard) => wireguard.mtu,
        Backend::HostGw | Backend::Ipip(_) => None,
    };
    given.unwrap_or(uplink.mtu).saturating_sub(overhead(config))
}

pub fn known(config: &Config) -> Known {
    match &config.backend {
        Backend::Vxlan(_) => Known::Stations,
        Backend::Wireguard(_) => Known::Keys,
        Backend::HostGw | Backend::Ipip(_) => Known::Nothing,
    }
}

/// Where a machine answers checks: in the tunnel, or without one at its own addresses.
pub fn doors_of(config: &Config, lease: &Lease) -> impl Iterator<Item = IpAddr> {
    let has_tunnel = !matches!(config.backend, Backend::HostGw);
    config
        .families()
        .filter_map(move |(family, _)| match has_tunnel {
            true => Some(lease.subnets.of(family)?.address()),
            false => lease.public(family),
        })
}

/// The same of this machine, whose public address may be another one's.
pub fn doors(config: &Config, lease: &Lease, uplink: &Uplink) -> Vec<IpAddr> {
    match config.backend {
        Backend::HostGw => {
            let families = config.families();
            families
                .filter_map(|(family, _)| uplink.address(family))
                .collect()
        }
        _ => doors_of(config, lease).collect(),
    }
}

/// Where no subnet of this machine may be: with it the machine would lose its own link. A wide link
/// that holds all of the network is in nobody's way but for the machine's own address.
pub fn avoided(config: &Config, uplink: &Uplink) -> Vec<Cidr> {
    let mut all = Vec::new();
    for (family, ranges) in config.families() {
        for (address, link) in &uplink.addresses {
            let taken = match link.length() >= ranges.length() {
                true => *link,
                false => Cidr::single(*address),
            };
            if Family::of(*address) == family && ranges.network.overlaps(&taken) {
                all.push(taken);
            }
        }
    }
    all
}

/// The devices that the backend needs.
pub fn tunnels(
    config: &Config,
    lease: &Lease,
    uplink: &Uplink,
    key: Option<Secret>,
) -> Vec<Tunnel> {
    let tunnel = |name: String, families: &[Family], device: Device| Tunnel {
        name,
        mtu: mtu(config, uplink),
        addresses: families
            .iter()
            .filter_map(|family| Some(lease.subnets.of(*family)?.address()))
            .collect(),
        device,
    };
    let families: Vec<Family> = config.families().map(|(family, _)| family).collect();
    let each = |device: &dyn Fn(Family) -> Option<(String, Device)>| {
        let made = families.iter().filter_map(|family| {
            let (name, device) = device(*family)?;
            Some(tunnel(name, &[*family], device))
        });
        made.collect()
    };
    let mut tunnels: Vec<Tunnel> = match &config.backend {
        Backend::HostGw => Vec::new(),
        Backend::Vxlan(vxlan) => each(&|family| {
            let device = Device::Vxlan {
                vni: vxlan.vni,
                port: vxlan.port,
                local: uplink.address(family)?,
                uplink: uplink.index,
                mac: lease.end(family).mac?,
                gbp: vxlan.gbp,
                learning: vxlan.learning,
            };
            Some((vxlan_name(vxlan.vni, family), device))
        }),
        Backend::Ipip(_) => each(&|family| {
            let device = Device::Ipip {
                local: uplink.address(family)?,
                uplink: uplink.index,
            };
            Some((IPIP_DEVICE.to_string(), device))
        }),
        Backend::Wireguard(wireguard) => {
            let device = |family| {
                let (name, port) = wireguard.device(family);
                Some((name.to_string(), Device::Wireguard { key: key?, port }))
            };
            match (wireguard.mode, families.first()) {
                (Mode::Separate, _) => each(&device),
                (_, Some(first)) => device(*first)
                    .map(|(name, device)| tunnel(name, &families, device))
                    .into_iter()
                    .collect(),
                (_, None) => Vec::new(),
            }
        }
    };
    tunnels.retain(|tunnel| !tunnel.addresses.is_empty());
    tunnels
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;

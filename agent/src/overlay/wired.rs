//! wireguard: the peer that a lease makes, and which devices there are. Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::cidr::Family;
use super::config::{Config, Mode, Wireguard};
use super::desired::Reason;
use super::lease::{Lease, Subnets};
use super::state::Peer;

impl Wireguard {
    /// The device of a family: flannel's names and ports.
    pub fn device(&self, family: Family) -> (&'static str, u16) {
        match (self.mode, family) {
            (Mode::Separate, Family::V6) => ("flannel-wg-v6", self.port_v6),
            _ => ("flannel-wg", self.port),
        }
    }

    /// Families of addresses that peers are sent to: each has to be there, or one of them.
    pub fn outer(&self, config: &Config) -> (Vec<Family>, Need) {
        match self.mode {
            Mode::Separate => {
                let families = config.families().map(|(family, _)| family);
                (families.collect(), Need::Each)
            }
            Mode::V4 => (vec![Family::V4], Need::Each),
            Mode::V6 => (vec![Family::V6], Need::Each),
            Mode::Auto => (vec![Family::V4, Family::V6], Need::One),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Each,
    One,
}

/// The machine of a lease as a peer in the device of a family. Where both families share a device,
/// it is the same peer for both.
pub(super) fn peer(
    wireguard: &Wireguard,
    config: &Config,
    own: &Lease,
    lease: &Lease,
    family: Family,
) -> Result<Peer, Reason> {
    let of_config = |one: Family| config.ranges(one).and(lease.subnets.of(one));
    let mut allowed = Subnets { v4: None, v6: None };
    let is_separate = wireguard.mode == Mode::Separate;
    if family == Family::V4 || !is_separate {
        allowed.v4 = of_config(Family::V4);
    }
    if family == Family::V6 || !is_separate {
        allowed.v6 = of_config(Family::V6);
    }
    let first = config.families().next().map(|(first, _)| first);
    let device = match is_separate {
        true => family,
        false => first.unwrap_or(family),
    };
    // With one device a machine has one key, and tells it in each family.
    let other = match is_separate {
        true => None,
        false => lease.v4.key.or(lease.v6.key),
    };
    let key = lease.end(family).key.or(other);
    let (_, port) = wireguard.device(family);
    let to = match wireguard.mode {
        Mode::Separate => lease.public(family).ok_or(Reason::NoAddress(family)),
        Mode::V4 => lease
            .public(Family::V4)
            .ok_or(Reason::NoAddress(Family::V4)),
        Mode::V6 => lease
            .public(Family::V6)
            .ok_or(Reason::NoAddress(Family::V6)),
        Mode::Auto => likelier(own, lease).ok_or(Reason::NoAddress(family)),
    };
    Ok(Peer {
        device,
        key: key.ok_or(Reason::NoKey(family))?,
        endpoint: Some(SocketAddr::new(to?, port)),
        allowed,
        surplus: 0,
        keepalive: wireguard.keepalive,
        preshared: wireguard.preshared,
    })
}

/// Of two addresses the one by which the peer is more likely reached: IPv4's where it is a public
/// one, IPv6's where those of both are, and IPv4's otherwise. A machine without an address of a
/// family does not send over it.
fn likelier(own: &Lease, lease: &Lease) -> Option<IpAddr> {
    let v4 = own.public_v4.and(lease.public_v4);
    let v6 = own.public_v6.and(lease.public_v6);
    let is_public = |address: Option<Ipv6Addr>| address.is_some_and(|address| !is_local(address));
    match (v4, v6) {
        (Some(v4), Some(_)) if !v4.is_private() => Some(v4.into()),
        (Some(_), Some(v6)) if is_public(own.public_v6) && !is_local(v6) => Some(v6.into()),
        (v4, v6) => v4.map(IpAddr::V4).or(v6.map(IpAddr::V6)),
    }
}

/// Not of the whole Internet: fc00::/7 and fe80::/10.
fn is_local(address: Ipv6Addr) -> bool {
    address.is_unique_local() || address.is_unicast_link_local()
}

#[cfg(test)]
#[path = "wired_tests.rs"]
mod tests;

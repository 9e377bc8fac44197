//! From leases to what the kernel has to know: pure. A lease that cannot be served is left out
//! with its reason and harms no other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cidr::{Cidr, Family};
use super::config::{Backend, Config};
use super::lease::Lease;
use super::state::{Forwarding, Neighbour, Peer, Route, State, Way};
use super::wire::PublicKey;
use super::wired;

/// This machine's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    pub lease: Lease,
    /// Networks that the uplink is on.
    pub links: Vec<Cidr>,
}

impl Own {
    /// What a route to the subnet would take from this machine: its own link, its own address or
    /// the way to the peer itself.
    fn held_in(&self, subnet: &Cidr, lease: &Lease) -> Option<Cidr> {
        let family = subnet.family();
        let links = self.links.iter().copied();
        let ends = [self.lease.public(family), lease.public(family)];
        let ends = ends.into_iter().flatten().map(Cidr::single);
        links.chain(ends).find(|one| subnet.covers(one))
    }
}

/// What became of one lease of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Routed(Way),
    Ignored(Reason),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("{0} is not a subnet of the network's")]
    OutOfRange(Cidr),
    #[error("its backend is {theirs}, the network's is {ours}")]
    Backend { theirs: String, ours: &'static str },
    #[error("it has no {0} address to send to")]
    NoAddress(Family),
    #[error("it has no hardware address for {0}")]
    NoMac(Family),
    #[error("its VNI is {theirs}, the network's is {ours}")]
    Vni { theirs: u32, ours: u32 },
    #[error("it has this machine's public address")]
    OwnAddress,
    #[error("it has the hardware address of {0}")]
    SharedMac(String),
    #[error("it overlaps {0}")]
    Overlaps(String),
    #[error("it has no key of wireguard for {0}")]
    NoKey(Family),
    #[error("it has the key of {0}")]
    SharedKey(String),
    #[error("its address {0} is not on a link of this machine, which host-gw needs")]
    NotOnLink(IpAddr),
    #[error("its subnet {0} holds {1}, to which the way would be lost")]
    HoldsLink(Cidr, Cidr),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    pub state: State,
    /// By key.
    pub verdicts: BTreeMap<String, Verdict>,
    /// Public addresses that several of the served have: only one of them is there.
    pub shared: Vec<String>,
}

/// The leases are those of others: the own one is not among them.
pub fn desired(config: &Config, own: &Own, peers: &BTreeMap<String, Lease>) -> Wanted {
    let mut wanted = Wanted::default();
    let mut seen = Seen::new(own);
    for (key, lease) in peers {
        let verdict = match seen.entries(config, own, key, lease) {
            Ok(entries) => {
                let peers = entries.iter().flat_map(|entry| entry.peer);
                wanted.state.peers.extend(peers);
                let way = entries.first().map_or(Way::Tunnel, |entry| entry.route.way);
                for entry in entries {
                    wanted.state.routes.insert(entry.route);
                    wanted.state.neighbours.extend(entry.neighbour);
                    wanted.state.forwardings.extend(entry.forwarding);
                }
                Verdict::Routed(way)
            }
            Err(reason) => Verdict::Ignored(reason),
        };
        wanted.verdicts.insert(key.clone(), verdict);
    }
    wanted.shared = shared(peers, &wanted.verdicts);
    wanted
}

/// Both are served: the one may be the other's before it was installed anew, and nobody can tell
/// which. To each other's packets they are deaf.
fn shared(peers: &BTreeMap<String, Lease>, verdicts: &BTreeMap<String, Verdict>) -> Vec<String> {
    let mut holders: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    for (key, lease) in peers {
        if let Some(Verdict::Routed(_)) = verdicts.get(key) {
            let addresses = [Family::V4, Family::V6].map(|family| lease.public(family));
            for address in addresses.into_iter().flatten() {
                holders.entry(address).or_default().push(key);
            }
        }
    }
    let several = holders.iter().filter(|(_, keys)| keys.len() > 1);
    several
        .map(|(address, keys)| format!("{address} is the public address of {}", keys.join(" and ")))
        .collect()
}

/// One peer in one family.
struct Entry {
    route: Route,
    neighbour: Option<Neighbour>,
    forwarding: Option<Forwarding>,
    /// Of both families where they share a device.
    peer: Option<Peer>,
}

impl Entry {
    fn new(destination: Cidr, gateway: IpAddr, way: Way) -> Entry {
        Entry {
            route: Route {
                destination,
                gateway,
                way,
            },
            neighbour: None,
            forwarding: None,
            peer: None,
        }
    }
}

/// What earlier leases hold, so that a later one cannot take it from them.
struct Seen {
    macs: BTreeMap<super::mac::Mac, String>,
    keys: BTreeMap<PublicKey, String>,
    /// Ranges by their first address; none overlaps another.
    subnets: BTreeMap<IpAddr, (Cidr, String)>,
}

impl Seen {
    fn new(own: &Own) -> Seen {
        let mut seen = Seen {
            macs: BTreeMap::new(),
            keys: BTreeMap::new(),
            subnets: BTreeMap::new(),
        };
        seen.remember(&own.lease, "this machine's");
        seen
    }

    fn remember(&mut self, lease: &Lease, name: &str) {
        for family in [Family::V4, Family::V6] {
            if let Some(mac) = lease.end(family).mac {
                self.macs.insert(mac, name.to_string());
            }
            if let Some(key) = lease.end(family).key {
                self.keys.insert(key, name.to_string());
            }
            if let Some(subnet) = lease.subnets.of(family) {
                self.subnets
                    .insert(subnet.address(), (subnet, name.to_string()));
            }
        }
    }

    /// Ranges that do not overlap are in one order by their first and by their last address: only
    /// the nearest one before and the nearest one behind can be in the way.
    fn overlapping(&self, subnet: &Cidr) -> Option<String> {
        let before = self.subnets.range(..=subnet.address()).next_back();
        let behind = self.subnets.range(subnet.address()..).next();
        let mut near = before.into_iter().chain(behind);
        let (_, (_, name)) = near.find(|(_, (other, _))| other.overlaps(subnet))?;
        Some(name.clone())
    }

    fn entries(
        &mut self,
        config: &Config,
        own: &Own,
        key: &str,
        lease: &Lease,
    ) -> Result<Vec<Entry>, Reason> {
        if lease.backend != config.backend.name() {
            return Err(Reason::Backend {
                theirs: lease.backend.clone(),
                ours: config.backend.name(),
            });
        }
        if lease.shares_address(&own.lease) {
            return Err(Reason::OwnAddress);
        }
        let mut entries = Vec::new();
        for (family, ranges) in config.families() {
            // A machine of one family among those of both is reached by that one.
            let Some(subnet) = lease.subnets.of(family) else {
                continue;
            };
            if !ranges.network.covers(&subnet) || subnet == ranges.network {
                return Err(Reason::OutOfRange(subnet));
            }
            if let Some(other) = self.overlapping(&subnet) {
                return Err(Reason::Overlaps(other));
            }
            if let Some(link) = own.held_in(&subnet, lease) {
                return Err(Reason::HoldsLink(subnet, link));
            }
            let to = || lease.public(family).ok_or(Reason::NoAddress(family));
            let near = |to| own.links.iter().any(|link| link.contains(to));
            entries.push(match &config.backend {
                Backend::HostGw if !near(to()?) => return Err(Reason::NotOnLink(to()?)),
                Backend::HostGw => Entry::new(subnet, to()?, Way::Uplink),
                Backend::Vxlan(vxlan) if vxlan.direct_routing && near(to()?) => {
                    Entry::new(subnet, to()?, Way::Uplink)
                }
                Backend::Vxlan(vxlan) => self.tunnelled(vxlan.vni, lease, subnet, to()?)?,
                Backend::Ipip(ipip) if ipip.direct_routing && near(to()?) => {
                    Entry::new(subnet, to()?, Way::Uplink)
                }
                Backend::Ipip(_) => Entry::new(subnet, to()?, Way::Tunnel),
                Backend::Wireguard(wireguard) => {
                    let peer = wired::peer(wireguard, config, &own.lease, lease, family)?;
                    if let Some(other) = self.keys.get(&peer.key) {
                        return Err(Reason::SharedKey(other.clone()));
                    }
                    Entry {
                        peer: Some(peer),
                        ..Entry::new(subnet, nobody(family), Way::Tunnel)
                    }
                }
            });
        }
        self.remember(lease, key);
        Ok(entries)
    }

    fn tunnelled(
        &self,
        vni: u32,
        lease: &Lease,
        subnet: Cidr,
        to: IpAddr,
    ) -> Result<Entry, Reason> {
        let family = subnet.family();
        let end = lease.end(family);
        if let Some(theirs) = end.vni.filter(|theirs| *theirs != vni) {
            return Err(Reason::Vni { theirs, ours: vni });
        }
        let mac = end.mac.ok_or(Reason::NoMac(family))?;
        if let Some(other) = self.macs.get(&mac) {
            return Err(Reason::SharedMac(other.clone()));
        }
        Ok(Entry {
            neighbour: Some(Neighbour {
                address: subnet.address(),
                mac,
            }),
            forwarding: Some(Forwarding { mac, to }),
            ..Entry::new(subnet, subnet.address(), Way::Tunnel)
        })
    }
}

/// In place of a gateway where the device itself knows where to.
fn nobody(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Ranges that the host already uses for something else, and the network overlaps.
pub fn overlapping(networks: &[Cidr], host: &BTreeSet<Cidr>) -> Vec<(Cidr, Cidr)> {
    let mut found = Vec::new();
    for network in networks {
        let others = host.iter().filter(|other| other.length() > 0);
        let in_the_way = others.filter(|other| network.overlaps(other));
        found.extend(in_the_way.map(|other| (*network, *other)));
    }
    found
}

#[cfg(test)]
#[path = "desired_tests.rs"]
mod tests;

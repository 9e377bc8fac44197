//! The seam to the kernel: the few things the overlay asks of it. `netlink` is the real one; the
//! benchmark's recording one only remembers.

use std::io;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::cidr::{Cidr, Family};
use super::mac::Mac;
use super::state::{Change, State};
use super::wire::{PublicKey, Secret};

#[derive(Debug, thiserror::Error)]
#[error("asking the kernel to {doing}")]
pub struct Error {
    doing: String,
    source: io::Error,
}

impl Error {
    pub fn new(doing: impl Into<String>, source: io::Error) -> Error {
        Error {
            doing: doing.into(),
            source,
        }
    }

    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// How the interface is named that carries the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Name(String),
    Address(IpAddr),
    /// The one of the default route.
    Default,
}

/// The interface that carries the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    /// Usable ones, in the kernel's order, with the network each is on.
    pub addresses: Vec<(IpAddr, Cidr)>,
}

impl Uplink {
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        let mut all = self.addresses.iter().map(|(address, _)| *address);
        all.find(|address| Family::of(*address) == family)
    }
}

/// A device of the tunnel, as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    pub name: String,
    pub mtu: u32,
    /// Its own: the first one of the machine's subnet, in each family that it carries.
    pub addresses: Vec<IpAddr>,
    pub device: Device,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    Vxlan {
        vni: u32,
        port: u16,
        local: IpAddr,
        uplink: u32,
        mac: Mac,
        gbp: bool,
        learning: bool,
    },
    Wireguard {
        key: Secret,
        port: u16,
    },
    Ipip {
        local: IpAddr,
        uplink: u32,
    },
}

impl Tunnel {
    pub fn families(&self) -> impl Iterator<Item = Family> {
        self.addresses.iter().map(|address| Family::of(*address))
    }
}

/// flannel's names of vxlan's devices.
pub fn vxlan_name(vni: u32, family: Family) -> String {
    match family {
        Family::V4 => format!("flannel.{vni}"),
        Family::V6 => format!("flannel-v6.{vni}"),
    }
}

/// What was found of a device and done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    Kept,
    Adapted,
    Created,
    /// There was one that could not be adapted.
    Recreated,
}

/// Whose entries are looked at and changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub networks: Vec<Cidr>,
    pub uplink: u32,
    /// Indexes of the tunnel's devices; two families may share one.
    pub tunnels: Vec<(Family, u32)>,
    pub known: Known,
}

/// What a device has to know of peers beside their routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Nothing,
    /// Neighbours and forwarding entries.
    Stations,
    /// Peers of wireguard.
    Keys,
}

impl Place {
    pub fn tunnel(&self, family: Family) -> Option<u32> {
        let mut all = self.tunnels.iter();
        all.find(|(of, _)| *of == family).map(|(_, index)| *index)
    }
}

/// Counters of a device since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counters {
    pub received_packets: u64,
    pub sent_packets: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub receive_errors: u64,
    pub send_errors: u64,
    pub receive_drops: u64,
    pub send_drops: u64,
}

/// What goes on with one peer of wireguard.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Connection {
    pub device: String,
    pub key: PublicKey,
    /// Where it is now: it may have moved on since its lease was written.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since 1970; nothing: there was none.
    pub last_handshake: Option<u64>,
    pub received_bytes: u64,
    pub sent_bytes: u64,
}

pub trait Kernel {
    /// Nothing: there is none, or it is down or has no address.
    fn uplink(&mut self, choice: &Choice) -> Result<Option<Uplink>, Error>;

    /// The device is there and as wanted afterwards.
    fn make_tunnel(&mut self, tunnel: &Tunnel) -> Result<(u32, Made), Error>;

    /// Whether there was one.
    fn remove_tunnel(&mut self, name: &str) -> Result<bool, Error>;

    fn observe(&mut self, place: &Place) -> Result<State, Error>;

    /// What could not be done, and why. All others are done.
    fn apply(
        &mut self,
        place: &Place,
        changes: &[Change],
    ) -> Result<Vec<(Change, io::Error)>, Error>;

    /// Where the host's routes of the main table lead that are not the overlay's, without the
    /// default ones.
    fn other_routes(&mut self, place: &Place) -> Result<Vec<Cidr>, Error>;

    fn counters(&mut self, device: &str) -> Result<Option<Counters>, Error>;

    /// Peers of a device of wireguard.
    fn connections(&mut self, device: &str) -> Result<Vec<Connection>, Error>;

    /// Rules of nftables, all of them or none.
    fn load_rules(&mut self, text: &str) -> Result<(), Error>;

    /// docker's chain for rules of others, in nftables' JSON; nothing where docker has none.
    fn docker_rules(&mut self, family: Family) -> Result<Option<Value>, Error>;

    /// Another one as soon as anybody has changed any rule.
    fn rules_generation(&mut self) -> Result<u32, Error>;
}

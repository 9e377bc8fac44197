//! Network descriptions of clouds and config drives as files for networkd.
//!
//! Every source is read into [`Link`]s first. Addresses and names are checked on the way, so that
//! nothing a description holds can become another line of a file; what is not understood is
//! left out, because a machine with half its network can still be reached and mended.

mod address;
pub mod debian;
pub mod digitalocean;
pub mod nocloud;
pub mod openstack;
mod render;

pub use address::{Cidr, is_link_name};
pub use render::render;

use std::net::IpAddr;

use serde::Serialize;

/// One interface, real or made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    pub name: String,
    pub kind: Kind,
    /// Lower case, with colons.
    pub mac: Option<String>,
    pub mtu: Option<u32>,
    pub dhcp: Dhcp,
    pub addresses: Vec<Cidr>,
    pub routes: Vec<Route>,
    pub dns: Vec<IpAddr>,
    pub search: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub enum Kind {
    #[default]
    Physical,
    Vlan {
        id: u16,
        parent: String,
    },
    Bond {
        members: Vec<String>,
        /// networkd's name: `active-backup`, `802.3ad`, ...
        mode: String,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Dhcp {
    #[default]
    No,
    V4,
    V6,
    Both,
}

impl Dhcp {
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, other) | (other, Self::No) => other,
            (a, b) if a == b => a,
            _ => Self::Both,
        }
    }
}

/// A route; without a destination the default one of the gateway's family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    pub destination: Option<Cidr>,
    pub gateway: IpAddr,
}

/// The entry of that name, made when it is missing.
fn link<'l>(links: &'l mut Vec<Link>, name: &str) -> &'l mut Link {
    let index = links
        .iter()
        .position(|link| link.name == name)
        .unwrap_or_else(|| {
            links.push(Link {
                name: name.to_owned(),
                ..Link::default()
            });
            links.len() - 1
        });
    &mut links[index]
}

#[cfg(test)]
mod tests;

//! Where the cluster's files are, and at which addresses this machine is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};

use super::METRICS_PORT;
use crate::root::Root;

/// How long a certificate is good; it is renewed when a third of that is left.
pub const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

const ASK_EVERY: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub struct Place {
    pub root: Root,
    /// Instead of the interfaces' addresses.
    pub addresses: Option<Vec<IpAddr>>,
    pub metrics: SocketAddr,
    /// Of certificates signed here.
    pub lifetime: Duration,
    /// How often a machine asks which authorities count and what is revoked.
    pub ask_every: Duration,
}

impl Place {
    pub fn of_machine() -> Place {
        Place {
            root: Root::new("/"),
            addresses: None,
            metrics: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), METRICS_PORT),
            lifetime: LIFETIME,
            ask_every: ASK_EVERY,
        }
    }

    pub fn addresses(&self) -> Result<Vec<IpAddr>> {
        if let Some(addresses) = &self.addresses {
            return Ok(addresses.clone());
        }
        let entries = nix::ifaddrs::getifaddrs().context("listing the interfaces' addresses")?;
        let address = |entry: nix::ifaddrs::InterfaceAddress| {
            let storage = entry.address?;
            let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        };
        Ok(entries.filter_map(address).collect())
    }
}

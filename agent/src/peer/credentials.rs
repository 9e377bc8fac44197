//! This machine's certificate of the cluster, from where `/etc/strake/etcd.json` says it is.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};

use super::PORT;
use crate::cluster::identity::Identity;
use crate::root::Root;
use crate::store::etcd::Settings;

#[derive(Debug, Clone)]
pub struct Credentials {
    pub ca: String,
    pub identity: Identity,
}

impl Credentials {
    /// None: the store is used without certificates.
    pub fn read(root: &Root, settings: &Settings) -> Result<Option<Credentials>> {
        let (Some(ca), Some(cert), Some(key)) = (&settings.ca, &settings.cert, &settings.key)
        else {
            return Ok(None);
        };
        let read = |path| {
            let reading = || format!("reading {}", std::path::Path::display(path));
            root.read_text(path).with_context(reading)
        };
        let identity = Identity::new(read(cert)?, read(key)?);
        let identity = identity.with_context(|| format!("understanding {}", cert.display()))?;
        Ok(Some(Credentials {
            ca: read(ca)?,
            identity,
        }))
    }

    /// Where others reach this machine under its certificate: a member's is for loopback too.
    pub fn address(&self) -> Option<SocketAddr> {
        let addresses = &self.identity.leaf.addresses;
        let outside = addresses.iter().find(|ip: &&IpAddr| !ip.is_loopback());
        let found = outside.or(addresses.first());
        found.map(|ip| SocketAddr::new(*ip, PORT))
    }
}

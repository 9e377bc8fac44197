//! `/etc/strake/cluster.json`, rendered from `strake.cluster`.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::authority::Role;
use super::secret::JoinSecret;
use super::trust::{self, Trust};
use crate::root::Root;

pub const PATH: &str = "/etc/strake/cluster.json";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Settings {
    pub name: String,
    pub seeds: Vec<IpAddr>,
    pub ca: String,
    pub ca_key: Option<String>,
    pub join_secret: JoinSecret,
    /// Which authorities count; `ca` holds all of them.
    #[serde(skip)]
    pub trust: Trust,
}

impl Settings {
    pub fn load(root: &Root) -> Result<Settings> {
        let text = root
            .read_text(PATH)
            .with_context(|| format!("reading {PATH}, which strake.cluster makes"))?;
        let mut settings: Settings = serde_json::from_str(&text)
            .with_context(|| format!("reading {PATH}: seeds, ca and join_secret are needed"))?;
        ensure!(!settings.seeds.is_empty(), "{PATH} names no seeds");
        settings.trust = trust::load(root, &settings.ca);
        settings.ca = settings.trust.bundle();
        ensure!(!settings.ca.is_empty(), "{PATH}: ca holds no certificate");
        Ok(settings)
    }

    /// The seed that this machine is, if any.
    pub fn own_seed(&self, addresses: &[IpAddr]) -> Option<IpAddr> {
        let is_own = |seed: &&IpAddr| addresses.contains(seed);
        self.seeds.iter().find(is_own).copied()
    }

    /// What a machine at this address may become.
    pub fn role_at(&self, address: IpAddr) -> Role {
        match self.seeds.contains(&address) {
            true => Role::Member,
            false => Role::Machine,
        }
    }

    pub fn other_seeds(&self, own: IpAddr) -> impl Iterator<Item = IpAddr> {
        self.seeds.iter().copied().filter(move |seed| *seed != own)
    }
}

//! What a cloud or a config drive says about a machine, read from the documents as they came.
//!
//! Fetching them is the agent's part. Each reader takes what it knows and leaves the rest; a
//! document that cannot be read at all is an error, a missing value is not.

mod azure_disc;
mod cloud;
mod openstack;
mod yaml;

use serde::Serialize;
use thiserror::Error;

pub use azure_disc::{Provisioning, azure_disc};
pub use cloud::{Ec2, azure, digitalocean, ec2, gce};
pub use openstack::{OpenStack, openstack};
pub use yaml::nocloud;

use crate::config::{Config, Unit};
use crate::context::Addresses;

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Metadata {
    pub hostname: Option<String>,
    /// Keys of the user `core`.
    pub ssh_authorized_keys: Vec<String>,
    pub addresses: Addresses,
    /// Files for networkd, from `network::render`.
    pub network: Vec<Unit>,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("reading the {0} metadata as JSON")]
    Json(&'static str, #[source] serde_json::Error),
    #[error("reading the {0} metadata as YAML")]
    Yaml(&'static str),
    #[error("reading ovf-env.xml as XML")]
    Xml,
    #[error("reading the custom data in ovf-env.xml as base64")]
    CustomData,
}

impl Metadata {
    /// The layer this makes: weaker than a user's config, whose name for the machine wins, and
    /// whose keys come on top.
    pub fn to_config(&self) -> Config {
        Config {
            hostname: self.hostname.clone(),
            ssh_authorized_keys: self.ssh_authorized_keys.clone(),
            units: self.network.clone(),
            ..Config::default()
        }
    }
}

/// The first word of a text, if it can be a machine's name.
fn hostname(text: &str) -> Option<String> {
    let name = text.split_whitespace().next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = name.len() <= 253 && name.bytes().all(plain) && !name.starts_with(['-', '.']);
    fits.then(|| name.chars().take(64).collect())
}

/// Public keys, one on each line; what cannot be one is left out.
fn keys<'k>(texts: impl IntoIterator<Item = &'k str>) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for key in texts.into_iter().flat_map(str::lines).map(str::trim) {
        let plain = !key.is_empty() && !key.starts_with('#') && !key.contains(char::is_control);
        if plain && key.contains(' ') && !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }
    keys
}

#[cfg(test)]
mod tests;

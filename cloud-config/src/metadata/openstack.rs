use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Error, Metadata, hostname, keys};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    hostname: Option<String>,
    name: Option<String>,
    public_keys: BTreeMap<String, String>,
    network_config: Option<NetworkConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NetworkConfig {
    content_path: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OpenStack {
    pub metadata: Metadata,
    /// Where the network lies as Debian text, relative to `openstack/`; never leads out of it.
    pub network_path: Option<String>,
}

/// `openstack/latest/meta_data.json`.
pub fn openstack(bytes: &[u8]) -> Result<OpenStack, Error> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| Error::Json("OpenStack", error))?;
    let name = document.hostname.as_deref().or(document.name.as_deref());
    let path = document
        .network_config
        .and_then(|config| config.content_path);
    let inside = |path: &String| !path.split('/').any(|step| step == "..");
    Ok(OpenStack {
        metadata: Metadata {
            hostname: name.and_then(hostname),
            ssh_authorized_keys: keys(document.public_keys.values().map(String::as_str)),
            ..Metadata::default()
        },
        network_path: path
            .filter(inside)
            .map(|path| path.trim_start_matches('/').to_owned())
            .filter(|path| !path.is_empty()),
    })
}

//! What machines and members say to each other: JSON over HTTPS, at most 256 KiB each way.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::founding::Data;
use super::trust::Trust;

pub const JOIN: &str = "/v1/join";
pub const RENEW: &str = "/v1/renew";
pub const STATE: &str = "/v1/state";
pub const TRUST: &str = "/v1/trust";
pub const KEYS: &str = "/v1/keys";
pub const LIMIT: usize = 256 << 10;

/// For a machine without a certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    pub cluster: String,
    pub csr: String,
    pub secret_id: String,
    pub proof: String,
}

/// For a machine that shows the one it has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    pub csr: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Granted {
    pub certificate: String,
    /// For a member: the authority's key, so that it can vouch for others too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_key: Option<String>,
    /// Which authorities count, for who was away when that changed.
    #[serde(default)]
    pub trust: Option<Trust>,
}

/// For a machine that shows its certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// What it trusts now.
    pub version: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    pub trust: Trust,
    /// Serials, hexadecimal.
    pub revoked: BTreeSet<String>,
}

/// For members alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Keys {
    pub keys: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub data: Data,
    /// Whether its etcd answers with a leader.
    pub serving: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refused {
    pub error: String,
}

use std::time::Duration;

use serde::Serialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Strake {
    pub cluster: Cluster,
    pub health: Health,
    pub update: UpdateLimits,
    pub reboot: Reboot,
    pub overlay: Overlay,
    pub dashboard: Option<Dashboard>,
    pub addresses: AddressSources,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cluster {
    pub name: Option<String>,
    /// Addresses of the etcd members; a machine that has one of them is a member.
    pub seeds: Vec<String>,
    /// PEM.
    pub ca: Option<String>,
    /// Sealed under the join secret.
    pub ca_key: Option<String>,
    pub join_secret: Option<String>,
    /// Whether units have names.
    pub names: Option<bool>,
}

impl Cluster {
    /// Whether there is all it takes to set up etcd.
    pub fn is_complete(&self) -> bool {
        !self.seeds.is_empty() && self.ca.is_some() && self.join_secret.is_some()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    pub require: Vec<String>,
    pub settle: Option<Duration>,
    pub deadline: Option<Duration>,
}

/// How updates are looked for and fetched; what is not set is left to the updater.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UpdateLimits {
    pub poll_interval: Option<Duration>,
    /// Bytes a second.
    pub bandwidth: Option<u64>,
    pub cpu_percent: Option<u8>,
    pub windows: Vec<Window>,
}

/// How the machine reboots into an update; what is not set is left to the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reboot {
    pub windows: Vec<Window>,
    pub time_zone: Option<String>,
    pub group: Option<String>,
    /// How long users are waited for.
    pub users: Option<Duration>,
    /// How long units may take to go elsewhere.
    pub drain: Option<Duration>,
    /// Machines that a release may fall back on before the cluster refuses it.
    pub budget: Option<u32>,
    /// Where FleetLock clients are served.
    pub fleetlock: Option<String>,
}

/// Where the cluster is shown as a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dashboard {
    pub listen: String,
    pub token: Option<String>,
}

/// The network between containers; what is not set is left to the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Overlay {
    pub network: Option<String>,
    pub ipv6_network: Option<String>,
    pub subnet_length: Option<u8>,
    pub ipv6_subnet_length: Option<u8>,
    pub backend: Option<String>,
    pub vni: Option<u32>,
    pub port: Option<u16>,
    pub mtu: Option<u32>,
    pub direct_routing: Option<bool>,
    pub mode: Option<String>,
    pub keepalive: Option<u16>,
    pub masquerade: Option<bool>,
    pub interface: Option<String>,
    pub prefix: Option<String>,
    pub networks: Vec<OverlayNetwork>,
}

/// A network with a name, beside the one without.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OverlayNetwork {
    pub name: String,
    pub network: Option<String>,
    pub ipv6_network: Option<String>,
    pub subnet_length: Option<u8>,
    pub ipv6_subnet_length: Option<u8>,
    pub backend: Option<String>,
    pub vni: Option<u32>,
    /// Networks that it exchanges packets with.
    pub allow: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    /// `HH:MM`, or a weekday before it.
    pub start: String,
    pub length: Duration,
}

/// Where the address variables come from when no metadata gives them: an interface or a CIDR.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AddressSources {
    pub public: Option<String>,
    pub private: Option<String>,
}

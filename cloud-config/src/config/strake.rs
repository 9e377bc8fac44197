use std::time::Duration;

use serde::Serialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Strake {
    pub cluster: Cluster,
    pub health: Health,
    pub addresses: AddressSources,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cluster {
    pub name: Option<String>,
    /// Addresses of the etcd members; a machine that has one of them is a member.
    pub seeds: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    pub require: Vec<String>,
    pub settle: Option<Duration>,
    pub deadline: Option<Duration>,
}

/// Where the address variables come from when no metadata gives them: an interface or a CIDR.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AddressSources {
    pub public: Option<String>,
    pub private: Option<String>,
}

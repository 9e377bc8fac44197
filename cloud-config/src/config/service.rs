use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Oem {
    pub id: Option<String>,
    pub name: Option<String>,
    pub version_id: Option<String>,
    pub home_url: Option<String>,
    pub bug_report_url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebootStrategy {
    /// One machine at a time, by the cluster's lock.
    EtcdLock,
    /// At once.
    Reboot,
    /// With the lock when etcd answers, at once otherwise.
    BestEffort,
    /// Never by itself.
    Off,
}

impl RebootStrategy {
    pub const NAMES: &'static [&'static str] = &["etcd-lock", "reboot", "off", "best-effort"];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "etcd-lock" => Some(Self::EtcdLock),
            "reboot" => Some(Self::Reboot),
            "best-effort" => Some(Self::BestEffort),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

impl fmt::Display for RebootStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EtcdLock => "etcd-lock",
            Self::Reboot => "reboot",
            Self::BestEffort => "best-effort",
            Self::Off => "off",
        })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Update {
    pub reboot_strategy: Option<RebootStrategy>,
    pub group: Option<String>,
    pub server: Option<String>,
}

/// The daemons of old that a config may set; each stands for a service here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Daemon {
    Etcd,
    Etcd2,
    Fleet,
    Flannel,
    Locksmith,
}

impl Daemon {
    pub const ALL: [Self; 5] = [
        Self::Etcd,
        Self::Etcd2,
        Self::Fleet,
        Self::Flannel,
        Self::Locksmith,
    ];

    /// The key below `coreos`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Etcd2 => "etcd2",
            Self::Fleet => "fleet",
            Self::Flannel => "flannel",
            Self::Locksmith => "locksmith",
        }
    }
}

/// One environment variable of a daemon, never with an empty or zero value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub variable: String,
    pub value: String,
}

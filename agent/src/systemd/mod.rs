//! systemd, as this program sees it: a few questions, a few orders, and a sign that something
//! changed. The real one talks D-Bus; the fake has the same behaviour in memory.

pub mod bus;
#[cfg(test)]
pub mod fake;
mod proxy;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("connecting to the system bus")]
    Connect(#[source] zbus::Error),
    #[error("asking systemd for {what}")]
    Ask { what: String, source: zbus::Error },
    #[error("telling systemd to {what}")]
    Order { what: String, source: zbus::Error },
}

/// systemd's own words for what a unit is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Active {
    Active,
    Reloading,
    Refreshing,
    Inactive,
    Failed,
    Activating,
    Deactivating,
    Maintenance,
    Unknown,
}

impl From<&str> for Active {
    fn from(word: &str) -> Active {
        match word {
            "active" => Active::Active,
            "reloading" => Active::Reloading,
            "refreshing" => Active::Refreshing,
            "inactive" => Active::Inactive,
            "failed" => Active::Failed,
            "activating" => Active::Activating,
            "deactivating" => Active::Deactivating,
            "maintenance" => Active::Maintenance,
            _ => Active::Unknown,
        }
    }
}

impl Active {
    /// Up and doing its work, also while it reloads.
    pub fn is_up(self) -> bool {
        matches!(
            self,
            Active::Active | Active::Reloading | Active::Refreshing
        )
    }

    pub fn is_down(self) -> bool {
        matches!(self, Active::Inactive | Active::Failed)
    }

    pub fn word(self) -> &'static str {
        match self {
            Active::Active => "active",
            Active::Reloading => "reloading",
            Active::Refreshing => "refreshing",
            Active::Inactive => "inactive",
            Active::Failed => "failed",
            Active::Activating => "activating",
            Active::Deactivating => "deactivating",
            Active::Maintenance => "maintenance",
            Active::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub name: String,
    /// systemd found a unit file for it.
    pub loaded: bool,
    pub active: Active,
    pub sub: String,
    /// Empty for a unit without a file.
    pub fragment: String,
    /// Units that want or require this one.
    pub pulled_by: Vec<String>,
    /// Monotonic microseconds; 0 when it never was active.
    pub active_since_us: u64,
}

/// Monotonic microseconds of the manager's milestones; 0 when not reached. Firmware and loader
/// count backwards from the kernel's start.
pub type BootTimes = BTreeMap<&'static str, u64>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    Start,
    Stop,
    Restart,
    TryRestart,
    Reload,
    ReloadOrRestart,
    ReloadOrTryRestart,
}

impl Job {
    pub fn word(self) -> &'static str {
        match self {
            Job::Start => "start",
            Job::Stop => "stop",
            Job::Restart => "restart",
            Job::TryRestart => "try-restart",
            Job::Reload => "reload",
            Job::ReloadOrRestart => "reload-or-restart",
            Job::ReloadOrTryRestart => "reload-or-try-restart",
        }
    }
}

#[allow(async_fn_in_trait, reason = "used in this crate only, on one thread")]
pub trait Units {
    async fn unit(&self, name: &str) -> Result<Unit, Error>;

    /// What `unit` says of this alone, for a tenth of its cost.
    async fn active(&self, name: &str) -> Result<Active, Error>;

    async fn failed(&self) -> Result<Vec<Unit>, Error>;

    async fn boot_times(&self) -> Result<BootTimes, Error>;

    /// A counter that moves whenever a unit changed; several changes may be one move.
    async fn changes(&self) -> Result<watch::Receiver<u64>, Error>;

    /// Reads all unit files again.
    async fn reload(&self) -> Result<(), Error>;

    /// Queues the job and does not wait for it.
    async fn run(&self, job: Job, unit: &str) -> Result<(), Error>;

    async fn reboot(&self) -> Result<(), Error>;
}

//! The way of commands to the cluster's store.

use anyhow::{Context, Result};

use crate::root::Root;
use crate::scheduler::name;
use crate::scheduler::orders;
use crate::store::etcd::{Etcd, Settings};

/// `STRAKE_ETCD_ENDPOINTS`, else the file that `STRAKE_ETCD_SETTINGS` names, else the machine's.
pub(super) fn settings() -> Result<Settings> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(endpoints) = value("STRAKE_ETCD_ENDPOINTS") {
        return Ok(Settings {
            endpoints: endpoints.split(',').map(str::to_string).collect(),
            ca: None,
            cert: None,
            key: None,
        });
    }
    let Some(file) = value("STRAKE_ETCD_SETTINGS") else {
        return Settings::read(&Root::new("/"));
    };
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    serde_json::from_str(&text).with_context(|| format!("understanding {file}"))
}

pub(super) async fn connect() -> Result<Etcd> {
    Etcd::connect(&settings()?)
        .await
        .context("connecting to the cluster")
}

/// Whether the user has to change something, and not the cluster.
pub(super) fn is_refused(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<orders::Error>() {
        Some(orders::Error::Store(_) | orders::Error::Garbled(_)) => false,
        Some(_) => true,
        None => error.downcast_ref::<name::Refused>().is_some(),
    }
}

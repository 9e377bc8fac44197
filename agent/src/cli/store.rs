//! The way of commands to the cluster's store.

use anyhow::{Context, Result};

use crate::root::Root;
use crate::scheduler::name;
use crate::scheduler::orders;
use crate::store::etcd::{Etcd, Settings};

pub(super) async fn connect() -> Result<Etcd> {
    let settings = match std::env::var("STRAKE_ETCD_ENDPOINTS") {
        Ok(endpoints) if !endpoints.is_empty() => Settings {
            endpoints: endpoints.split(',').map(str::to_string).collect(),
            ca: None,
            cert: None,
            key: None,
        },
        _ => Settings::read(&Root::new("/"))?,
    };
    Etcd::connect(&settings)
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

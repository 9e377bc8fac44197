//! The cluster as one machine sees it, in a few reads of the store: for `strake status`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::{self, Desired, Observed, Tags};
use super::machine::{Duty, MachineId};
use super::name::UnitName;
use crate::store::{Error, Kind, Store};
use crate::systemd::Active;

/// For all of it.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Whether this machine has a live lease.
    pub registered: bool,
    pub duty: Duty,
    /// The machine that plans.
    pub leader: Option<String>,
    /// With a live lease; of many, so many at least.
    pub machines: usize,
    pub more_machines: bool,
    /// Units this machine is to hold, and of these, those that are up.
    pub units: usize,
    pub up: usize,
    pub broken: Vec<Broken>,
}

/// A unit here that failed, or that cannot be loaded or started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    pub unit: UnitName,
    pub cause: String,
}

pub async fn summarize(store: &impl Store, own: &MachineId) -> Result<Summary, Error> {
    let reading = read(store, own);
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(summary) => summary,
        Err(late) => Err(Error::new(Kind::Unreachable, "tell of the cluster", late)),
    }
}

async fn read(store: &impl Store, own: &MachineId) -> Result<Summary, Error> {
    let seats = store.list(keys::LEADER, None, None).await?.entries;
    let first = seats.iter().min_by_key(|seat| seat.created);
    let leader = first.map(|seat| String::from_utf8_lossy(&seat.value).into_owned());
    let leader = leader.and_then(|value| value.split(' ').next().map(str::to_string));
    let machines = store.list(keys::MACHINES, None, None).await?;
    let desired: Desired = value(store, &keys::desired(own)).await?;
    let observed: Observed = value(store, &keys::observed(own)).await?;
    let tags: Tags = value(store, &keys::tags(own)).await?;
    let seen = |unit: &UnitName| observed.units.get(unit);
    let up = |unit: &&UnitName| seen(unit).is_some_and(|seen| seen.active.is_up());
    let broken = desired.units.keys().filter_map(|unit| {
        let seen = seen(unit)?;
        let failed = || (seen.active == Active::Failed).then(|| format!("failed ({})", seen.sub));
        let cause = seen.problem.clone().or_else(failed)?;
        Some(Broken {
            unit: unit.clone(),
            cause,
        })
    });
    Ok(Summary {
        registered: store.read(&keys::machine(own)).await?.is_some(),
        duty: tags.duty,
        leader,
        machines: machines.entries.len(),
        more_machines: machines.more,
        units: desired.units.len(),
        up: desired.units.keys().filter(up).count(),
        broken: broken.collect(),
    })
}

/// What is absent, or not understood since a newer version wrote it, is as if nothing was there.
async fn value<T: serde::de::DeserializeOwned + Default>(
    store: &impl Store,
    key: &str,
) -> Result<T, Error> {
    let entry = store.read(key).await?;
    let value = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
    Ok(value.unwrap_or_default())
}

//! What can be seen in the store, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use strake_agent::scheduler::keys::{self, Desired, Observed};
use strake_agent::scheduler::name::UnitName;
use strake_agent::store::{Batch, Event, Revision, Store, read_all};
use strake_agent::systemd::Active;

use crate::cluster::machine_id;

/// Everything that is and happens below a prefix, until the closure has seen enough.
pub(crate) async fn follow(
    store: &impl Store,
    prefix: &str,
    mut enough: impl FnMut(&Batch) -> bool,
) -> Result<Revision> {
    let listing = read_all(store, prefix).await?;
    let mut revision = listing.revision;
    let first = Batch {
        revision,
        events: listing.entries.into_iter().map(Event::Put).collect(),
    };
    if enough(&first) {
        return Ok(revision);
    }
    let mut watch = store.watch(prefix, revision + 1).await?;
    loop {
        let batch = watch.next().await?;
        revision = batch.revision;
        if enough(&batch) {
            return Ok(revision);
        }
    }
}

/// The units that run, of what was written to an observed key.
pub(crate) fn running(event: &Event) -> Vec<UnitName> {
    let Event::Put(entry) = event else {
        return Vec::new();
    };
    let observed: Observed = serde_json::from_slice(&entry.value).unwrap_or_default();
    let up = observed.units.into_iter();
    up.filter(|(_, seen)| seen.active == Active::Active)
        .map(|(name, _)| name)
        .collect()
}

pub(crate) async fn registered(store: &impl Store, count: usize) -> Result<Value> {
    let start = Instant::now();
    let mut there = BTreeSet::new();
    let revision = follow(store, keys::MACHINES, |batch| {
        for event in &batch.events {
            match event {
                Event::Put(entry) => there.insert(entry.key.clone()),
                Event::Deleted { key } => there.remove(key),
            };
        }
        there.len() >= count
    })
    .await?;
    Ok(json!({ "seconds": start.elapsed().as_secs_f64(), "revision": revision }))
}

pub(crate) async fn placed(store: &impl Store, count: usize) -> Result<Value> {
    let start = Instant::now();
    let mut first = None;
    let mut per_machine = BTreeMap::new();
    let prefix = format!("{}desired/", keys::ALL);
    let revision = follow(store, &prefix, |batch| {
        for event in &batch.events {
            if let Event::Put(entry) = event {
                let desired: Desired = serde_json::from_slice(&entry.value).unwrap_or_default();
                per_machine.insert(entry.key.clone(), desired.units.len());
                first.get_or_insert_with(|| start.elapsed().as_secs_f64());
            }
        }
        per_machine.values().sum::<usize>() >= count
    })
    .await?;
    Ok(json!({
        "first": first,
        "seconds": start.elapsed().as_secs_f64(),
        "revision": revision,
    }))
}

/// Told when everything the machine was to hold runs elsewhere.
pub(crate) async fn moved(store: &impl Store, from: usize) -> Result<Value> {
    let lost = machine_id(from);
    let entry = store.read(&keys::desired(&lost)).await?;
    let held = entry.map(|entry| serde_json::from_slice::<Desired>(&entry.value));
    let mut held: BTreeSet<UnitName> = held
        .transpose()?
        .unwrap_or_default()
        .units
        .into_keys()
        .collect();
    let count = held.len();
    let own = keys::observed(&lost);
    let start = Instant::now();
    let prefix = format!("{}observed/", keys::ALL);
    follow(store, &prefix, |batch| {
        for event in &batch.events {
            if matches!(event, Event::Put(entry) if entry.key != own) {
                for name in running(event) {
                    held.remove(&name);
                }
            }
        }
        held.is_empty()
    })
    .await?;
    Ok(json!({ "units": count, "seconds": start.elapsed().as_secs_f64() }))
}

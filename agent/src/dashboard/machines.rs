//! Machines: who is there, who is away, and what each is about to do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::locks::Group;
use super::picture::Picture;
use crate::overlay::lease::{Lease, Subnets};
use crate::scheduler::machine::{self, Duty, MachineId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Its lease is over: gone, cut off, or about to come back.
    Away,
    Live,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    pub id: String,
    pub hostname: Option<String>,
    pub presence: Presence,
    pub address: String,
    pub zone: Option<String>,
    pub release: Option<String>,
    pub slot: Option<String>,
    /// What its own health service says of this boot.
    pub health: Option<String>,
    /// What it is about to do: fetch, wait, drain, reboot. Nothing: just its work.
    pub doing: Option<String>,
    /// In the passive slot, for the next reboot.
    pub next_release: Option<String>,
    pub subnet: Option<String>,
    /// Units it is to hold, and of these, those that are up.
    pub units: usize,
    pub up: usize,
}

impl Machine {
    pub fn name(&self) -> &str {
        let short = self.id.get(..8).unwrap_or(&self.id);
        self.hostname.as_deref().unwrap_or(short)
    }

    pub fn is_well(&self) -> bool {
        let sick = self.health.as_deref() == Some("unhealthy");
        self.presence == Presence::Live && !sick && self.up == self.units
    }
}

pub(super) fn read(picture: &Picture, locks: &[Group]) -> Vec<Machine> {
    let model = &picture.model;
    let mut ids: BTreeSet<MachineId> = model.machines.keys().cloned().collect();
    ids.extend(model.away().cloned());
    let held = locks.iter().flat_map(|group| &group.holders);
    let held = held.filter(|holder| holder.registered);
    ids.extend(held.filter_map(|holder| holder.id.parse().ok()));
    let subnets = subnets(picture);
    let mut machines: Vec<Machine> = ids
        .iter()
        .map(|id| one(picture, locks, &subnets, id))
        .collect();
    machines.sort_by(|a, b| {
        let order = |machine: &Machine| (machine.is_well(), machine.name().to_string());
        order(a).cmp(&order(b))
    });
    machines
}

fn one(
    picture: &Picture,
    locks: &[Group],
    subnets: &BTreeMap<String, String>,
    id: &MachineId,
) -> Machine {
    let model = &picture.model;
    let found = model.machine(id);
    let fact = |name: &str| {
        let fact = found.and_then(|machine| machine.facts.get(name));
        fact.map(machine::Fact::to_string)
    };
    let desired = model.desired.get(id).map(|at| &at.value.units);
    let observed = model.observed.get(id).map(|seen| &seen.units);
    let is_up = |name| observed.is_some_and(|all| all.get(name).is_some_and(|s| s.active.is_up()));
    let names = || desired.into_iter().flat_map(|units| units.keys());
    let presence = match found {
        Some(_) => Presence::Live,
        None => Presence::Away,
    };
    let duty = found.map_or(Duty::Open, |machine| machine.duty);
    Machine {
        id: id.to_string(),
        hostname: fact("hostname"),
        presence,
        address: found.map_or_else(String::new, |machine| machine.address.clone()),
        zone: found.and_then(|machine| machine.metadata.get("zone").cloned()),
        release: fact("release"),
        slot: fact("slot"),
        health: fact("health"),
        doing: doing(locks, id, presence, duty).or_else(|| fact("update")),
        next_release: fact("next_release"),
        subnet: subnets.get(id.as_str()).cloned(),
        units: names().count(),
        up: match presence {
            Presence::Live => names().filter(|name| is_up(*name)).count(),
            Presence::Away => 0,
        },
    }
}

fn doing(locks: &[Group], id: &MachineId, presence: Presence, duty: Duty) -> Option<String> {
    for group in locks {
        if let Some(holder) = group.holders.iter().find(|holder| holder.id == id.as_str()) {
            let into = match holder.reason.as_str() {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            let verb = match (presence, duty) {
                (Presence::Away, _) => "reboots",
                (Presence::Live, Duty::Draining) => "drains, then reboots",
                (Presence::Live, Duty::Open) => "has its turn to reboot",
            };
            return Some(format!("{verb}{into}"));
        }
        if let Some(place) = group.waiting.iter().position(|claim| claim == id.as_str()) {
            return Some(format!("waits to reboot, number {}", place + 1));
        }
    }
    match (presence, duty) {
        (Presence::Live, Duty::Draining) => Some("drained".to_string()),
        _ => None,
    }
}

/// By machine id.
fn subnets(picture: &Picture) -> BTreeMap<String, String> {
    let leases = picture.below(&picture.subnets);
    let read = leases.filter_map(|(key, entry)| {
        let subnets = Subnets::parse_key(key).ok()?;
        let lease = Lease::parse(key, &entry.value).ok()?;
        Some((lease.machine?, subnets.to_string()))
    });
    read.collect()
}

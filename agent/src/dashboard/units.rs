//! Units of the cluster: what is wanted, how far it is, and where.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::picture::Picture;
use crate::scheduler::keys::State;
use crate::scheduler::name::UnitName;
use crate::scheduler::standing::standing;
use crate::systemd::Active;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    pub name: String,
    pub wanted: Option<State>,
    pub reached: State,
    pub instances: Vec<Instance>,
}

/// A unit on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    pub machine: String,
    /// systemd's words; nothing until the machine has told.
    pub active: Option<Active>,
    pub problem: Option<String>,
}

impl Unit {
    pub fn is_well(&self) -> bool {
        let well = |instance: &Instance| {
            instance.problem.is_none() && instance.active != Some(Active::Failed)
        };
        self.wanted.is_none_or(|wanted| wanted == self.reached) && self.instances.iter().all(well)
    }
}

pub(super) fn read(picture: &Picture) -> Vec<Unit> {
    let model = &picture.model;
    let mut places: BTreeMap<&UnitName, Vec<Instance>> = BTreeMap::new();
    for (id, at) in &model.desired {
        for name in at.value.units.keys() {
            let seen = model.observed.get(id).and_then(|o| o.units.get(name));
            let live = model.machine(id).is_some();
            places.entry(name).or_default().push(Instance {
                machine: id.to_string(),
                active: seen.filter(|_| live).map(|seen| seen.active),
                problem: seen.and_then(|seen| seen.problem.clone()),
            });
        }
    }
    let names: BTreeSet<&UnitName> = model.units.keys().chain(places.keys().copied()).collect();
    let mut units: Vec<Unit> = names
        .into_iter()
        .map(|name| {
            let wanted = model.units.get(name).map(|at| at.value.state);
            // A replica is as far as its machine says: nobody but the leader knows its order.
            let reached = match wanted {
                Some(_) => standing(model, name).0,
                None => State::Launched,
            };
            Unit {
                name: name.to_string(),
                wanted,
                reached,
                instances: places.remove(name).unwrap_or_default(),
            }
        })
        .collect();
    units.sort_by_key(Unit::is_well);
    units
}

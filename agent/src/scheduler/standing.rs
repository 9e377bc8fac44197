//! How far a unit has come, from what all machines report.

use std::collections::HashMap;

use super::keys::{Seen, State};
use super::machine::MachineId;
use super::model::Model;
use super::name::UnitName;
use super::requirement::Course;
use super::text::Digest;
use crate::systemd::Active;

/// Which machines have to do with which units, gone through once: for whoever asks about all units.
#[derive(Debug)]
pub struct Places<'m> {
    model: &'m Model,
    holders: HashMap<&'m UnitName, Vec<&'m MachineId>>,
    seen: HashMap<&'m UnitName, Vec<(&'m MachineId, &'m Seen)>>,
}

impl<'m> Places<'m> {
    pub fn of(model: &'m Model) -> Places<'m> {
        let mut places = Places {
            model,
            holders: HashMap::new(),
            seen: HashMap::new(),
        };
        for (id, at) in &model.desired {
            for name in at.value.units.keys() {
                places.holders.entry(name).or_default().push(id);
            }
        }
        for (id, observed) in &model.observed {
            for (name, seen) in &observed.units {
                places.seen.entry(name).or_default().push((id, seen));
            }
        }
        places
    }

    /// Machines that hold the unit or are told to.
    pub fn holders(&self, name: &UnitName) -> &[&'m MachineId] {
        self.holders.get(name).map_or(&[], Vec::as_slice)
    }

    /// What machines say of the unit, also those without a live lease.
    pub fn seen(&self, name: &UnitName) -> &[(&'m MachineId, &'m Seen)] {
        self.seen.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn standing(&self, name: &UnitName) -> (State, Option<&'m MachineId>) {
        let replicas = self.model.replicas(name);
        match replicas.is_empty() {
            true => of_unit(self.model, name, self.holders(name), self.seen(name)),
            false => of_replicas(self.model, name, &replicas, |name| {
                self.holders(name).to_vec()
            }),
        }
    }
}

fn seen<'m>(model: &'m Model, id: &MachineId, name: &UnitName) -> Option<&'m Seen> {
    model.observed.get(id)?.units.get(name)
}

/// The state that is reached, and one machine the unit is on. A global unit has reached a state
/// when every machine that is to hold it has.
pub fn standing<'m>(model: &'m Model, name: &UnitName) -> (State, Option<&'m MachineId>) {
    let replicas = model.replicas(name);
    if !replicas.is_empty() {
        return of_replicas(model, name, &replicas, |name| model.holders(name));
    }
    let observed = model.observed.iter();
    let seen: Vec<_> = observed
        .filter_map(|(id, observed)| Some((id, observed.units.get(name)?)))
        .collect();
    of_unit(model, name, &model.holders(name), &seen)
}

fn of_unit<'m>(
    model: &'m Model,
    name: &UnitName,
    holders: &[&'m MachineId],
    seen: &[(&'m MachineId, &'m Seen)],
) -> (State, Option<&'m MachineId>) {
    // What has ended was launched, and is nowhere any more.
    if let Some(done) = model.finished(name).filter(|_| holders.is_empty()) {
        return (State::Launched, Some(&done.machine));
    }
    let digest = model.units.get(name).map(|unit| &unit.value.digest);
    let states = holders.iter().map(|id| on_machine(model, id, name, digest));
    let lowest = states.min();
    // Still being stopped somewhere it no longer belongs.
    let leaving = seen
        .iter()
        .any(|(id, _)| !holders.contains(id) && model.machine(id).is_some());
    let waits = || {
        let launched = model.units.get(name)?.value.state == State::Launched;
        let requirements = launched.then(|| model.read_requirements(name))??;
        matches!(requirements.course, Course::Calendar(_)).then_some(())
    };
    match lowest {
        None if leaving => (State::Loaded, None),
        // Until its time has come it is nowhere, and as far as it can be.
        None if waits().is_some() => (State::Launched, None),
        None => (State::Inactive, None),
        Some(state) => (state, holders.first().copied()),
    }
}

fn on_machine(model: &Model, id: &MachineId, name: &UnitName, text: Option<&Digest>) -> State {
    match seen(model, id, name) {
        Some(seen) if Some(&seen.digest) != text => State::Inactive,
        Some(seen) if seen.started && seen.active != Active::Activating => State::Launched,
        Some(seen) if !seen.started && seen.active == Active::Inactive => State::Loaded,
        Some(seen) if !seen.started && seen.active == Active::Failed => State::Loaded,
        _ => State::Inactive,
    }
}

/// A template is as far as the last of its replicas, with the template's text of now.
fn of_replicas<'m>(
    model: &'m Model,
    template: &UnitName,
    replicas: &[UnitName],
    holders: impl Fn(&UnitName) -> Vec<&'m MachineId>,
) -> (State, Option<&'m MachineId>) {
    let text = model.units.get(template).map(|unit| &unit.value.digest);
    let states = replicas.iter().map(|name| {
        let holders = holders(name).into_iter();
        let states = holders.map(|id| on_machine(model, id, name, text));
        states.min().unwrap_or(State::Inactive)
    });
    (states.min().unwrap_or(State::Inactive), None)
}

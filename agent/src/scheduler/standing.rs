//! How far a unit has come, from what all machines report.

use super::keys::{Seen, State};
use super::machine::MachineId;
use super::model::Model;
use super::name::UnitName;
use super::requirement::Course;
use super::text::Digest;
use crate::systemd::Active;

fn seen<'m>(model: &'m Model, id: &MachineId, name: &UnitName) -> Option<&'m Seen> {
    model.observed.get(id)?.units.get(name)
}

/// The state that is reached, and one machine the unit is on. A global unit has reached a state
/// when every machine that is to hold it has.
pub fn standing<'m>(model: &'m Model, name: &UnitName) -> (State, Option<&'m MachineId>) {
    let replicas = model.replicas(name);
    if !replicas.is_empty() {
        return of_replicas(model, name, &replicas);
    }
    let holders = model.holders(name);
    // What has ended was launched, and is nowhere any more.
    if let Some(done) = model.finished(name).filter(|_| holders.is_empty()) {
        return (State::Launched, Some(&done.machine));
    }
    let digest = model.units.get(name).map(|unit| &unit.value.digest);
    let states = holders.iter().map(|id| on_machine(model, id, name, digest));
    let lowest = states.min();
    // Still being stopped somewhere it no longer belongs.
    let leaving = model.observed.iter().any(|(id, observed)| {
        observed.units.contains_key(name) && !holders.contains(&id) && model.machine(id).is_some()
    });
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
) -> (State, Option<&'m MachineId>) {
    let text = model.units.get(template).map(|unit| &unit.value.digest);
    let states = replicas.iter().map(|name| {
        let holders = model.holders(name).into_iter();
        let states = holders.map(|id| on_machine(model, id, name, text));
        states.min().unwrap_or(State::Inactive)
    });
    (states.min().unwrap_or(State::Inactive), None)
}

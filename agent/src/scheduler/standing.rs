//! How far a unit has come, from what all machines report.

use super::keys::{Seen, State};
use super::machine::MachineId;
use super::model::Model;
use super::name::UnitName;
use crate::systemd::Active;

fn seen<'m>(model: &'m Model, id: &MachineId, name: &UnitName) -> Option<&'m Seen> {
    model.observed.get(id)?.units.get(name)
}

/// The state that is reached, and one machine the unit is on. A global unit has reached a state
/// when every machine that is to hold it has.
pub fn standing<'m>(model: &'m Model, name: &UnitName) -> (State, Option<&'m MachineId>) {
    let holders = model.holders(name);
    let digest = model.units.get(name).map(|unit| &unit.value.digest);
    let states = holders.iter().map(|id| match seen(model, id, name) {
        Some(seen) if Some(&seen.digest) != digest => State::Inactive,
        Some(seen) if seen.started && seen.active != Active::Activating => State::Launched,
        Some(seen) if !seen.started && seen.active == Active::Inactive => State::Loaded,
        Some(seen) if !seen.started && seen.active == Active::Failed => State::Loaded,
        _ => State::Inactive,
    });
    let lowest = states.min();
    // Still being stopped somewhere it no longer belongs.
    let leaving = model.observed.iter().any(|(id, observed)| {
        observed.units.contains_key(name) && !holders.contains(&id) && model.machine(id).is_some()
    });
    match lowest {
        None if leaving => (State::Loaded, None),
        None => (State::Inactive, None),
        Some(state) => (state, holders.first().copied()),
    }
}

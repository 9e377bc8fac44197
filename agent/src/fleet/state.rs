//! `/state`: what systemd says of units, machine by machine.

use hyper::StatusCode;
use serde::Serialize;

use super::answer::{Answer, Answered, refuse};
use super::page::page;
use crate::scheduler::keys::{self, Seen};
use crate::scheduler::machine::MachineId;
use crate::scheduler::model::Model;
use crate::scheduler::name::UnitName;
use crate::scheduler::part::{part, under};
use crate::store::Store;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnitState {
    name: UnitName,
    hash: String,
    #[serde(rename = "machineID")]
    machine_id: String,
    systemd_load_state: String,
    systemd_active_state: &'static str,
    systemd_sub_state: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatePage {
    states: Vec<UnitState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// What is asked for; nothing means all.
#[derive(Debug, Default)]
pub(super) struct Filter<'a> {
    pub(super) machine: Option<&'a str>,
    pub(super) unit: Option<&'a str>,
}

pub(super) async fn list(store: &impl Store, filter: Filter<'_>, token: Option<&str>) -> Answered {
    let model = match filter.unit.and_then(|unit| unit.parse().ok()) {
        Some(unit) => part(store, &[unit]).await?,
        None => under(store, &[keys::MACHINES, keys::OBSERVED]).await?,
    };
    let found = page(states(&model, &filter), token)?;
    Answer::ok(&StatePage {
        states: found.entries,
        next_page_token: found.next,
    })
}

pub(super) async fn one(store: &impl Store, name: &str) -> Answered {
    let nowhere = || refuse(StatusCode::NOT_FOUND, "no machine reports this unit");
    let unit: UnitName = name.parse().map_err(|_| nowhere())?;
    let model = part(store, &[unit]).await?;
    let filter = Filter {
        unit: Some(name),
        ..Filter::default()
    };
    match states(&model, &filter).into_iter().next() {
        Some(state) => Answer::ok(&state),
        None => Err(nowhere()),
    }
}

/// Sorted by unit, then by machine. Machines that are away say nothing any more.
fn states(model: &Model, filter: &Filter<'_>) -> Vec<UnitState> {
    let machines = model.observed.iter().filter(|(id, _)| {
        let is_wanted = filter.machine.is_none_or(|wanted| id.is_named(wanted));
        model.machine(id).is_some() && is_wanted
    });
    let of_machine = |(id, observed): (&MachineId, &crate::scheduler::keys::Observed)| {
        let units = observed.units.iter();
        let wanted = units.filter(|(name, _)| filter.unit.is_none_or(|unit| name.as_str() == unit));
        wanted
            .map(|(name, seen)| state(id, name, seen))
            .collect::<Vec<_>>()
    };
    let mut states: Vec<UnitState> = machines.flat_map(of_machine).collect();
    states.sort_by(|a, b| (&a.name, &a.machine_id).cmp(&(&b.name, &b.machine_id)));
    states
}

fn state(id: &MachineId, name: &UnitName, seen: &Seen) -> UnitState {
    UnitState {
        name: name.clone(),
        hash: seen.digest.to_string(),
        machine_id: id.to_string(),
        systemd_load_state: seen.load.clone(),
        systemd_active_state: seen.active.word(),
        systemd_sub_state: seen.sub.clone(),
    }
}

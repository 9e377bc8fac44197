//! `/units`: what is known, and orders about it.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Answered, Refusal, bad, problems, refuse};
use super::page::page;
use crate::scheduler::keys::State;
use crate::scheduler::machine::MachineId;
use crate::scheduler::model::Model;
use crate::scheduler::name::UnitName;
use crate::scheduler::orders::{self, Changed};
use crate::scheduler::part::{part, some};
use crate::scheduler::standing::{Places, standing};
use crate::scheduler::text::{Digest, Entry, Text};
use crate::store::Store;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UnitOption {
    section: String,
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Unit {
    name: UnitName,
    options: Vec<UnitOption>,
    desired_state: State,
    current_state: State,
    #[serde(rename = "machineID", skip_serializing_if = "Option::is_none")]
    machine_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnitPage {
    units: Vec<Unit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// The body of a PUT.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    name: Option<String>,
    desired_state: String,
    #[serde(default)]
    options: Vec<UnitOption>,
}

pub(super) async fn list(store: &impl Store, token: Option<&str>) -> Answered {
    let mut next = Ok(None);
    let choose = |model: &Model| match page(model.units.keys().cloned(), token) {
        Ok(found) => {
            next = Ok(found.next);
            found.entries
        }
        Err(refused) => {
            next = Err(refused);
            Vec::new()
        }
    };
    let (model, names) = some(store, choose).await?;
    let places = Places::of(&model);
    let unit = |name| shown(&model, name, places.standing(name));
    Answer::ok(&UnitPage {
        next_page_token: next?,
        units: names.iter().filter_map(unit).collect(),
    })
}

pub(super) async fn one(store: &impl Store, name: &str) -> Answered {
    let name = parse(name)?;
    let model = part(store, std::slice::from_ref(&name)).await?;
    match shown(&model, &name, standing(&model, &name)) {
        Some(unit) => Answer::ok(&unit),
        None => Err(not_found()),
    }
}

fn not_found() -> Refusal {
    refuse(StatusCode::NOT_FOUND, "unit does not exist")
}

fn parse(name: &str) -> Result<UnitName, Refusal> {
    name.parse()
        .map_err(|error| bad(format!("{name}: {error}")))
}

fn shown(
    model: &Model,
    name: &UnitName,
    (current_state, machine): (State, Option<&MachineId>),
) -> Option<Unit> {
    let unit = &model.units.get(name)?.value;
    Some(Unit {
        name: name.clone(),
        options: options(model, &unit.digest),
        desired_state: unit.state,
        current_state,
        machine_id: machine.map(ToString::to_string),
    })
}

fn options(model: &Model, digest: &Digest) -> Vec<UnitOption> {
    let entries = model.text(digest).map(Text::entries).unwrap_or_default();
    let option = |entry: &Entry| UnitOption {
        section: entry.section.clone(),
        name: entry.name.clone(),
        value: entry.value.clone(),
    };
    entries.iter().map(option).collect()
}

/// 201: made, or given other options. 204: only its state was set.
pub(super) async fn put(store: &impl Store, name: &str, body: &[u8]) -> Answered {
    let order: Order = serde_json::from_slice(body)
        .map_err(|error| bad(format!("unable to decode body: {error}")))?;
    if let Some(other) = order.name.as_deref().filter(|other| *other != name) {
        return Err(bad(format!(
            "the body is of {other:?}, the path of {name:?}"
        )));
    }
    let name = parse(name)?;
    let state: State = order
        .desired_state
        .parse()
        .map_err(|error| bad(format!("desiredState: {error}")))?;
    if order.options.is_empty() {
        return match orders::set_state(store, &name, state).await {
            Ok(_) => Answer::empty(StatusCode::NO_CONTENT),
            Err(orders::Error::NoUnit(_)) => {
                let message = "unit does not exist and options field empty";
                Err(refuse(StatusCode::CONFLICT, message))
            }
            Err(error) => Err(error.into()),
        };
    }
    let text = text(order.options)?;
    match orders::set(store, &name, &text, state).await? {
        Changed::Content => Answer::empty(StatusCode::CREATED),
        Changed::State | Changed::Nothing => Answer::empty(StatusCode::NO_CONTENT),
    }
}

fn text(options: Vec<UnitOption>) -> Result<Text, Refusal> {
    let entries = options
        .into_iter()
        .enumerate()
        .map(|(index, option)| Entry {
            section: option.section,
            name: option.name,
            value: option.value,
            line: index + 1,
        });
    Text::from_entries(entries.collect()).map_err(|all| bad(problems(&all)))
}

pub(super) async fn delete(store: &impl Store, name: &str) -> Answered {
    match orders::destroy(store, &parse(name)?).await {
        Ok(_) => Answer::empty(StatusCode::NO_CONTENT),
        Err(orders::Error::NoUnit(_)) => Err(not_found()),
        Err(error) => Err(error.into()),
    }
}

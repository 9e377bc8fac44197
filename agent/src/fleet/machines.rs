//! `/machines`: who is there, and metadata over what machines say of themselves.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Answer, Answered, Refusal, bad, refuse};
use super::page::page;
use crate::scheduler::keys;
use crate::scheduler::machine::{Machine, MachineId};
use crate::scheduler::orders::{self, Tagging};
use crate::scheduler::part::under;
use crate::store::Store;

/// Where all lies that is told of them.
const MACHINES: [&str; 2] = [keys::MACHINES, keys::TAGS];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    #[serde(rename = "primaryIP")]
    primary_ip: String,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MachinePage {
    machines: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    op: String,
    path: String,
    #[serde(default)]
    value: Value,
}

pub(super) async fn list(store: &impl Store, token: Option<&str>) -> Answered {
    let model = under(store, &MACHINES).await?;
    let found = page(model.live_machines(), token)?;
    let shown = |machine: &std::sync::Arc<Machine>| Shown {
        id: machine.id.to_string(),
        primary_ip: machine.address.clone(),
        metadata: machine.metadata.clone(),
    };
    Answer::ok(&MachinePage {
        machines: found.entries.into_iter().map(shown).collect(),
        next_page_token: found.next,
    })
}

/// All operations are looked at before the first one is done.
pub(super) async fn patch(store: &impl Store, body: &[u8]) -> Answered {
    let operations: Vec<Operation> = serde_json::from_slice(body)
        .map_err(|error| bad(format!("unable to decode body: {error}")))?;
    let model = under(store, &MACHINES).await?;
    let mut changes: BTreeMap<MachineId, BTreeMap<String, Option<String>>> = BTreeMap::new();
    for operation in &operations {
        let (id, key, value) = change(operation)?;
        if model.machine(&id).is_none() {
            let message = format!("machine {id} does not exist");
            return Err(refuse(StatusCode::NOT_FOUND, message));
        }
        changes.entry(id).or_default().insert(key, value);
    }
    for (id, metadata) in changes {
        let tagging = Tagging {
            metadata,
            duty: None,
        };
        orders::tag(store, &id, tagging).await?;
    }
    Answer::empty(StatusCode::NO_CONTENT)
}

fn change(operation: &Operation) -> Result<(MachineId, String, Option<String>), Refusal> {
    let path = operation.path.trim_start_matches('/');
    let parts: Vec<&str> = path.splitn(3, '/').collect();
    let [id, "metadata", key] = parts.as_slice() else {
        return Err(bad(format!("{:?} is not /ID/metadata/KEY", operation.path)));
    };
    let id = id
        .parse()
        .map_err(|error| bad(format!("{id:?}: {error}")))?;
    // fleet took an object, its documentation shows a text.
    let value = match &operation.value {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => object
            .get("value")
            .and_then(Value::as_str)
            .map(str::to_string),
        _ => None,
    };
    let value = match (operation.op.as_str(), value) {
        ("remove", _) => None,
        ("add" | "replace", Some(value)) => Some(value),
        ("add" | "replace", None) => {
            return Err(bad(format!("{}: value is missing", operation.path)));
        }
        (other, _) => return Err(bad(format!("op {other:?} is none of add, remove, replace"))),
    };
    Ok((id, (*key).to_string(), value))
}

//! Machines: what users say of them, and that one does not come back.

use std::collections::BTreeMap;

use super::{Error, change};
use crate::scheduler::keys::{self, Tags};
use crate::scheduler::machine::{Duty, MachineId};
use crate::store::{Outcome, Revision, Store, Write};

/// What to change about a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tagging {
    /// Nothing as a value hides the key.
    pub metadata: BTreeMap<String, Option<String>>,
    pub duty: Option<Duty>,
}

pub async fn tag(store: &impl Store, id: &MachineId, tagging: Tagging) -> Result<Outcome, Error> {
    let (before, modified) = read_tags(store, id).await?;
    let mut tags = before.clone();
    tags.metadata.extend(tagging.metadata);
    if let Some(duty) = tagging.duty {
        // Whoever says this means a machine that is there.
        (tags.duty, tags.given_up) = (duty, false);
    }
    write_tags(store, id, (before, modified), tags).await
}

/// Says that a machine that is away does not come back: its units are moved, however many machines
/// are away.
pub async fn give_up(store: &impl Store, id: &MachineId) -> Result<Outcome, Error> {
    let (before, modified) = read_tags(store, id).await?;
    let tags = Tags {
        given_up: true,
        ..before.clone()
    };
    write_tags(store, id, (before, modified), tags).await
}

async fn read_tags(store: &impl Store, id: &MachineId) -> Result<(Tags, Revision), Error> {
    let key = keys::tags(id);
    let entry = store.read(&key).await?;
    let modified = entry.as_ref().map_or(0, |entry| entry.modified);
    let tags = match &entry {
        Some(entry) => serde_json::from_slice(&entry.value).map_err(|_| Error::Garbled(key))?,
        None => Tags::default(),
    };
    Ok((tags, modified))
}

async fn write_tags(
    store: &impl Store,
    id: &MachineId,
    (before, modified): (Tags, Revision),
    tags: Tags,
) -> Result<Outcome, Error> {
    let key = keys::tags(id);
    if tags == before {
        return Ok(Outcome::Refused);
    }
    let write = Write::Put {
        key: key.clone(),
        value: serde_json::to_vec(&tags).expect("a value of ours is JSON"),
        lease: None,
    };
    change(store, &key, modified, vec![write]).await
}

//! Failure domains: while a machine of this one's is down, this one stays.
//!
//! A machine that is down is in no list, so each notes its zone at `/strake/v1/zones/ID` while it is
//! up. A note that nobody has renewed for a day and a half is of a machine that was given up.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use strake_updates::time::Timestamp;

use crate::scheduler::keys::{ALL, MACHINES};
use crate::store::{Error, Store, Transaction, Write, read_all};

/// A note is renewed when it is so old.
const RENEW: u64 = 12 * 3600;
const FORGOTTEN: u64 = 36 * 3600;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    zone: String,
    /// By that machine's clock.
    at: Timestamp,
}

fn notes() -> String {
    format!("{ALL}zones/")
}

/// Of a machine that is registered with the cluster; an empty zone takes its note away.
pub(super) async fn note(
    store: &impl Store,
    id: &str,
    zone: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let key = format!("{}{id}", notes());
    let found = store.read(&key).await?;
    let known = found
        .as_ref()
        .map(|found| serde_json::from_slice(&found.value).ok());
    let write = match (known, zone) {
        (None, "") => return Ok(()),
        (Some(_), "") => Write::Delete { key },
        (Some(Some(Note { zone: known, at })), zone)
            if known == zone && now.since(at).0 < RENEW && at <= now =>
        {
            return Ok(());
        }
        (_, zone) => {
            let zone = zone.to_string();
            Write::Put {
                key,
                // A type of ours, whose serialisation cannot fail.
                value: serde_json::to_vec(&Note { zone, at: now }).unwrap_or_default(),
                lease: None,
            }
        }
    };
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![write],
    };
    store.commit(&transaction).await.map(drop)
}

/// Another machine of the zone that is not in the cluster's list now.
pub(super) async fn down(
    store: &impl Store,
    own: &str,
    zone: &str,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let prefix = notes();
    let notes = read_all(store, &prefix).await?.entries;
    let neighbours = notes.iter().filter_map(|entry| {
        let id = entry.key.strip_prefix(&prefix)?;
        let note: Note = serde_json::from_slice(&entry.value).ok()?;
        let counts = note.zone == zone && id != own && now.since(note.at).0 < FORGOTTEN;
        counts.then_some(id)
    });
    let neighbours: Vec<&str> = neighbours.collect();
    if neighbours.is_empty() {
        return Ok(None);
    }
    let live = read_all(store, MACHINES).await?.entries;
    let live: BTreeSet<&str> = live
        .iter()
        .filter_map(|entry| entry.key.strip_prefix(MACHINES))
        .collect();
    let gone = neighbours.into_iter().find(|id| !live.contains(id));
    Ok(gone.map(str::to_string))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::memory::Memory;

    const DAY: u64 = 24 * 3600;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + seconds)
    }

    #[tokio::test]
    async fn a_neighbour_that_is_down_is_seen_until_it_is_given_up() {
        let store = Memory::default();
        for (id, zone) in [("a", "east"), ("b", "east"), ("c", "west"), ("d", "east")] {
            note(&store, id, zone, at(0)).await.expect("noted");
        }
        for id in ["a", "c", "d"] {
            store.put(format!("{MACHINES}{id}"), &json!({})).await;
        }
        let down = async |zone, seconds| {
            let down = down(&store, "a", zone, at(seconds)).await;
            down.expect("answer")
        };
        assert_eq!(down("east", 60).await.as_deref(), Some("b"));
        assert_eq!(down("west", 60).await, None);
        assert_eq!(down("east", 2 * DAY).await, None, "it was given up");
        store.put(format!("{MACHINES}b"), &json!({})).await;
        assert_eq!(down("east", 60).await, None);
        // It has another zone, or none, from now on.
        note(&store, "b", "west", at(70)).await.expect("noted");
        note(&store, "d", "", at(70)).await.expect("noted");
        assert!(!store.holds(&format!("{}d", notes())));
        let b = store.read(&format!("{}b", notes())).await.expect("answer");
        let b: Note = serde_json::from_slice(&b.expect("a note").value).expect("ours");
        assert_eq!(b.zone, "west");
    }

    #[tokio::test]
    async fn a_note_is_written_anew_only_when_it_is_old_or_of_the_future() {
        let store = Memory::default();
        let key = format!("{}a", notes());
        let cases = [
            (0, true),
            (60, false),
            (DAY / 2, true),
            (DAY / 2 + 60, false),
            (0, true),
        ];
        let mut before = 0;
        for (seconds, is_written) in cases {
            note(&store, "a", "east", at(seconds)).await.expect("noted");
            let found = store.read(&key).await.expect("answer").expect("a note");
            assert_eq!(found.modified != before, is_written, "{seconds}");
            before = found.modified;
        }
    }
}

//! Moves of units, asked for once or left to the leader.

use super::{Error, change, commit};
use crate::scheduler::keys::{self, Move, Policy};
use crate::scheduler::name::UnitName;
use crate::store::{Compare, MAX_OPERATIONS, Outcome, Store, Transaction, Write};

/// Asks the leader to move units. Those that are being moved already are left as they are.
pub async fn ask_to_move(store: &impl Store, moves: &[(UnitName, Move)]) -> Result<usize, Error> {
    let mut asked = 0;
    for part in moves.chunks(MAX_OPERATIONS) {
        let mut transaction = Transaction::default();
        for (name, wish) in part {
            let key = keys::movement(name);
            if store.read(&key).await?.is_none() {
                transaction.compares.push(Compare::Modified(key.clone(), 0));
                transaction.writes.push(Write::Put {
                    key,
                    value: serde_json::to_vec(wish).expect("a value of ours is JSON"),
                    lease: None,
                });
            }
        }
        if !transaction.writes.is_empty() {
            asked += transaction.writes.len();
            commit(store, keys::MOVES, &transaction).await?;
        }
    }
    Ok(asked)
}

/// Says how the leader is to move units by itself; nothing: not at all.
pub async fn set_policy(store: &impl Store, policy: Option<&Policy>) -> Result<Outcome, Error> {
    let key = keys::POLICY.to_string();
    let entry = store.read(&key).await?;
    let modified = entry.as_ref().map_or(0, |entry| entry.modified);
    let known = entry.map(|entry| serde_json::from_slice::<Policy>(&entry.value).ok());
    if known == policy.map(|policy| Some(*policy)) {
        return Ok(Outcome::Refused);
    }
    let write = match policy {
        Some(policy) => Write::Put {
            key: key.clone(),
            value: serde_json::to_vec(policy).expect("a value of ours is JSON"),
            lease: None,
        },
        None => Write::Delete { key: key.clone() },
    };
    change(store, &key, modified, vec![write]).await
}

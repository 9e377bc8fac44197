//! What users order: each order is one transaction, checked before and refused as a whole when
//! somebody else was faster.
//!
//! `units` are submitted, started and destroyed, after `check` found nothing against it; `machines`
//! are tagged and given up; `moves` are asked of the leader.

mod check;
mod machines;
mod moves;
mod units;

use super::name::UnitName;
use super::text::{Digest, Problem};
use crate::store::{Compare, Outcome, Revision, Store, Transaction, Write};
pub use machines::{Tagging, give_up, tag};
pub use moves::{ask_to_move, set_policy};
pub use units::{Changed, Known, destroy, set, set_state, submit, text};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not known to the cluster")]
    NoUnit(UnitName),
    #[error("{0} is a template: start an instance of it, or give it Replicas=")]
    Template(UnitName),
    #[error("{unit} is there with another content ({})", known.short())]
    Different { unit: UnitName, known: Digest },
    #[error("{unit} and {other}, which is known, are one unit to systemd: destroy that one first")]
    Twin { unit: UnitName, other: UnitName },
    #[error(
        "{unit} would follow itself and never be placed: {follower}, which is known, follows it"
    )]
    Ring { unit: UnitName, follower: UnitName },
    #[error("{0} was changed by somebody else at the same moment: look and try again")]
    Changed(String),
    #[error("{unit} cannot be scheduled:{}", lines(problems))]
    Wrong {
        unit: UnitName,
        problems: Vec<Problem>,
    },
    #[error("what the store holds under {0} is not understood")]
    Garbled(String),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("\n  {p}")).collect()
}

async fn change(
    store: &impl Store,
    key: &str,
    modified: Revision,
    writes: Vec<Write>,
) -> Result<Outcome, Error> {
    let transaction = Transaction {
        compares: vec![Compare::Modified(key.to_string(), modified)],
        writes,
    };
    commit(store, key, &transaction).await
}

async fn commit(
    store: &impl Store,
    key: &str,
    transaction: &Transaction,
) -> Result<Outcome, Error> {
    match store.commit(transaction).await? {
        Outcome::Done(revision) => Ok(Outcome::Done(revision)),
        Outcome::Refused => {
            let name = key.rsplit('/').next().unwrap_or(key);
            Err(Error::Changed(name.to_string()))
        }
    }
}

#[cfg(test)]
mod tests;

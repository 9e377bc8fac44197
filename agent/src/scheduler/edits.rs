//! From a plan to fenced writes.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{self, Assignment, Desired, Move, Stage};
use super::leases::Scale;
use super::machine::MachineId;
use super::model::Model;
use super::name::UnitName;
use super::plan::{Change, Plan, Step};
use super::rollout::Rollout;
use crate::store::election::Seat;
use crate::store::{Compare, MAX_BYTES, MAX_OPERATIONS, Revision, Transaction, Write};

/// Writes that belong together.
pub(super) struct Edit {
    compares: Vec<Compare>,
    writes: Vec<Write>,
}

/// The desired values that change: by the plan, by new texts and states, by what has left, by the
/// size of the cluster.
pub(super) fn edits(model: &Model, plan: &Plan, scale: &Scale) -> Vec<Edit> {
    let mut wanted: BTreeMap<MachineId, Desired> = BTreeMap::new();
    let current = |id: &MachineId| model.desired.get(id).map(|at| &at.value);
    for change in &plan.changes {
        let (Change::Place { machine, .. } | Change::Remove { machine, .. }) = change;
        let desired = wanted
            .entry(machine.clone())
            .or_insert_with(|| current(machine).cloned().unwrap_or_default());
        match change {
            Change::Place { unit, .. } => {
                if let Some(assignment) = assignment(model, unit) {
                    desired.units.insert(unit.clone(), assignment);
                    desired.releasing.remove(unit);
                }
            }
            Change::Remove { unit, .. } => {
                desired.units.remove(unit);
                desired
                    .releasing
                    .insert(unit.clone(), desired.generation + 1);
            }
        }
    }
    for (id, at) in &model.desired {
        let differs = |(name, held): (&_, &Assignment)| {
            let now = assignment(model, name);
            now.is_some_and(|now| now != *held)
        };
        if at.value.units.iter().any(differs) {
            let desired = wanted.entry(id.clone()).or_insert_with(|| at.value.clone());
            for (name, held) in &mut desired.units {
                if let Some(now) = assignment(model, name) {
                    *held = now;
                }
            }
        }
    }
    for id in model.machines.keys() {
        let known = wanted.get(id).or(current(id)).and_then(|held| held.lease);
        let lease = scale.lease(model.machines.len(), known);
        if lease != known {
            let desired = wanted
                .entry(id.clone())
                .or_insert_with(|| current(id).cloned().unwrap_or_default());
            desired.lease = lease;
        }
    }
    let edits = wanted
        .into_iter()
        .map(|(id, desired)| edit(model, id, desired));
    edits.collect()
}

fn assignment(model: &Model, name: &UnitName) -> Option<Assignment> {
    let unit = model.order(name)?;
    if unit.state == keys::State::Inactive {
        return None;
    }
    let requirements = model.requirements(name, &unit.digest)?;
    Some(Assignment {
        digest: unit.digest.clone(),
        state: unit.state,
        scope: requirements.reach.into(),
        run: model.run(name),
        fence: requirements.fence,
    })
}

fn edit(model: &Model, id: MachineId, mut desired: Desired) -> Edit {
    let seen = model.observed.get(&id).map_or(0, |seen| seen.generation);
    desired.releasing.retain(|_, taken| *taken > seen);
    desired.generation += 1;
    let key = keys::desired(&id);
    let modified = model.desired.get(&id).map_or(0, |at| at.modified);
    let mut compares = vec![Compare::Modified(key.clone(), modified)];
    if !model.machines.contains_key(&id) {
        // Should it be back already, it has told so with its old units running.
        compares.push(Compare::Created(keys::machine(&id), 0));
    }
    // Kept when it is empty: a generation must never come twice.
    let write = Write::Put {
        key,
        value: serde_json::to_vec(&desired).expect("a value of ours is JSON"),
        lease: None,
    };
    Edit {
        compares,
        writes: vec![write],
    }
}

/// How units ended and were replaced that nobody knows any more.
fn forgotten(model: &Model) -> impl Iterator<Item = Edit> {
    let is_forgotten = |name: &UnitName| !model.units.contains_key(name);
    let done = model
        .done
        .iter()
        .filter(move |(name, _)| is_forgotten(name));
    let done = done.map(|(name, at)| deletion(keys::done(name), at.modified));
    let rollouts = model.rollouts.iter();
    let rollouts = rollouts.filter(move |(name, _)| is_forgotten(name));
    done.chain(rollouts.map(|(name, at)| deletion(keys::rollout(name), at.modified)))
}

/// What is kept about the replacing of a template's text.
pub(super) fn kept(model: &Model, template: &UnitName, rollout: &Rollout) -> Edit {
    let key = keys::rollout(template);
    let modified = model.rollouts.get(template).map_or(0, |at| at.modified);
    Edit {
        compares: vec![Compare::Modified(key.clone(), modified)],
        writes: vec![Write::Put {
            key,
            value: serde_json::to_vec(rollout).expect("a value of ours is JSON"),
            lease: None,
        }],
    }
}

/// What is written about moves that were asked for.
pub(super) fn moved(model: &Model, plan: &Plan) -> Vec<Edit> {
    let edit = |(unit, step): (&UnitName, &Step)| {
        let at = model.moves.get(unit)?;
        let key = keys::movement(unit);
        if let Step::Over(_) = step {
            return Some(deletion(key, at.modified));
        }
        let begun = Move {
            stage: Stage::Begun,
            ..at.value.clone()
        };
        Some(Edit {
            compares: vec![Compare::Modified(key.clone(), at.modified)],
            writes: vec![Write::Put {
                key,
                value: serde_json::to_vec(&begun).expect("a value of ours is JSON"),
                lease: None,
            }],
        })
    };
    plan.moves.iter().filter_map(edit).collect()
}

fn deletion(key: String, modified: Revision) -> Edit {
    Edit {
        compares: vec![Compare::Modified(key.clone(), modified)],
        writes: vec![Write::Delete { key }],
    }
}

/// Texts that no unit and no machine names any more.
pub(super) fn unused(model: &Model) -> Vec<Edit> {
    let of_units = model.units.values().map(|at| &at.value.digest);
    let of_machines = model
        .desired
        .values()
        .flat_map(|at| at.value.units.values());
    let proven = model
        .rollouts
        .values()
        .filter_map(|at| at.value.good.as_ref());
    let used: BTreeSet<_> = of_units
        .chain(of_machines.map(|assignment| &assignment.digest))
        .chain(proven)
        .collect();
    let unused = model
        .texts
        .iter()
        .filter(|(digest, _)| !used.contains(digest));
    let edits = unused.map(|(digest, at)| deletion(keys::text(digest), at.modified));
    edits.chain(forgotten(model)).collect()
}

/// Edits packed into fenced transactions within the store's limits.
pub(super) fn batches(edits: Vec<Edit>, seat: &Seat) -> Vec<Transaction> {
    let mut transactions: Vec<Transaction> = Vec::new();
    let mut bytes = 0;
    for edit in edits {
        let size: usize = edit.writes.iter().map(Write::size).sum();
        let full = transactions.last().is_none_or(|last| {
            last.compares.len() + edit.compares.len() > MAX_OPERATIONS
                || last.writes.len() + edit.writes.len() > MAX_OPERATIONS
                || bytes + size > MAX_BYTES
        });
        if full {
            bytes = 0;
            transactions.push(Transaction {
                compares: vec![seat.fence()],
                writes: Vec::new(),
            });
        }
        if let Some(last) = transactions.last_mut() {
            bytes += size;
            last.compares.extend(edit.compares);
            last.writes.extend(edit.writes);
        }
    }
    transactions
}

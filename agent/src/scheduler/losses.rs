//! What a leader remembers of machines whose lease is over: since when, and whether they are so many
//! that nothing is moved.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::engine::Pace;
use super::machine::MachineId;
use super::model::Model;
use super::plan::{Away, Brake, WITHIN};

#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Lost machines that are still to hold something.
    since: BTreeMap<MachineId, Instant>,
    /// Lost machines, whether their units have been moved or not.
    gone: BTreeMap<MachineId, Instant>,
    live: BTreeSet<MachineId>,
    brake: Brake,
    looked: Looked,
}

#[derive(Debug, Default)]
enum Looked {
    #[default]
    Never,
    Before,
}

impl Losses {
    /// Which machines are given up, and when that may change without any event.
    pub(super) fn step(
        &mut self,
        model: &Model,
        pace: &Pace,
        now: Instant,
    ) -> (BTreeMap<MachineId, Away>, Option<Instant>) {
        let lost: BTreeSet<MachineId> = model.away().cloned().collect();
        self.since.retain(|id, _| lost.contains(id));
        let counted = match std::mem::replace(&mut self.looked, Looked::Before) {
            Looked::Never => now + pace.settle_time(model),
            Looked::Before => now,
        };
        for id in &lost {
            self.since.entry(id.clone()).or_insert(counted);
        }
        self.note_gone(model, &lost, now);
        let given_up = |id: &MachineId| model.tags.get(id).is_some_and(|at| at.value.given_up);
        let age = |since: &Instant| now.saturating_duration_since(*since);
        let counting = self.gone.iter().chain(&self.since);
        let ages: BTreeMap<&MachineId, Duration> = counting
            .filter(|(id, _)| !given_up(id))
            .map(|(id, since)| (id, age(since)))
            .collect();
        let ages: Vec<Duration> = ages.into_values().collect();
        self.brake = self.brake.step(model.machines.len(), &ages);
        let over = |id: &MachineId, since: &Instant| {
            let free = self.brake == Brake::Free || given_up(id);
            free && age(since) >= pace.margin
        };
        let away = self.since.iter().map(|(id, since)| {
            let state = if over(id, since) {
                Away::Over
            } else {
                Away::Waiting
            };
            (id.clone(), state)
        });
        let waiting = self.since.values().map(|since| *since + pace.margin);
        let next = waiting.filter(|at| *at > now).min();
        (away.collect(), next)
    }

    /// The brake counts all that vanished, also those whose units were moved at once: leases end one
    /// after the other, though the cause is one. While it is pulled, none of them is forgotten.
    fn note_gone(&mut self, model: &Model, lost: &BTreeSet<MachineId>, now: Instant) {
        let machines = &model.machines;
        // A machine that held nothing was drained, or is of no account.
        let vanished = self.live.iter().filter(|id| !machines.contains_key(*id));
        let vanished: Vec<MachineId> = vanished.filter(|id| lost.contains(*id)).cloned().collect();
        for id in vanished {
            self.gone.insert(id, now);
        }
        self.gone.retain(|id, since| {
            let fresh = now.saturating_duration_since(*since) <= WITHIN;
            !machines.contains_key(id) && (fresh || self.brake == Brake::Pulled)
        });
        if !self.live.iter().eq(machines.keys()) {
            self.live = machines.keys().cloned().collect();
        }
    }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;

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
    /// Lost machines that held something, since when; for a while also when that was moved.
    gone: BTreeMap<MachineId, Instant>,
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
        let lost: BTreeSet<&MachineId> = model.away().collect();
        let counted = match std::mem::replace(&mut self.looked, Looked::Before) {
            Looked::Never => now + pace.settle_time(model),
            Looked::Before => now,
        };
        let age = |since: &Instant| now.saturating_duration_since(*since);
        // The brake counts all that vanished, also those whose units were moved at once: leases end
        // one after the other, though the cause is one. While it is pulled, none is forgotten.
        self.gone.retain(|id, since| {
            let counts = age(since) <= WITHIN || self.brake == Brake::Pulled;
            lost.contains(id) || (counts && !model.machines.contains_key(id))
        });
        for id in &lost {
            self.gone.entry((*id).clone()).or_insert(counted);
        }
        let given_up = |id: &MachineId| model.tags.get(id).is_some_and(|at| at.value.given_up);
        let counting = self.gone.iter().filter(|(id, _)| !given_up(id));
        let ages: Vec<Duration> = counting.map(|(_, since)| age(since)).collect();
        self.brake = self.brake.step(model.machines.len(), &ages);
        let over = |id: &MachineId, since: &Instant| {
            let free = self.brake == Brake::Free || given_up(id);
            free && age(since) >= pace.margin
        };
        let still = self.gone.iter().filter(|(id, _)| lost.contains(id));
        let away = still.clone().map(|(id, since)| {
            let state = match over(id, since) {
                true => Away::Over,
                false => Away::Waiting,
            };
            (id.clone(), state)
        });
        let waiting = still.map(|(_, since)| *since + pace.margin);
        let next = waiting.filter(|at| *at > now).min();
        (away.collect(), next)
    }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;

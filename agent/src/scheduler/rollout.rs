//! Replicas of a template: which text each of them is to have now. Pure.
//!
//! Texts are replaced a few replicas at a time. A replica that gets the new text has to be healthy
//! for a while before it counts; one that fails ends the replacing, and those that have the new
//! text already get the former one back.

use serde::{Deserialize, Serialize};

use super::name::UnitName;
use super::text::Digest;

/// What the leader keeps of a template's replacing, at `rollout/TEMPLATE`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rollout {
    /// The last text with which all replicas were healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A text with which a replica failed. Starting the template anew tries it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub digest: Digest,
    /// The start of the template that it was tried for.
    pub run: u64,
    pub cause: String,
}

/// How a replica is with the text it is held with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// On its way up, or not yet up for long enough.
    Rising,
    Healthy,
    Failed(String),
}

/// A replica that is on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub digest: Digest,
    pub health: Health,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    pub name: UnitName,
    pub held: Option<Held>,
}

/// What users want of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub digest: Digest,
    pub run: u64,
    /// How many replicas may be down for being replaced.
    pub most_down: usize,
}

impl Rollout {
    /// The text that all replicas are to come to.
    pub fn aim<'r>(&'r self, target: &'r Target) -> &'r Digest {
        let refused = self.refused.as_ref();
        let is_refused = refused.is_some_and(|r| r.digest == target.digest && r.run == target.run);
        match &self.good {
            Some(good) if is_refused => good,
            _ => &target.digest,
        }
    }

    /// The text of each replica from now on, and what is to be kept when that changed.
    pub fn step(&self, target: &Target, replicas: &[Replica]) -> (Vec<Digest>, Option<Rollout>) {
        let mut kept = self.clone();
        if let Some(cause) = failure(self.aim(target), replicas)
            && self
                .good
                .as_ref()
                .is_some_and(|good| good != self.aim(target))
        {
            kept.refused = Some(Refused {
                digest: target.digest.clone(),
                run: target.run,
                cause,
            });
        }
        let aim = kept.aim(target).clone();
        if is_reached(&aim, replicas) {
            kept.good = Some(aim.clone());
        }
        let texts = texts(&aim, kept.good.as_ref(), replicas, target.most_down);
        let news = (kept != *self).then_some(kept);
        (texts, news)
    }
}

fn failure(aim: &Digest, replicas: &[Replica]) -> Option<String> {
    replicas.iter().find_map(|replica| match &replica.held {
        Some(Held {
            digest,
            health: Health::Failed(cause),
        }) if digest == aim => Some(format!("{}: {cause}", replica.name)),
        _ => None,
    })
}

fn is_reached(aim: &Digest, replicas: &[Replica]) -> bool {
    replicas.iter().all(|replica| {
        let held = replica.held.as_ref();
        held.is_some_and(|held| held.digest == *aim && held.health == Health::Healthy)
    })
}

fn texts(
    aim: &Digest,
    good: Option<&Digest>,
    replicas: &[Replica],
    most_down: usize,
) -> Vec<Digest> {
    let is_down = |held: &Held| held.health != Health::Healthy;
    let held = || replicas.iter().filter_map(|replica| replica.held.as_ref());
    let mut down = held().filter(|held| is_down(held)).count();
    let rising = held()
        .filter(|held| is_down(held) && held.digest == *aim)
        .count();
    let mut texts: Vec<Digest> = replicas
        .iter()
        .map(|replica| match &replica.held {
            Some(held) => held.digest.clone(),
            // One that is put somewhere is no place to try a text that is not proven.
            None => good.unwrap_or(aim).clone(),
        })
        .collect();
    // Those that are down anyway first: replacing them costs nothing.
    let mut former: Vec<(bool, usize)> = replicas
        .iter()
        .enumerate()
        .filter_map(|(index, replica)| Some((index, replica.held.as_ref()?)))
        .filter(|(_, held)| held.digest != *aim)
        .map(|(index, held)| (!is_down(held), index))
        .collect();
    former.sort_unstable();
    let room = most_down.saturating_sub(rising);
    for (is_up, index) in former.into_iter().take(room) {
        if is_up && down >= most_down {
            break;
        }
        down += usize::from(is_up);
        texts[index] = aim.clone();
    }
    texts
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;

//! The leader's part about replicas: how healthy each one is, and so which text it is to have.
//!
//! Time enters here: how long a replica has been up, or has not come up, is counted from when this
//! leader saw it; a new leader counts anew.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::keys::{Assignment, State, Unit};
use super::machine::MachineId;
use super::model::Model;
use super::name::UnitName;
use super::requirement::Replicas;
use super::rollout::{Health, Held, Replica, Rollout, Target};
use super::text::Digest;
use crate::systemd::Active;

#[derive(Debug)]
struct Watched {
    digest: Digest,
    /// When it was last healthy, or first seen with this text.
    since: Instant,
    up: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Nurse {
    watched: BTreeMap<UnitName, Watched>,
}

/// What came of looking at all replicas.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// What is to be kept of the templates whose replacing went on.
    pub(super) news: Vec<(UnitName, Rollout)>,
    /// When to look again, whatever happens.
    pub(super) next: Option<Instant>,
}

impl Nurse {
    /// Says in the model which text each replica is to have.
    pub(super) fn look(&mut self, model: &mut Model, now: Instant) -> Look {
        let templates = model.templates();
        let mut look = Look::default();
        let mut orders = BTreeMap::new();
        if !templates.is_empty() {
            let holders = holders(model);
            for (template, unit, wanted) in templates {
                let names = model.replicas_of(&template, wanted.count);
                let mut replicas = Vec::new();
                for name in names {
                    let held = holders.get(&name).map(|(machine, held)| {
                        let (health, next) =
                            self.health(model, (&name, machine), held, &wanted, now);
                        look.next = look.next.into_iter().chain(next).min();
                        Held {
                            digest: held.digest.clone(),
                            health,
                        }
                    });
                    replicas.push(Replica { name, held });
                }
                let target = Target {
                    digest: unit.digest.clone(),
                    run: unit.run,
                    most_down: wanted.most_down,
                };
                let kept = model.rollouts.get(&template).map(|at| at.value.clone());
                let (texts, news) = kept.unwrap_or_default().step(&target, &replicas);
                look.news.extend(news.map(|news| (template, news)));
                let units = texts.into_iter().map(|digest| Unit {
                    digest,
                    state: unit.state,
                    run: 0,
                });
                orders.extend(replicas.into_iter().map(|r| r.name).zip(units));
            }
        }
        self.watched.retain(|name, _| orders.contains_key(name));
        model.set_replicas(orders);
        look
    }

    fn health(
        &mut self,
        model: &Model,
        (name, machine): (&UnitName, &MachineId),
        held: &Assignment,
        wanted: &Replicas,
        now: Instant,
    ) -> (Health, Option<Instant>) {
        let fresh = || Watched {
            digest: held.digest.clone(),
            since: now,
            up: None,
        };
        let watched = self.watched.entry(name.clone()).or_insert_with(fresh);
        if watched.digest != held.digest || !model.machines.contains_key(machine) {
            // What a lost machine does not tell says nothing about a text.
            *watched = fresh();
        }
        let seen = model.observed.get(machine).and_then(|o| o.units.get(name));
        let seen = seen.filter(|seen| seen.digest == held.digest);
        let is_up = seen.is_some_and(|seen| match held.state {
            State::Launched => seen.started && seen.active.is_up(),
            State::Loaded | State::Inactive => !seen.started,
        });
        if is_up {
            let up = *watched.up.get_or_insert(now);
            let ripe = up + Duration::from_secs(wanted.healthy_for);
            if now < ripe {
                return (Health::Rising, Some(ripe));
            }
            watched.since = now;
            return (Health::Healthy, None);
        }
        watched.up = None;
        if seen.is_some_and(|seen| seen.started && seen.active == Active::Failed) {
            return (Health::Failed("it failed".to_string()), None);
        }
        let late = watched.since + Duration::from_secs(wanted.healthy_within);
        if now < late {
            return (Health::Rising, Some(late));
        }
        let problem = seen.and_then(|seen| seen.problem.as_deref());
        let problem = problem.map(|text| format!(": {text}")).unwrap_or_default();
        let cause = format!("not healthy within {} s{problem}", wanted.healthy_within);
        (Health::Failed(cause), None)
    }
}

/// Where each instance of a template is to be.
fn holders(model: &Model) -> HashMap<UnitName, (MachineId, Assignment)> {
    let mut holders = HashMap::new();
    for (id, at) in &model.desired {
        let units = at.value.units.iter();
        for (name, held) in units.filter(|(name, _)| name.instance().is_some()) {
            holders.insert(name.clone(), (id.clone(), held.clone()));
        }
    }
    holders
}

//! Does what is wanted here, and tries again what failed.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::steps::{Action, Phase, steps};
use super::{Agent, Cache, Host};
use crate::scheduler::keys::Scope;
use crate::scheduler::name::UnitName;
use crate::scheduler::text::Digest;
use crate::store::Store;

/// What came of trying to load or start a unit.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) text: String,
    pub(super) digest: Digest,
    tries: u32,
    next: Instant,
}

/// A unit that cannot be loaded or started is tried this often: after 1, 2, 4, ... seconds.
const TRIES: u32 = 6;

impl<S: Store, H: Host, C: Cache> Agent<S, H, C> {
    /// Does all that can be done now; tells when to try again what failed.
    pub(super) async fn reconcile(&mut self, phase: Phase) -> anyhow::Result<Option<Instant>> {
        let local = self.host.units().await?;
        let now = Instant::now();
        let wanted = &self.desired.units;
        self.problems
            .retain(|name, problem| wanted.get(name).is_some_and(|a| a.digest == problem.digest));
        let without_text = self.fetch_texts(&local).await;
        let mut tried = BTreeSet::new();
        for action in steps(&self.desired, &local, phase) {
            let name = action.unit().clone();
            // What runs under the old text goes on until the new one is here.
            if without_text.contains(&name) && !matches!(action, Action::Load(..)) {
                continue;
            }
            tried.insert(name.clone());
            if let Action::Start(_, run) = action
                && self.is_over(&name, run).await?
            {
                continue;
            }
            let held_back = self
                .problems
                .get(&name)
                .is_some_and(|problem| problem.tries >= TRIES || problem.next > now);
            if held_back && matches!(action, Action::Load(..) | Action::Start(..)) {
                continue;
            }
            let acted = self.act(&action).await;
            self.tell(&action, &acted);
            if let Err(error) = acted {
                self.note_problem(name, format!("{error:#}"), now);
            } else if matches!(action, Action::Start(..)) {
                self.problems.remove(&name);
            }
        }
        // What nobody asks for any more is no problem.
        self.problems.retain(|name, _| tried.contains(name));
        let again = self.problems.values().filter(|p| p.tries < TRIES);
        Ok(again.map(|problem| problem.next).min())
    }

    fn note_problem(&mut self, name: UnitName, text: String, now: Instant) {
        let Some(assignment) = self.desired.units.get(&name) else {
            return;
        };
        let tries = self.problems.get(&name).map_or(0, |problem| problem.tries) + 1;
        let problem = Problem {
            text,
            digest: assignment.digest.clone(),
            tries,
            next: now + Duration::from_secs(1 << (tries - 1).min(6)),
        };
        self.problems.insert(name, problem);
    }

    async fn act(&mut self, action: &Action) -> anyhow::Result<()> {
        match action {
            Action::Stop(name) => self.host.stop(name).await,
            Action::Unload(name) => self.host.unload(name).await,
            Action::Start(name, run) => self.host.start(name, *run).await,
            Action::Load(name, digest) => {
                let text = self.text(digest).await?;
                self.host.load(name, digest, &text).await
            }
        }
    }

    /// After a start with a silent store: what runs on every machine anyway may run here.
    pub(super) async fn start_from_cache(&mut self) {
        let Some(mut desired) = self.cache.load() else {
            return;
        };
        desired.units.retain(|_, unit| unit.scope == Scope::Global);
        self.desired = desired;
        if let Err(error) = self.reconcile(Phase::Additions).await {
            self.say(&format!("starting from the cache: {error:#}"));
        }
    }
}

//! The steps of the service, each done once and remembered.

use std::time::Duration;

use strake_cloud_config::config::RebootStrategy;
use strake_updates::version::Version;
use tokio::time::timeout;

use super::budget::Obstacle;
use super::decision::{Boot, Heed, Held, SOON, Situation, Stage, Step, Traces, Wanted, takes_lock};
use super::logind::Inhibitors;
use super::own::{self, Known};
use super::pending::Pending;
use super::service::{Ending, Service};
use super::{budget, drain, safety, undo, wall, zone};
use crate::hook;
use crate::lock::{Error, Patience, Standing};
use crate::scheduler::machine::MachineId;
use crate::store::Store;
use crate::systemd::Units;
use crate::update::engine::text;
use crate::update::{boot_id, clock};

const HOOKS: &str = "/etc/strake/reboot.d";
/// Of each program in it.
const HOOK_TIME: Duration = Duration::from_secs(600);
/// After a step that did not work.
const PAUSE: Duration = Duration::from_secs(30);
/// Between two looks whether the note of this machine's zone is right.
const NOTE_ZONE: Duration = Duration::from_secs(3600);
/// After the store did not answer.
const NOTE_ZONE_AGAIN: Duration = Duration::from_secs(60);
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// How long a best-effort machine waits for the store's answer.
const BEST_EFFORT: Duration = Duration::from_secs(20);
/// What is undone when the service is stopped.
const LEAVING: Duration = Duration::from_secs(10);
/// A machine goes down within this, or the reboot has failed.
const GOING_DOWN: Duration = Duration::from_secs(15 * 60);

impl<U: Units, S: Store> Service<'_, U, S> {
    /// On the disk, before it is in the store.
    fn mark(&mut self, change: impl FnOnce(&mut Pending)) -> Result<(), super::pending::Error> {
        let fresh = || Pending {
            boot: boot_id(self.root),
            since: clock(),
            group: self.settings.group.name().to_string(),
            store: match self.takes_lock() {
                true => self.settings.store.clone(),
                false => None,
            },
            target: None,
            drained: false,
        };
        // What this reboot has written before stays; what an earlier boot left is settled by now.
        let mut pending = Pending::read(self.root)?.unwrap_or_else(fresh);
        change(&mut pending);
        pending.write(self.root)?;
        self.state.traces = Traces::Ours;
        Ok(())
    }

    /// For others of this machine's failure domain, while it is up and when it is down.
    pub(super) async fn note_zone(&mut self) {
        let (Some(store), Boot::Healthy) = (&self.doors.store, self.state.boot) else {
            return;
        };
        let now = self.clock();
        if now < self.state.note_zone_at {
            return;
        }
        let noting = async {
            let known = Known::of(store, &self.who.id).await?;
            match known.registered {
                true => zone::note(store, &self.who.id, &known.zone, clock()).await,
                false => Ok(()),
            }
        };
        let noted = timeout(SOON, noting).await;
        let next = match noted {
            Ok(Ok(())) => NOTE_ZONE,
            Ok(Err(_)) | Err(_) => NOTE_ZONE_AGAIN,
        };
        self.state.note_zone_at = now + next;
    }

    fn takes_lock(&self) -> bool {
        takes_lock(self.settings.strategy, self.doors.store.is_some())
    }

    pub(super) async fn queue(&mut self, situation: &Situation) {
        let (Some(lock), Some(wanted)) = (self.lock(), situation.wanted.clone()) else {
            return;
        };
        if self.settings.strategy == RebootStrategy::BestEffort {
            match timeout(BEST_EFFORT, lock.read()).await {
                Ok(Ok(_) | Err(Error::Corrupt { .. })) => {}
                Ok(Err(_)) | Err(_) => {
                    (self.log)("the store does not answer: goes on without the lock");
                    self.state.held = Held::Silent;
                    return;
                }
            }
        }
        if let Err(error) = self.mark(|_| {}) {
            return self.pause(PAUSE, text(&error));
        }
        let (root, who, store) = (
            self.root.clone(),
            self.who.clone(),
            self.doors.store.clone(),
        );
        let waiting = {
            let (lock, who) = (lock.clone(), who.clone());
            async move {
                let known = match store {
                    Some(store) => Known::of(&store, &who.id).await?,
                    None => Known::default(),
                };
                let claim = own::claim(&root, &who, &wanted.to_string(), &known);
                lock.wait(&who, &claim, Patience::default()).await?;
                lock.standing(&who).await
            }
        };
        match self.unless_another(&Step::Queue, waiting).await {
            // The place in the queue goes with the step back that follows.
            None => {}
            Some(Ok(Standing::Held(_))) => self.state.held = Held::Yes,
            Some(Ok(Standing::ByHand)) => self.state.held = Held::ByHand,
            Some(Ok(Standing::Free)) => {}
            Some(Ok(Standing::Twin(claim))) => self.meet_twin(claim.boot).await,
            Some(Err(Error::Twin { boot, .. })) => self.meet_twin(boot).await,
            Some(Err(error)) => self.pause(STORE_PAUSE, text(&error)),
        }
    }

    async fn meet_twin(&mut self, boot: String) {
        if let Some(lock) = self.lock() {
            // For the other one, and for people; this one says it whether or not that works.
            let _ = lock.tell_twin(&self.who, &boot).await;
        }
        self.pause(PAUSE, "another machine has this machine's id".to_string());
        self.state.held = Held::Twin(boot);
    }

    pub(super) async fn look_around(&mut self, situation: &Situation) {
        self.state.surroundings = Stage::Passed;
        if let Some(Wanted::Now { heed, .. }) = &situation.wanted
            && *heed == Heed::LockOnly
        {
            return;
        }
        if let Some(Wanted::Update(version)) = &situation.wanted
            && !self.enter(*version).await
        {
            return;
        }
        let mut obstacles: Vec<String> = safety::etcd(self.root).await.into_iter().collect();
        if let (Some(lock), Some(store)) = (self.lock(), &self.doors.store) {
            // A store that fails here failed the etcd look too.
            let known = Known::of(store, &self.who.id).await.unwrap_or_default();
            obstacles.extend(safety::zone(&lock, store, &self.who, &known.zone).await);
            obstacles.extend(safety::replicas(store, &self.who).await);
        }
        if !obstacles.is_empty() {
            self.pause(PAUSE, obstacles.join("; "));
        }
    }

    /// Whether the cluster lets this machine try the release. A silent store says nothing against a
    /// reboot that needs no lock.
    async fn enter(&mut self, version: Version) -> bool {
        let Some(store) = self.doors.store.clone() else {
            return true;
        };
        if let Err(error) = self.mark(|pending| pending.target = Some(version)) {
            self.pause(PAUSE, text(&error));
            return false;
        }
        let needs_lock = self.takes_lock() && self.state.held != Held::Silent;
        match budget::enter(&store, &self.who.id, version, self.settings.budget).await {
            Ok(None) => return true,
            // The watch tells of it, too, and the release goes.
            Ok(Some(Obstacle::Refused)) => {
                self.pause(STORE_PAUSE, format!("{version} is refused"));
            }
            Ok(Some(Obstacle::Unproven { others })) => self.pause(
                PAUSE,
                format!(
                    "{others} machines try {version} or fell back, and nobody is healthy on it"
                ),
            ),
            Err(_) if !needs_lock => return true,
            Err(error) => self.pause(STORE_PAUSE, text(&error)),
        }
        false
    }

    pub(super) async fn warn(&mut self, left: Duration) {
        let now = self.clock();
        let first = self.state.warned.map_or(now, |(first, _)| first);
        self.state.warned = Some((first, now));
        let sessions = self.sessions().await;
        let reason = match &self.state.asked {
            Some(now @ Wanted::Now { .. }) => now.to_string(),
            _ => "an update waits for it".to_string(),
        };
        wall::write(self.root, &sessions, &wall::warning(&reason, left));
    }

    pub(super) async fn drain(&mut self) {
        self.state.units = Stage::Passed;
        let limit = self.settings.drain;
        let (Some(store), Ok(id)) = (self.doors.store.clone(), self.who.id.parse()) else {
            return;
        };
        // Without a place in the cluster there is nothing to move.
        let known = Known::of(&store, &self.who.id).await.unwrap_or_default();
        if limit.is_zero() || !known.registered {
            return;
        }
        self.state.units = Stage::Ahead;
        let is_ours = Pending::read(self.root);
        if !is_ours.is_ok_and(|pending| pending.is_some_and(|pending| pending.drained))
            && !self.close(&store, &id).await
        {
            return;
        }
        let leaving = async move { timeout(limit, drain::wait(&store, &id)).await.is_ok() };
        match self.unless_another(&Step::Drain, leaving).await {
            None => return,
            Some(true) => {}
            Some(false) => (self.log)(&format!(
                "units are still here after {} s: the reboot does not wait for them any longer",
                limit.as_secs()
            )),
        }
        self.state.units = Stage::Passed;
    }

    /// Whether the machine is closed to units now, by whomever.
    async fn close(&mut self, store: &S, id: &MachineId) -> bool {
        if let Err(error) = self.mark(|pending| pending.drained = true) {
            self.pause(PAUSE, text(&error));
            return false;
        }
        let closed = drain::close(store, id).await;
        if matches!(closed, Ok(false)) {
            // Somebody drains it by hand, and is to open it again.
            if let Err(error) = self.mark(|pending| pending.drained = false) {
                self.pause(PAUSE, text(&error));
                return false;
            }
        }
        if let Err(error) = &closed {
            self.pause(STORE_PAUSE, text(error));
        }
        closed.is_ok()
    }

    pub(super) async fn run_hooks(&mut self, situation: &Situation) {
        let reason = situation.wanted.as_ref().map(ToString::to_string);
        let hooks = hook::programs(self.root, HOOKS);
        let running = async move {
            let reason = reason.unwrap_or_default();
            for program in hooks {
                hook::run(&program, HOOK_TIME, &[("STRAKE_REASON", &reason)]).await?;
            }
            Ok::<(), String>(())
        };
        match self.unless_another(&Step::RunHooks, running).await {
            None => {}
            Some(Ok(())) => self.state.hooks = Stage::Passed,
            Some(Err(why)) => self.pause(PAUSE, why),
        }
    }

    /// The lock is looked at once more: a machine that was cut off may have lost it.
    pub(super) async fn reboot(&mut self, situation: &Situation) {
        if matches!(self.state.held, Held::Yes | Held::ByHand)
            && let Some(lock) = self.lock()
        {
            match lock.standing(&self.who).await {
                Ok(Standing::Held(_) | Standing::ByHand) => {}
                Ok(Standing::Free) => {
                    (self.log)("the lock was taken away meanwhile");
                    self.state.held = Held::No;
                    return;
                }
                Ok(Standing::Twin(claim)) => return self.meet_twin(claim.boot).await,
                Err(error) => return self.pause(STORE_PAUSE, text(&error)),
            }
        }
        if let Some(alarm) = self.alarm().await {
            (self.log)(&alarm);
        }
        let inhibitors = match &situation.wanted {
            Some(Wanted::Now {
                heed: Heed::LockOnly,
                ..
            }) => Inhibitors::Skipped,
            _ => Inhibitors::Count,
        };
        if let Err(error) = self.doors.logind.reboot(inhibitors).await {
            return self.pause(PAUSE, text(&error));
        }
        self.state.rebooting = true;
        // systemd ends this service on the way.
        if timeout(GOING_DOWN, self.doors.stop.recv()).await.is_ok() {
            self.stop();
        } else {
            self.state.rebooting = false;
            self.pause(PAUSE, "the machine did not go down".to_string());
        }
    }

    /// Everything is as if nothing had begun, or it is tried again.
    pub(super) async fn step_back(&mut self) {
        match undo::settle(
            self.root,
            self.doors.store.as_ref(),
            &self.who,
            self.settings.budget,
        )
        .await
        {
            Ok(told) => {
                if let Some(told) = told {
                    (self.log)(told);
                }
                self.forget();
            }
            Err(error) if error.is_passing() => {
                self.state.traces = Traces::Earlier;
                self.pause(STORE_PAUSE, text(&error));
            }
            Err(error) => {
                (self.log)(&text(&error));
                self.state.traces = Traces::Earlier;
                self.pause(PAUSE, text(&error));
            }
        }
    }

    fn forget(&mut self) {
        let state = &mut self.state;
        state.traces = Traces::None;
        if !matches!(state.held, Held::Twin(_)) {
            state.held = Held::No;
        }
        state.warned = None;
        (state.surroundings, state.units, state.hooks) = (Stage::Ahead, Stage::Ahead, Stage::Ahead);
    }

    /// Nothing is left behind by a service that ends, unless the machine goes down by its order.
    pub(super) async fn leave(&mut self) -> Ending {
        if self.state.traces == Traces::Ours && !self.state.rebooting {
            // What cannot be undone now is undone by the next start.
            let _ = timeout(LEAVING, self.step_back()).await;
        }
        Ending::Stopped
    }
}

//! `strake reboot run`: a loop around `decision::next`. It looks, asks what comes next, and does
//! that; whatever takes long is given up as soon as the decision would be another one.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use strake_cloud_config::config::RebootStrategy;
use strake_updates::policy::Window;
use strake_updates::time::Timestamp;
use strake_updates::version::Version;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::decision::{Boot, Heed, Held, Pause, SOON, Situation, Stage, Step, Traces, Wanted};
use super::decision::{Wait, next};
use super::figures::Figures;
use super::logind::{Logind, Session};
use super::need::{self, Heard};
use super::pending::Pending;
use super::settings::Settings;
use super::socket::{Call, Order, Told};
use super::{budget, obey};
use crate::lock::{Claimant, Lock};
use crate::metrics::Registry;
use crate::root::Root;
use crate::store::Store;
use crate::systemd::Units;
use crate::update::engine::{self, text};
use crate::update::{clock, window};

const BOOT_COMPLETE: &str = "boot-complete.target";
/// After an error of the bus, before the next look.
const AGAIN: Duration = Duration::from_secs(10);

/// The ways to the outside.
#[derive(Debug)]
pub struct Doors<U, S> {
    pub systemd: U,
    pub logind: Logind,
    /// The cluster's; nothing where the machine stands alone.
    pub store: Option<S>,
    pub heard: mpsc::Receiver<Heard>,
    pub calls: mpsc::Receiver<Call>,
    /// The releases that the cluster refuses.
    pub refused: watch::Receiver<BTreeSet<Version>>,
    /// Closed, or told, when the service is to end.
    pub stop: mpsc::Receiver<()>,
    pub figures: Registry,
}

/// How the loop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The strategy is off, and nobody asked for a reboot.
    Off,
    Stopped,
}

enum Event {
    Call(Call),
    Heard(Heard),
    Stop,
    Time,
}

pub struct Service<'a, U, S> {
    pub(super) root: &'a Root,
    pub(super) settings: Settings,
    pub(super) doors: Doors<U, S>,
    pub(super) who: Claimant,
    pub(super) log: fn(&str),
    start: Instant,
    figures: Figures,
    pub(super) state: State,
}

/// What the service remembers; all of it may be lost but what `pending` keeps.
#[derive(Debug)]
pub(super) struct State {
    pub boot: Boot,
    /// A person's or another program's wish.
    pub asked: Option<Wanted>,
    /// What is not to be rebooted for.
    pub cancelled: Option<Wanted>,
    pub traces: Traces,
    pub held: Held,
    /// When the note of this machine's zone is looked at next.
    pub note_zone_at: Duration,
    pub pause: Option<Pause>,
    /// Steps back in a row.
    pub failures: u32,
    pub surroundings: Stage,
    pub warned: Option<(Duration, Duration)>,
    pub units: Stage,
    pub hooks: Stage,
    /// The reboot was ordered.
    pub rebooting: bool,
    stopping: bool,
    told: String,
}

impl<U, S> std::fmt::Debug for Service<'_, U, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = &self.state;
        f.debug_struct("Service")
            .field("state", state)
            .finish_non_exhaustive()
    }
}

impl<'a, U: Units, S: Store> Service<'a, U, S> {
    pub fn new(
        root: &'a Root,
        settings: Settings,
        doors: Doors<U, S>,
        who: Claimant,
        log: fn(&str),
    ) -> Result<Service<'a, U, S>> {
        let traces = match Pending::read(root)? {
            Some(_) => Traces::Earlier,
            None => Traces::None,
        };
        Ok(Service {
            root,
            settings,
            figures: Figures::new(&doors.figures),
            doors,
            who,
            log,
            start: Instant::now(),
            state: State {
                boot: Boot::Judged,
                asked: None,
                cancelled: None,
                traces,
                held: Held::No,
                note_zone_at: Duration::ZERO,
                pause: None,
                failures: 0,
                surroundings: Stage::Ahead,
                warned: None,
                units: Stage::Ahead,
                hooks: Stage::Ahead,
                rebooting: false,
                stopping: false,
                told: String::new(),
            },
        })
    }

    /// Wants a reboot as `strake reboot now` does.
    pub fn want(&mut self, wanted: Wanted) {
        self.state.asked = Some(wanted);
        self.state.cancelled = None;
    }

    /// Runs until it is stopped, which a reboot does too.
    pub async fn run(&mut self) -> Result<Ending> {
        loop {
            if self.state.stopping {
                return Ok(self.leave().await);
            }
            self.keep_budget().await;
            self.note_zone().await;
            let situation = match self.situation().await {
                Ok(situation) => situation,
                Err(error) => {
                    self.tell(&format!("{error:#}"));
                    self.listen(AGAIN).await;
                    continue;
                }
            };
            let step = next(&situation);
            self.tell(&step.to_string());
            self.figures.tell(&situation, &step);
            match step {
                Step::Wait(wait) => {
                    if matches!(wait, Wait::Idle | Wait::Off(_)) && self.is_off() {
                        return Ok(Ending::Off);
                    }
                    if wait == Wait::Idle {
                        self.state.failures = 0;
                    }
                    let at_most = wait.at_most(situation.clock, clock());
                    self.listen(at_most).await;
                    self.ask_twin_again(&wait);
                }
                Step::Settle | Step::StepBack(_) => self.step_back().await,
                Step::Queue => self.queue(&situation).await,
                Step::LookAround => self.look_around(&situation).await,
                Step::Warn(left) => self.warn(left).await,
                Step::Drain => self.drain().await,
                Step::RunHooks => self.run_hooks(&situation).await,
                Step::Reboot => self.reboot(&situation).await,
            }
        }
    }

    /// Tells the cluster what fell back here, and obeys what it refuses. What an earlier boot has
    /// left is settled first, and with it this.
    async fn keep_budget(&mut self) {
        let Some(store) = &self.doors.store else {
            return;
        };
        if self.state.boot == Boot::Judged || self.state.traces == Traces::Earlier {
            return;
        }
        let told = budget::tell(self.root, store, &self.who.id, self.settings.budget).await;
        if let Err(error) = told {
            self.tell(&text(&error));
        }
        let refused = self.doors.refused.borrow_and_update().clone();
        match obey::obey(self.root, &refused) {
            Ok(_) | Err(obey::Error::Engine(engine::Error::Busy)) => {}
            Err(error) => self.tell(&text(&error)),
        }
    }

    fn is_off(&self) -> bool {
        self.settings.strategy == RebootStrategy::Off
    }

    pub(super) fn clock(&self) -> Duration {
        self.start.elapsed()
    }

    /// Said once, until it is something else.
    fn tell(&mut self, what: &str) {
        if self.state.told != what {
            (self.log)(what);
            self.state.told = what.to_string();
        }
    }

    pub(super) async fn sessions(&self) -> Vec<Session> {
        self.doors.logind.sessions().await.unwrap_or_default()
    }

    async fn situation(&mut self) -> Result<Situation> {
        if self.state.boot == Boot::Judged {
            let target = self.doors.systemd.active(BOOT_COMPLETE).await?;
            if target.is_up() {
                self.state.boot = Boot::Healthy;
            }
        }
        let staged = need::staged(self.root).map(Wanted::Update);
        let wanted = match &self.state.asked {
            Some(now @ Wanted::Now { .. }) => Some(now.clone()),
            asked => staged.or_else(|| asked.clone()),
        };
        let is_calm = wanted.is_none() || self.state.boot == Boot::Judged;
        let (mut inhibitors, mut users) = (Vec::new(), Vec::new());
        if !is_calm {
            let logind = &self.doors.logind;
            inhibitors = logind.inhibitors().await?;
            users.extend(
                logind
                    .sessions()
                    .await?
                    .into_iter()
                    .map(|session| session.user),
            );
            users.sort();
            users.dedup();
        }
        let (settings, state) = (&self.settings, &self.state);
        Ok(Situation {
            clock: self.clock(),
            strategy: settings.strategy,
            in_cluster: self.doors.store.is_some(),
            boot: state.boot,
            refused: match &wanted {
                Some(Wanted::Update(version)) => self.doors.refused.borrow().contains(version),
                _ => false,
            },
            cancelled: wanted.is_some() && state.cancelled == wanted,
            wanted,
            window: self.window().context("reading the windows")?,
            traces: state.traces,
            held: state.held.clone(),
            inhibitors,
            pause: state.pause.clone(),
            surroundings: state.surroundings,
            users,
            warned: state.warned,
            users_limit: settings.users,
            units: state.units,
            hooks: state.hooks,
        })
    }

    fn window(&self) -> Result<Window, window::InvalidWindow> {
        window::permission(&self.settings.windows, &self.settings.zone, clock())
    }

    /// Takes in what comes, until then or for so long.
    async fn listen(&mut self, at_most: Duration) {
        let event = event(&mut self.doors, at_most).await;
        self.take(event).await;
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Time | Event::Heard(Heard::Updater) => {}
            Event::Heard(Heard::Asked) => self.need(),
            Event::Stop => self.state.stopping = true,
            Event::Call(call) => {
                self.order(call.order).await;
                let told = self.told().await;
                // Whoever hung up has heard enough.
                let _ = call.answer.send(told);
            }
        }
    }

    fn need(&mut self) {
        if self.state.asked.is_none() {
            self.state.asked = Some(Wanted::Asked);
        }
    }

    async fn order(&mut self, order: Order) {
        match order {
            Order::When => {}
            Order::Need => self.need(),
            Order::Now { reason, force } => {
                let heed = match force {
                    true => Heed::LockOnly,
                    false => Heed::All,
                };
                self.want(Wanted::Now { reason, heed });
                self.state.pause = None;
            }
            Order::Cancel => {
                self.state.asked = None;
                self.state.cancelled = need::staged(self.root).map(Wanted::Update);
            }
        }
    }

    /// What somebody has to look at: another machine said that it has this one's id.
    pub(super) async fn alarm(&self) -> Option<String> {
        let lock = self.lock()?;
        let asked = tokio::time::timeout(SOON, lock.twin(&self.who.id)).await;
        let twin = asked.ok()?.ok()??;
        let [first, second] = twin.boots;
        Some(format!(
            "ALARM: another machine has this machine's id: boots {first} and {second}"
        ))
    }

    async fn told(&mut self) -> Told {
        let strategy = self.settings.strategy.to_string();
        let holds_lock = matches!(self.state.held, Held::Yes | Held::ByHand);
        let window_opens = match self.window() {
            Ok(Window::OpensAt(opens)) => Some(opens),
            Ok(Window::Open) | Err(_) => None,
        };
        let window_opens = window_opens.map(|opens: Timestamp| opens.to_string());
        let alarm = self.alarm().await;
        match self.situation().await {
            Ok(situation) => Told {
                alarm,
                doing: next(&situation).to_string(),
                strategy,
                wanted: situation.wanted.map(|wanted| wanted.to_string()),
                holds_lock,
                window_opens,
                users: situation.users,
                inhibitors: situation.inhibitors,
            },
            Err(error) => Told {
                alarm,
                doing: format!("{error:#}"),
                strategy,
                wanted: None,
                holds_lock,
                window_opens,
                users: Vec::new(),
                inhibitors: Vec::new(),
            },
        }
    }

    /// None: the work was given up, because another step comes first.
    pub(super) async fn unless_another<T>(
        &mut self,
        step: &Step,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let event = tokio::select! {
                done = &mut work => return Some(done),
                event = event(&mut self.doors, SOON) => event,
            };
            self.take(event).await;
            if self.state.stopping {
                return None;
            }
            // What cannot be looked at now says nothing against going on.
            if let Ok(situation) = self.situation().await {
                let other = next(&situation);
                if std::mem::discriminant(&other) != std::mem::discriminant(step) {
                    return None;
                }
            }
        }
    }

    pub(super) fn lock(&self) -> Option<Lock<S>> {
        let store = self.doors.store.clone()?;
        Some(Lock::new(store, self.settings.group.clone()))
    }

    /// Nothing is tried for a while, longer each time.
    pub(super) fn pause(&mut self, shortest: Duration, why: String) {
        let longer = shortest.saturating_mul(1 << self.state.failures.min(6));
        self.state.failures += 1;
        self.figures.failures.inc();
        self.state.pause = Some(Pause {
            until: self.clock() + longer.min(shortest * 10),
            why,
        });
    }

    pub(super) fn stop(&mut self) {
        self.state.stopping = true;
    }

    /// A twin that was seen may be gone.
    fn ask_twin_again(&mut self, wait: &Wait) {
        let is_over = self
            .state
            .pause
            .as_ref()
            .is_none_or(|pause| self.clock() >= pause.until);
        if matches!(wait, Wait::Twin(_)) && is_over {
            self.state.held = Held::No;
        }
    }
}

async fn event<U, S>(doors: &mut Doors<U, S>, at_most: Duration) -> Event {
    tokio::select! {
        Some(call) = doors.calls.recv() => Event::Call(call),
        Some(heard) = doors.heard.recv() => Event::Heard(heard),
        Ok(()) = doors.refused.changed() => Event::Time,
        _ = doors.stop.recv() => Event::Stop,
        () = tokio::time::sleep(at_most) => Event::Time,
    }
}

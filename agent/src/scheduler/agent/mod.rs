//! This machine's part: do what its desired key says, tell what is there, keep its lease.
//!
//! Nothing is stopped because the store is silent. A machine that was away first stops what is no
//! longer its own, then registers (in one transaction with the desired value it has obeyed), then
//! starts what is new: so a unit that was moved meanwhile never runs beside its successor under
//! two live leases.

mod end;
mod fence;
pub(in crate::scheduler) mod pace;
mod register;
mod steps;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub use pace::Pace;
pub use steps::{Action, Phase, at_rest, steps};

use super::figures::Holding;
use super::host::Host;
use super::keys::{self, Assignment, Desired, Observed, Scope, Seen};
use super::machine::Machine;
use super::name::UnitName;
use super::text::{Digest, Text};
use crate::journal::Log;
use crate::metrics::Registry;
use crate::store::{
    Compare, Event, Lease, Outcome, Renewal, Revision, Store, Transaction, Watch, Write,
};

/// Where the last desired value and its texts survive a restart.
pub trait Cache {
    fn save(&self, desired: &Desired);
    fn load(&self) -> Option<Desired>;
    fn save_text(&self, digest: &Digest, text: &Text);
    fn load_text(&self, digest: &Digest) -> Option<Text>;
}

pub struct Agent<S, H, C> {
    store: S,
    host: H,
    cache: C,
    pace: Pace,
    machine: watch::Receiver<Machine>,
    log: Log,
    desired: Desired,
    modified: Revision,
    registration: Registration,
    /// Of the lease that it has, or had.
    lease_ttl: Duration,
    /// Sessions with the store that failed since the lease was renewed last.
    failures: u32,
    /// How often it has waited for something: no two waits are alike.
    waits: u64,
    texts: BTreeMap<Digest, Text>,
    problems: BTreeMap<UnitName, Problem>,
    published: Published,
    figures: Holding,
    ends: end::Ends,
    fuse: fence::Fuse,
}

/// What came of trying to load or start a unit.
#[derive(Debug, Clone)]
struct Problem {
    text: String,
    digest: Digest,
    tries: u32,
    next: Instant,
}

/// A longer value is written less often.
const PER_UNIT: Duration = Duration::from_micros(250);

/// A unit that cannot be loaded or started is tried this often: after 1, 2, 4, ... seconds.
const TRIES: u32 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    Out,
    In(Lease),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Published {
    /// What is in the store is not known.
    Unknown,
    Known(Observed, Revision),
}

impl<S, H, C> std::fmt::Debug for Agent<S, H, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("generation", &self.desired.generation)
            .field("registration", &self.registration)
            .finish()
    }
}

/// The doors an agent has to the outside.
#[derive(Debug)]
pub struct Doors<S, H, C> {
    pub store: S,
    pub host: H,
    pub cache: C,
    /// What this machine says of itself; written again when it changes.
    pub machine: watch::Receiver<Machine>,
}

impl<S: Store, H: Host, C: Cache> Agent<S, H, C> {
    pub fn new(doors: Doors<S, H, C>, pace: Pace, log: Log) -> Agent<S, H, C> {
        Agent {
            store: doors.store,
            host: doors.host,
            cache: doors.cache,
            machine: doors.machine,
            pace,
            log,
            desired: Desired::default(),
            modified: 0,
            registration: Registration::Out,
            lease_ttl: pace.lease_ttl,
            failures: 0,
            waits: 0,
            texts: BTreeMap::new(),
            problems: BTreeMap::new(),
            published: Published::Unknown,
            ends: end::Ends::default(),
            fuse: fence::Fuse::new(pace.lease_ttl),
            figures: Holding::new(&Registry::default()),
        }
    }

    /// Counts for somebody.
    pub fn counted(self, registry: &Registry) -> Agent<S, H, C> {
        Agent {
            figures: Holding::new(registry),
            ..self
        }
    }

    /// Never ends.
    pub async fn run(mut self) -> ! {
        let patience = Instant::now() + self.pace.patience;
        let mut cache = UseOfCache::Allowed;
        loop {
            self.stop_fenced().await;
            let fuse = self.fuse.clone();
            let ended = tokio::select! {
                biased;
                () = fuse.burn() => continue,
                ended = self.session() => ended,
            };
            if let Err(error) = ended {
                self.say(&format!("the store: {error:#}"));
                self.failures += 1;
            }
            let met = self.modified > 0 || self.registration != Registration::Out;
            if cache == UseOfCache::Allowed && !met && Instant::now() >= patience {
                cache = UseOfCache::Done;
                self.start_from_cache().await;
            }
            let share = self.next_share();
            let wait = self.pace.wait(self.failures, share);
            let fuse = self.fuse.clone();
            tokio::select! {
                biased;
                () = fuse.burn() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// From one reading of the desired value to the loss of its watch.
    async fn session(&mut self) -> anyhow::Result<()> {
        let id = self.machine.borrow().id.clone();
        let key = keys::desired(&id);
        if let Registration::In(lease) = self.registration
            && self.renew(lease).await? == Renewal::Over
        {
            self.registration = Registration::Out;
        }
        let mut watch = self.read_desired(&key).await?;
        let mut changes = self.host.changes();
        let share = self.next_share();
        let first = self.pace.first_beat(self.lease_ttl, share);
        let mut beat = Instant::now() + first;
        let mut publish = Instant::now();
        loop {
            let retry = self.reconcile(phase(self.registration)).await?;
            self.tell_ends().await?;
            if Instant::now() >= publish {
                publish = Instant::now() + self.publish().await?;
            }
            let observed = self.observe().await?;
            if self.registration == Registration::Out
                && at_rest(&self.desired, &observed.units) == Standing::Same
            {
                match self.register(&key).await? {
                    Outcome::Done(_) => continue,
                    // The leader took something away just now.
                    Outcome::Refused => return Ok(()),
                }
            }
            let mut next = retry.map_or(beat, |retry| retry.min(beat));
            if !self.is_published(&observed) {
                next = next.min(publish);
            }
            tokio::select! {
                biased;
                batch = watch.next() => {
                    for event in batch?.events {
                        self.take_event(event);
                    }
                }
                // Before what systemd says, which is a lot while the machine goes down.
                changed = self.machine.changed() => {
                    changed?;
                    // A stray write of our own may come between, hardly twice.
                    if self.register(&key).await? == Outcome::Refused {
                        self.register(&key).await?;
                    }
                }
                changed = changes.changed() => changed?,
                () = tokio::time::sleep_until(next) => {}
            }
            if Instant::now() < beat {
                continue;
            }
            let share = self.next_share();
            let next = self.pace.next_beat(self.lease_ttl, share);
            beat = Instant::now() + next;
            let Registration::In(lease) = self.registration else {
                continue;
            };
            if self.renew(lease).await? == Renewal::Over {
                self.say("the machine's lease was over: reading anew what is its own");
                self.registration = Registration::Out;
                return Ok(());
            }
            let asked = self.pace.lease(self.desired.lease);
            if asked != self.lease_ttl && at_rest(&self.desired, &observed.units) == Standing::Same
            {
                // Registers at once with one of the right length; the old one runs out, bound to
                // nothing.
                self.registration = Registration::Out;
            }
        }
    }

    fn next_share(&mut self) -> f64 {
        self.waits += 1;
        pace::share(self.machine.borrow().id.as_str(), self.waits)
    }

    async fn read_desired(&mut self, key: &str) -> anyhow::Result<Watch> {
        let entry = self.store.read(key).await?;
        let from = entry.as_ref().map_or(1, |entry| entry.modified + 1);
        match entry {
            Some(entry) => self.take_event(Event::Put(entry)),
            None => (self.desired, self.modified) = (Desired::default(), 0),
        }
        self.published = Published::Unknown;
        Ok(self.store.watch(key, from).await?)
    }

    fn take_event(&mut self, event: Event) {
        let Event::Put(entry) = event else {
            self.say("the desired value was removed by hand: nothing changes here");
            return;
        };
        match serde_json::from_slice::<Desired>(&entry.value) {
            Ok(desired) => {
                self.modified = entry.modified;
                if desired != self.desired {
                    self.cache.save(&desired);
                    self.desired = desired;
                }
            }
            Err(error) => self.say(&format!("the desired value is not understood: {error}")),
        }
    }

    /// Does all that can be done now; tells when to try again what failed.
    async fn reconcile(&mut self, phase: Phase) -> anyhow::Result<Option<Instant>> {
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

    /// Units whose wanted text cannot be had now.
    async fn fetch_texts(&mut self, local: &BTreeMap<UnitName, Seen>) -> BTreeSet<UnitName> {
        let differs = |(name, wanted): &(&UnitName, &Assignment)| {
            local.get(*name).map(|seen| &seen.digest) != Some(&wanted.digest)
        };
        let missing: Vec<(UnitName, Digest)> = self
            .desired
            .units
            .iter()
            .filter(differs)
            .map(|(name, wanted)| (name.clone(), wanted.digest.clone()))
            .collect();
        let mut without = BTreeSet::new();
        for (name, digest) in missing {
            if self.text(&digest).await.is_err() {
                without.insert(name);
            }
        }
        without
    }

    async fn text(&mut self, digest: &Digest) -> anyhow::Result<Text> {
        use anyhow::Context;
        let known = self.texts.get(digest).cloned();
        if let Some(text) = known.or_else(|| self.cache.load_text(digest)) {
            return Ok(text);
        }
        let entry = self.store.read(&keys::text(digest)).await?;
        let entry = entry.context("its text is not in the store")?;
        let text = std::str::from_utf8(&entry.value).context("its text is no text")?;
        let text = Text::parse(text).ok().context("its text is no unit")?;
        self.cache.save_text(digest, &text);
        let wanted = &self.desired.units;
        self.texts
            .retain(|known, _| wanted.values().any(|unit| unit.digest == *known));
        self.texts.insert(digest.clone(), text.clone());
        Ok(text)
    }

    async fn observe(&self) -> anyhow::Result<Observed> {
        let mut units = self.host.units().await?;
        let generation = match at_rest(&self.desired, &units) {
            Standing::Same => self.desired.generation,
            Standing::Differs => match &self.published {
                Published::Known(observed, _) => observed.generation,
                Published::Unknown => 0,
            },
        };
        for (name, problem) in &self.problems {
            let seen = units.entry(name.clone()).or_insert_with(|| Seen {
                digest: problem.digest.clone(),
                load: "not-found".to_string(),
                active: crate::systemd::Active::Inactive,
                sub: "dead".to_string(),
                started: false,
                run: 0,
                problem: None,
            });
            seen.problem = Some(problem.text.clone());
        }
        let leases = usize::from(self.registration != Registration::Out);
        self.figures.holds(&units, leases);
        Ok(Observed { generation, units })
    }

    fn is_published(&self, observed: &Observed) -> bool {
        matches!(&self.published, Published::Known(known, _) if known == observed)
    }

    /// Writes what is observed, if that is news; tells how long to be quiet then.
    async fn publish(&mut self) -> anyhow::Result<Duration> {
        let key = keys::observed(&self.machine.borrow().id);
        if self.published == Published::Unknown {
            let entry = self.store.read(&key).await?;
            let modified = entry.as_ref().map_or(0, |entry| entry.modified);
            let known = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
            self.published = Published::Known(known.unwrap_or_default(), modified);
        }
        let observed = self.observe().await?;
        let quiet = self.pace.publish + PER_UNIT * observed.units.len() as u32;
        let Published::Known(known, modified) = &self.published else {
            return Ok(quiet);
        };
        if *known == observed {
            return Ok(Duration::ZERO);
        }
        let transaction = Transaction {
            compares: vec![Compare::Modified(key.clone(), *modified)],
            writes: vec![Write::Put {
                key,
                value: serde_json::to_vec(&observed)?,
                lease: None,
            }],
        };
        // Until the answer is there, nobody knows what is in the store.
        self.published = Published::Unknown;
        if let Outcome::Done(revision) = self.store.commit(&transaction).await? {
            self.published = Published::Known(observed, revision);
        }
        Ok(quiet)
    }

    /// After a start with a silent store: what runs on every machine anyway may run here.
    async fn start_from_cache(&mut self) {
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

#[derive(PartialEq, Eq)]
enum UseOfCache {
    Allowed,
    Done,
}

/// Whether two things agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Same,
    Differs,
}

fn phase(registration: Registration) -> Phase {
    match registration {
        Registration::Out => Phase::Removals,
        Registration::In(_) => Phase::All,
    }
}

//! The leader's work: watch the whole, plan, write. Every machine runs this; at most five are
//! candidates and one of them plans.
//!
//! Time enters here only: how long a machine has been away is counted from when this leader saw
//! its lease end (a new leader counts anew), and its units are given up after a margin more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use super::figures::Leading;
use super::keys::{self, Assignment, Desired};
use super::machine::MachineId;
use super::model::{Feed, Model};
use super::name::UnitName;
use super::plan::{Away, Brake, Change, Plan, plan};
use super::replicas::{Look, Nurse};
use super::rollout::Rollout;
use crate::journal::{Log, Note};
use crate::metrics::Registry;
use crate::store::election::{Seat, take_seat};
use crate::store::{
    Compare, Error, Lease, MAX_BYTES, MAX_OPERATIONS, Outcome, Renewal, Revision, Store,
    Transaction, Write,
};

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The candidate's lease; renewed three times within it.
    pub seat_ttl: Duration,
    /// After a machine's lease is over and before its units are started elsewhere.
    pub margin: Duration,
    /// How long after an error it tries again.
    pub again: Duration,
    /// After it has written, what changes is gathered for this long, and for as long as the last
    /// round took: many orders at once are few writes, and one alone does not wait.
    pub gather: Duration,
    /// Milliseconds since 1970: for units that begin at certain times.
    pub clock: fn() -> u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            seat_ttl: Duration::from_secs(9),
            margin: Duration::from_secs(1),
            again: Duration::from_secs(1),
            gather: Duration::from_millis(20),
            clock: clock::now,
        }
    }
}

/// Before everything is read again since something was not as it was thought to be.
const REREAD: Duration = Duration::from_millis(20);

/// Between two looks at the wall clock while a unit waits for its time.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

pub struct Engine<S> {
    store: S,
    name: String,
    pace: Pace,
    log: Log,
    figures: Leading,
}

impl<S> std::fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("name", &self.name).finish()
    }
}

/// What a leader remembers beside the model.
#[derive(Debug, Default)]
struct Losses {
    since: BTreeMap<MachineId, Instant>,
    brake: Brake,
}

impl Losses {
    /// Which machines are given up, and when that may change without any event.
    fn step(
        &mut self,
        model: &Model,
        margin: Duration,
        now: Instant,
    ) -> (BTreeMap<MachineId, Away>, Option<Instant>) {
        let lost: BTreeSet<MachineId> = model.away().cloned().collect();
        self.since.retain(|id, _| lost.contains(id));
        for id in lost {
            self.since.entry(id).or_insert(now);
        }
        let ages: Vec<Duration> = self.since.values().map(|since| now - *since).collect();
        self.brake = self.brake.step(model.machines.len(), &ages);
        let over = |since: &Instant| self.brake == Brake::Free && now - *since >= margin;
        let away = self.since.iter().map(|(id, since)| {
            let state = if over(since) {
                Away::Over
            } else {
                Away::Waiting
            };
            (id.clone(), state)
        });
        let waiting = self.since.values().map(|since| *since + margin);
        let next = waiting.filter(|at| *at > now).min();
        (away.collect(), next)
    }
}

impl<S: Store> Engine<S> {
    pub fn new(store: S, name: &MachineId, pace: Pace, log: Log) -> Engine<S> {
        Engine {
            store,
            name: name.to_string(),
            pace,
            log,
            figures: Leading::new(&Registry::default()),
        }
    }

    /// Counts for somebody.
    pub fn counted(self, registry: &Registry) -> Engine<S> {
        Engine {
            figures: Leading::new(registry),
            ..self
        }
    }

    /// Never ends.
    pub async fn run(&self) -> ! {
        loop {
            let ended = self.candidacy().await;
            self.figures.stepped_down();
            if let Err(error) = ended {
                (self.log)(&Note::new(&format!("leading: {error:#}")));
            }
            tokio::time::sleep(self.pace.again).await;
        }
    }

    async fn candidacy(&self) -> anyhow::Result<()> {
        let lease = self.store.grant(self.pace.seat_ttl).await?;
        let seat = match take_seat(&self.store, keys::LEADER, &self.name, lease).await {
            Ok(Some(seat)) => seat,
            other => {
                let _ = self.store.revoke(lease).await;
                other?;
                // All seats are taken. One that falls free is found by the next try.
                tokio::time::sleep(self.pace.seat_ttl).await;
                return Ok(());
            }
        };
        tokio::select! {
            biased;
            ended = self.keep_seat(lease) => ended.map_err(Into::into),
            ended = self.wait_and_lead(&seat) => ended,
        }
    }

    async fn keep_seat(&self, lease: Lease) -> Result<(), Error> {
        loop {
            tokio::time::sleep(self.pace.seat_ttl / 3).await;
            match self.store.keep_alive(lease).await {
                Ok(Renewal::Renewed) => {}
                Ok(Renewal::Over) => return Ok(()),
                // What is written without the seat is refused, so there is no hurry to stop.
                Err(error) => (self.log)(&Note::new(&format!("keeping the seat: {error}"))),
            }
        }
    }

    async fn wait_and_lead(&self, seat: &Seat) -> anyhow::Result<()> {
        let list = self.store.list(keys::LEADER, None, None).await?;
        let mut watch = self.store.watch(keys::LEADER, list.revision + 1).await?;
        let mut seats = list;
        while !seat.leads(&seats.entries) {
            watch.next().await?;
            seats = self.store.list(keys::LEADER, None, None).await?;
        }
        drop(watch);
        (self.log)(&Note::new("this machine leads the scheduler"));
        self.figures.took_over();
        // Read after the election: nothing an earlier leader wrote is missed.
        let mut feed = Feed::open(&self.store).await?;
        let mut losses = Losses::default();
        let mut nurse = Nurse::default();
        let mut written: Revision = 0;
        let mut quiet = Instant::now();
        loop {
            let now = Instant::now();
            let mut wake = None;
            if now < quiet {
                wake = Some(quiet);
            } else if feed.model.revision >= written {
                let (away, next) = losses.step(&feed.model, self.pace.margin, now);
                wake = next;
                let look = nurse.look(&mut feed.model, now);
                wake = wake.into_iter().chain(look.next).min();
                match self.round(&mut feed.model, seat, &away, look).await? {
                    Round::Wrote(revision) => {
                        written = revision;
                        quiet = Instant::now() + self.pace.gather.max(now.elapsed());
                    }
                    Round::Refused => {
                        tokio::time::sleep(REREAD).await;
                        feed = Feed::open(&self.store).await?;
                        if !seat.leads(&feed.model.seats) {
                            return Ok(());
                        }
                        continue;
                    }
                    Round::AtRest => {}
                }
                wake = [wake, self.next_turn(&feed.model)]
                    .into_iter()
                    .flatten()
                    .min();
            }
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                advanced = feed.advance() => if advanced.is_err() {
                    feed = Feed::open(&self.store).await?;
                },
                () = timer => {}
            }
        }
    }

    /// When a unit is due by the clock. Looked at again before, since clocks are set.
    fn next_turn(&self, model: &Model) -> Option<Instant> {
        let wait = model.next_turn()?.saturating_sub((self.pace.clock)());
        Some(Instant::now() + Duration::from_millis(wait).min(LOOK_AT_CLOCK))
    }

    async fn round(
        &self,
        model: &mut Model,
        seat: &Seat,
        away: &BTreeMap<MachineId, Away>,
        look: Look,
    ) -> Result<Round, Error> {
        let start = Instant::now();
        let plan = plan(&model.snapshot(away, (self.pace.clock)()));
        self.figures.planned(model, &plan, start.elapsed());
        for change in &plan.changes {
            let (Change::Place { unit, machine } | Change::Remove { unit, machine, .. }) = change;
            let before = model.desired.get(machine);
            let generation = before.map_or(0, |at| at.value.generation) + 1;
            let text = format!("plan: {change}");
            (self.log)(&Note::new(&text).about(unit, machine, generation));
        }
        let mut edits = edits(model, &plan);
        edits.extend(unused(model));
        for (template, rollout) in &look.news {
            if let Some(refused) = &rollout.refused {
                let text = format!("{template}: the former text again: {}", refused.cause);
                (self.log)(&Note::new(&text));
            }
            edits.push(kept(model, template, rollout));
        }
        let mut round = Round::AtRest;
        for transaction in batches(edits, seat) {
            match self.store.commit(&transaction).await? {
                Outcome::Done(revision) => round = Round::Wrote(revision),
                Outcome::Refused => return Ok(Round::Refused),
            }
        }
        Ok(round)
    }
}

enum Round {
    AtRest,
    Wrote(Revision),
    Refused,
}

/// Writes that belong together.
struct Edit {
    compares: Vec<Compare>,
    writes: Vec<Write>,
}

/// The desired values that change: by the plan, by new texts and states, by what has left.
fn edits(model: &Model, plan: &Plan) -> Vec<Edit> {
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
fn kept(model: &Model, template: &UnitName, rollout: &Rollout) -> Edit {
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

fn deletion(key: String, modified: Revision) -> Edit {
    Edit {
        compares: vec![Compare::Modified(key.clone(), modified)],
        writes: vec![Write::Delete { key }],
    }
}

/// Texts that no unit and no machine names any more.
fn unused(model: &Model) -> Vec<Edit> {
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
fn batches(edits: Vec<Edit>, seat: &Seat) -> Vec<Transaction> {
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

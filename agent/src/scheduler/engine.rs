//! The leader's work: watch the whole, plan, write. Every machine runs this; at most five are
//! candidates and one of them plans.
//!
//! Time enters here only: how long a machine has been away is counted from when this leader saw
//! its lease end (a new leader counts anew), and its units are given up after a margin more.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::agent::pace::share;
use super::clock;
use super::edits::{batches, edits, kept, moved, unused};
use super::figures::Leading;
use super::keys::{self, Move, Policy};
use super::leases::Scale;
use super::losses::Losses;
use super::machine::MachineId;
use super::model::{Feed, Model};
use super::orders;
use super::plan::{Away, Change, Step, plan, rebalance};
use super::replicas::{Look, Nurse};
use crate::journal::{Log, Note};
use crate::metrics::Registry;
use crate::store::election::{SEATS, Seat, take_seat};
use crate::store::{Error, Lease, Outcome, Renewal, Revision, Store};

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The candidate's lease; renewed three times within it.
    pub seat_ttl: Duration,
    /// After a machine's lease is over and before its units are started elsewhere.
    pub margin: Duration,
    /// A new leader waits so long for machines that were away before it led: after a silence of
    /// the store all leases are over, and each machine notices at its next beat.
    pub settle: Duration,
    /// How long after an error it tries again.
    pub again: Duration,
    /// After it has written, what changes is gathered for this long, and for as long as the last
    /// round took: many orders at once are few writes, and one alone does not wait.
    pub gather: Duration,
    pub leases: Scale,
    /// Between two looks for a free seat, at least, and twice that at most.
    pub look: Duration,
    /// Milliseconds since 1970: for units that begin at certain times.
    pub clock: fn() -> u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            seat_ttl: Duration::from_secs(9),
            margin: Duration::from_millis(500),
            settle: Duration::from_secs(25),
            again: Duration::from_secs(1),
            gather: Duration::from_millis(20),
            leases: Scale::default(),
            look: Duration::from_secs(15),
            clock: clock::now,
        }
    }
}

/// Before everything is read again since something was not as it was thought to be.
const REREAD: Duration = Duration::from_millis(20);

/// Between two looks at the wall clock while a unit waits for its time.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

/// Seconds between two looks for units that are better off elsewhere, at least.
pub const LEAST_EVERY: u64 = 60;

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

impl Pace {
    /// Longer where leases are longer and renewed less often.
    pub(super) fn settle_time(&self, model: &Model) -> Duration {
        let longest = model.desired.values().filter_map(|at| at.value.lease).max();
        let longest = Duration::from_secs(longest.unwrap_or(0)).max(self.leases.usual);
        self.settle + (longest - self.leases.usual) / 3
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
        let mut attempt = 0;
        loop {
            attempt += 1;
            let ended = self.candidacy(attempt).await;
            self.figures.stepped_down();
            if let Err(error) = ended {
                (self.log)(&Note::new(&format!("leading: {error:#}")));
            }
            tokio::time::sleep(self.pace.again).await;
        }
    }

    async fn candidacy(&self, attempt: u64) -> anyhow::Result<()> {
        // Only read where there is nothing to win: most machines of a large cluster come here
        // again and again.
        let taken = self.store.list(keys::LEADER, None, None).await?.entries;
        if taken.len() >= SEATS {
            let own = format!("{} ", self.name).into_bytes();
            let wait = match taken.iter().any(|seat| seat.value.starts_with(&own)) {
                // Of a service that was here before this one, and soon over.
                true => self.pace.seat_ttl,
                false => self.pace.look.mul_f64(1.0 + share(&self.name, attempt)),
            };
            tokio::time::sleep(wait).await;
            return Ok(());
        }
        let lease = self.store.grant(self.pace.seat_ttl).await?;
        let seat = match take_seat(&self.store, keys::LEADER, &self.name, lease).await {
            Ok(Some(seat)) => seat,
            other => {
                let _ = self.store.revoke(lease).await;
                other?;
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
        let mut looks = Looks::new(Instant::now());
        loop {
            let now = Instant::now();
            let mut wake = None;
            if now < quiet {
                wake = Some(quiet);
            } else if feed.model.revision >= written {
                let (away, next) = losses.step(&feed.model, &self.pace, now);
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
                    Round::AtRest if looks.is_due(feed.model.policy, now) => {
                        self.rebalance(&mut feed.model, &away).await?;
                    }
                    Round::AtRest => {}
                }
                wake = [
                    wake,
                    self.next_turn(&feed.model),
                    looks.next(feed.model.policy),
                ]
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

    /// Asks itself for the moves that the policy allows, when the last ones are done.
    async fn rebalance(
        &self,
        model: &mut Model,
        away: &BTreeMap<MachineId, Away>,
    ) -> Result<(), Error> {
        let Some(policy) = model.policy.filter(|_| model.moves.is_empty()) else {
            return Ok(());
        };
        let snapshot = model.snapshot(away, (self.pace.clock)());
        let better = rebalance(&snapshot, policy.moves, policy.gain);
        let moves = better
            .into_iter()
            .map(|m| (m.unit, Move::new(m.from, m.to)));
        let moves: Vec<_> = moves.collect();
        if let Err(error) = orders::ask_to_move(&self.store, &moves).await {
            (self.log)(&Note::new(&format!("asking for moves: {error}")));
        }
        Ok(())
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
        let mut edits = edits(model, &plan, &self.pace.leases);
        edits.extend(unused(model));
        edits.extend(moved(model, &plan));
        for (unit, step) in &plan.moves {
            if let Step::Over(why) = step {
                (self.log)(&Note::new(&format!("move of {unit}: {why}")));
            }
        }
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

/// When the leader looks whether units are better off elsewhere. A new leader waits anew.
struct Looks {
    last: Instant,
}

impl Looks {
    fn new(now: Instant) -> Looks {
        Looks { last: now }
    }

    fn next(&self, policy: Option<Policy>) -> Option<Instant> {
        policy.map(|policy| self.last + Duration::from_secs(policy.every.max(LEAST_EVERY)))
    }

    fn is_due(&mut self, policy: Option<Policy>, now: Instant) -> bool {
        let due = self.next(policy).is_some_and(|at| at <= now);
        if due {
            self.last = now;
        }
        due
    }
}

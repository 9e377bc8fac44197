//! This machine's part: do what its desired key says, tell what is there, keep its lease.
//!
//! Nothing is stopped because the store is silent. A machine that was away first stops what is no
//! longer its own, then registers (in one transaction with the desired value it has obeyed), then
//! starts what is new: so a unit that was moved meanwhile never runs beside its successor under
//! two live leases.

mod end;
mod fence;
pub(in crate::scheduler) mod pace;
mod publish;
mod reconcile;
mod register;
mod steps;
mod texts;
mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub use pace::Pace;
use publish::Published;
use reconcile::Problem;
use steps::{Phase, Standing, at_rest};

use super::figures::Holding;
use super::host::Host;
use super::keys::{self, Desired};
use super::machine::Machine;
use super::name::UnitName;
use super::text::{Digest, Text};
use crate::journal::Log;
use crate::metrics::Registry;
use crate::store::{Event, Lease, Outcome, Renewal, Revision, Store, Watch};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    Out,
    In(Lease),
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
}

#[derive(PartialEq, Eq)]
enum UseOfCache {
    Allowed,
    Done,
}

fn phase(registration: Registration) -> Phase {
    match registration {
        Registration::Out => Phase::Removals,
        Registration::In(_) => Phase::All,
    }
}

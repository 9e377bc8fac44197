//! Holding the network: leases are followed, the kernel is brought to what they say, the lease is
//! renewed, until this machine has to join anew.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::answer::{answer, asked};
use super::pace::Due;
use super::{Joined, Leases, Runtimes, Service, chain, public_addresses};
use crate::overlay::client;
use crate::overlay::kernel::Kernel;
use crate::overlay::lease::Lease;
use crate::overlay::named::Clash;
use crate::store::{Batch, Entry, Event, Renewal, Revision, Store, Watch, WatchEnd};

/// Between two writes of the status.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Why the machine joins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    Expired,
    Deleted,
    Taken(String),
    OtherConfig,
    OtherUplink,
    /// With a network that comes before this one.
    Clash(Clash),
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Over::Expired => f.write_str("the lease has run out"),
            Over::Deleted => f.write_str("somebody removed the lease"),
            Over::Taken(by) => write!(f, "the lease was taken by {by}"),
            Over::OtherConfig => f.write_str("the network has another config"),
            Over::OtherUplink => f.write_str("the uplink is another one"),
            Over::Clash(clash) => write!(f, "it cannot be here: {clash}"),
        }
    }
}

/// What is followed of the store.
pub(super) struct Followed {
    pub(super) leases: Leases,
    /// Everything up to here is known; nothing before all leases were read.
    pub(super) known: Option<Revision>,
    watch: Option<Watch>,
    since: Instant,
    /// While there is no watch: when the next try is due, and how many there were.
    again: Due,
    tries: u32,
}

impl Followed {
    fn nothing() -> Followed {
        Followed {
            leases: BTreeMap::new(),
            known: None,
            watch: None,
            since: Instant::now(),
            again: Due(Instant::now()),
            tries: 0,
        }
    }

    fn follow(&mut self, watch: Watch) {
        self.watch = Some(watch);
        self.since = Instant::now();
    }
}

enum Woken {
    Store(Result<Batch, WatchEnd>),
    Again,
    Compare,
    Renew,
    Status,
    Asked(usize, usize, SocketAddr),
}

impl<S: Store, K: Kernel, R: Runtimes> Service<S, K, R> {
    pub(super) async fn hold(&mut self, mut joined: Joined) -> Over {
        let mut followed = Followed::nothing();
        let mut compare = Due::after(self.pace.compare);
        let mut renew = Due::after(self.pace.renew());
        let mut status = Due(Instant::now());
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let woken = tokio::select! {
                event = next(&mut followed.watch) => Woken::Store(event),
                () = sleep_until(followed.again.0), if followed.watch.is_none() => Woken::Again,
                () = sleep_until(compare.0) => Woken::Compare,
                () = sleep_until(renew.0) => Woken::Renew,
                (door, length, from) = asked(&joined.doors, &mut buffer) => {
                    Woken::Asked(door, length, from)
                }
                () = sleep_until(status.0), if self.report.is_news() => Woken::Status,
            };
            let over = match woken {
                Woken::Store(event) => self.hear(&mut joined, &mut followed, event),
                Woken::Again => self.follow_again(&mut joined, &mut followed).await,
                Woken::Compare => {
                    compare = Due::after(self.pace.compare);
                    self.give_up_predecessors(&joined, &followed.leases).await;
                    self.compare(&mut joined, &followed)
                }
                Woken::Renew => {
                    let (over, wait) = self.renew(&joined).await;
                    renew = Due::after(wait);
                    over
                }
                Woken::Asked(door, length, from) => {
                    answer(&mut joined, door, &buffer[..length], from);
                    None
                }
                Woken::Status => {
                    status = Due::after(STATUS_EVERY);
                    self.write_report();
                    None
                }
            };
            if let Some(over) = over {
                return over;
            }
        }
    }

    /// Goes on where the watch ended, as long as the store remembers what happened since.
    async fn follow_again(&mut self, joined: &mut Joined, followed: &mut Followed) -> Option<Over> {
        let Some(known) = followed.known else {
            return self.read_again(joined, followed).await;
        };
        let all = self.client.all();
        match self.client.store().watch(&all, known + 1).await {
            Ok(watch) => {
                self.report
                    .say(&format!("following the store on from revision {known}"));
                self.report.problem("store", None);
                followed.follow(watch);
            }
            Err(error) => self.try_again(followed, &error),
        }
        None
    }

    fn try_again(&mut self, followed: &mut Followed, error: &dyn std::error::Error) {
        self.report.problem("store", Some(chain(error)));
        followed.again = Due::after(self.pace.retry(followed.tries));
        followed.tries += 1;
    }

    /// Reads all leases and follows them from there.
    async fn read_again(&mut self, joined: &mut Joined, followed: &mut Followed) -> Option<Over> {
        let read = async {
            let snapshot = self.client.snapshot().await?;
            let from = snapshot.revision + 1;
            let watch = self.client.store().watch(&self.client.all(), from).await?;
            Ok::<_, client::Error>((snapshot, watch))
        };
        let (snapshot, watch) = match read.await {
            Ok(read) => read,
            Err(error) => {
                self.try_again(followed, &error);
                return None;
            }
        };
        self.report.problem("store", None);
        followed.follow(watch);
        followed.known = Some(snapshot.revision);
        followed.leases.clear();
        let mut own = None;
        for entry in &snapshot.leases {
            if entry.key == joined.held.key {
                own = Some(entry);
            }
            self.put(joined, followed, entry);
        }
        let over = match (own, snapshot.config) {
            (None, _) => Some(Over::Deleted),
            (Some(own), config) => {
                let other = self.check_config(joined, config.as_deref());
                other.or_else(|| self.check_own(joined, own))
            }
        };
        if over.is_none() {
            self.bring_about(joined, followed);
        }
        over
    }

    fn hear(
        &mut self,
        joined: &mut Joined,
        followed: &mut Followed,
        event: Result<Batch, WatchEnd>,
    ) -> Option<Over> {
        let mut event = Some(event);
        // Whatever else has come already is dealt with in the same round.
        while let Some(batch) = event {
            let batch = match batch {
                Ok(batch) => batch,
                Err(end) => {
                    self.lose(followed, end);
                    break;
                }
            };
            for event in batch.events {
                if let Some(over) = self.take_in(joined, followed, &event) {
                    return Some(over);
                }
            }
            event = followed.watch.as_mut().and_then(Watch::ready);
        }
        self.bring_about(joined, followed);
        None
    }

    /// The first try after a while is at once; whoever ends each watch is not asked all the time.
    fn lose(&mut self, followed: &mut Followed, end: WatchEnd) {
        match end {
            WatchEnd::Lost(why) => self.report.problem("store", Some(why)),
            WatchEnd::Compacted(_) => {
                self.report.say(&format!("{end}: reading all leases again"));
                followed.known = None;
            }
        }
        followed.watch = None;
        if followed.since.elapsed() > self.pace.again.1 {
            followed.tries = 0;
        }
        followed.again = match followed.tries {
            0 => Due(Instant::now()),
            tries => Due::after(self.pace.retry(tries - 1)),
        };
        followed.tries += 1;
    }

    fn take_in(
        &mut self,
        joined: &mut Joined,
        followed: &mut Followed,
        event: &Event,
    ) -> Option<Over> {
        // A removal does not tell its revision: removing once more does no harm.
        if let Event::Put(entry) = event {
            followed.known = followed.known.max(Some(entry.modified));
        }
        match event {
            Event::Put(entry) if entry.key == self.client.config_key() => {
                self.check_config(joined, Some(&entry.value))
            }
            Event::Put(entry) if entry.key == joined.held.key => self.check_own(joined, entry),
            Event::Put(entry) => {
                self.put(joined, followed, entry);
                None
            }
            Event::Deleted { key } if *key == joined.held.key => Some(Over::Deleted),
            Event::Deleted { key } if *key == self.client.config_key() => {
                self.check_config(joined, None)
            }
            Event::Deleted { key } => {
                if let Some(name) = key.strip_prefix(&self.client.subnets()) {
                    followed.leases.remove(name);
                }
                None
            }
        }
    }

    fn put(&self, joined: &Joined, followed: &mut Followed, entry: &Entry) {
        let name = entry.key.strip_prefix(&self.client.subnets());
        if let Some(name) = name.filter(|_| entry.key != joined.held.key) {
            let lease = Lease::parse(name, &entry.value);
            followed.leases.insert(name.to_string(), lease);
        }
    }

    /// A config that is gone or wrong changes nothing but is told.
    fn check_config(&mut self, joined: &Joined, text: Option<&[u8]>) -> Option<Over> {
        let key = self.client.config_key();
        let problem = match text {
            None => Some(format!("{key} was removed; going on with what it said")),
            Some(text) if text == joined.config_text => None,
            Some(text) => match self.client.parse_config(text) {
                Ok(config) if config == joined.config => None,
                Ok(_) => return Some(Over::OtherConfig),
                Err(error) => Some(format!("{error}; going on with what it said before")),
            },
        };
        self.report.problem("config", problem);
        None
    }

    fn check_own(&mut self, joined: &Joined, entry: &Entry) -> Option<Over> {
        if entry.value == joined.held.lease.to_json() {
            self.report.problem("lease", None);
            return None;
        }
        let name = entry.key.strip_prefix(&self.client.subnets())?;
        let other = match Lease::parse(name, &entry.value) {
            Ok(other) => other,
            Err(wrong) => return Some(Over::Taken(format!("something unknown ({wrong})"))),
        };
        let addresses = public_addresses(&other).join(", ");
        if other.machine == joined.held.lease.machine {
            // Each would write its own again and again: leave it to people.
            let problem = format!(
                "another machine at {addresses} has this machine's id and writes the same lease"
            );
            self.report.problem("lease", Some(problem));
            return None;
        }
        let machine = other.machine.unwrap_or_else(|| "a machine".to_string());
        Some(Over::Taken(format!("{machine} at {addresses}")))
    }

    /// Whether it is over, and otherwise how long until the next time.
    async fn renew(&mut self, joined: &Joined) -> (Option<Over>, Duration) {
        match self.client.renew(&joined.held).await {
            Ok(Renewal::Renewed) => {
                let devices = joined.tunnels.iter().map(|one| one.name.clone());
                let subnets = joined.held.lease.subnets;
                self.remember(&joined.config_text, subnets, devices.collect());
                self.report.problem("renewal", None);
                (None, self.pace.renew())
            }
            Ok(Renewal::Over) => (Some(Over::Expired), self.pace.renew()),
            Err(error) => {
                self.report.problem("renewal", Some(chain(&error)));
                (None, self.pace.renew_again())
            }
        }
    }
}

/// Never, while there is no watch.
async fn next(watch: &mut Option<Watch>) -> Result<Batch, WatchEnd> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

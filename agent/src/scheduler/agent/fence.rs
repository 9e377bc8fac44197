//! Units that ask for it are stopped before the machine's lease is over: when another machine may
//! start them, none runs here any more, also where the store cannot be reached.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Agent, Cache, Host, Registration};
use crate::scheduler::keys::{self, Assignment, State};
use crate::scheduler::name::UnitName;
use crate::store::Store;
use crate::systemd::Active;

/// How much of the lease is left for stopping: a part of so many.
const PART_FOR_STOPPING: u32 = 6;
/// And how much of it a service that was started anew may take to find the store.
const PART_FOR_FINDING: u32 = 20;

/// When fenced units are to be stopped here, if nobody says that the lease goes on.
#[derive(Debug, Clone)]
pub(super) struct Fuse {
    at: Rc<Cell<Option<Instant>>>,
}

impl Fuse {
    /// What runs here may be another machine's already, for all that is known at a start.
    pub(super) fn new(lease_ttl: Duration) -> Fuse {
        let at = Instant::now() + lease_ttl / PART_FOR_FINDING;
        Fuse {
            at: Rc::new(Cell::new(Some(at))),
        }
    }

    /// The lease was renewed by a request that was sent then.
    pub(super) fn renewed(&self, sent: Instant, lease_ttl: Duration) {
        self.at
            .set(Some(sent + lease_ttl - lease_ttl / PART_FOR_STOPPING));
    }

    fn is_burnt(&self) -> bool {
        self.at.get().is_none()
    }

    /// Ends when the units are to be stopped, and only once.
    pub(super) async fn burn(&self) {
        loop {
            match self.at.get() {
                Some(at) if at <= Instant::now() => return self.at.set(None),
                // A renewal meanwhile only moves it away.
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }
}

fn is_fenced((_, wanted): &(&UnitName, &Assignment)) -> bool {
    wanted.fence == keys::Fence::Yes && wanted.state == State::Launched
}

impl<S: Store, H: Host, C: Cache> Agent<S, H, C> {
    /// Again and again until the machine is registered anew: a stop may fail.
    pub(super) async fn stop_fenced(&mut self) {
        if !self.fuse.is_burnt() {
            return;
        }
        let known = match self.modified {
            // Of this start nothing is known yet: what the last one obeyed.
            0 => self.cache.load().unwrap_or_default(),
            _ => self.desired.clone(),
        };
        if !known.units.iter().any(|unit| is_fenced(&unit)) {
            return;
        }
        self.registration = Registration::Out;
        let Ok(local) = self.host.units().await else {
            return;
        };
        for (name, _) in known.units.iter().filter(is_fenced) {
            let runs = |active: Active| !active.is_down() && active != Active::Deactivating;
            if local.get(name).is_some_and(|seen| runs(seen.active)) {
                let text = format!("{name} is stopped: the machine's lease may be over soon");
                self.say(&text);
                if let Err(error) = self.host.stop(name).await {
                    self.say(&format!("stopping {name}: {error:#}"));
                }
            }
        }
    }
}

//! A machine that goes down in order hands over what can run elsewhere, while it can still say so:
//! nobody has to wait for the end of its lease.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::keys::{self, Desired, Observed, Scope};
use super::machine::{Duty, Machine, MachineId};
use crate::store::{Error, Store};
use crate::systemd::bus::Bus;

/// Between two looks at what is still here.
const LOOK: Duration = Duration::from_millis(200);
/// A store that does not answer for this long is not waited for. Machines that go down are busy.
const SILENCE: Duration = Duration::from_secs(10);
/// Neither is a leader that knows of it and takes nothing more away: what is left fits nowhere else.
const SETTLED: Duration = Duration::from_secs(5);
/// Units may take long to stop; systemd ends the service 90 s after it asked for it.
const LIMIT: Duration = Duration::from_secs(75);

/// Ends when the service is told to end: at once, unless the whole machine goes down.
pub(super) async fn when_told<S: Store>(
    store: &S,
    told: &watch::Sender<Machine>,
) -> std::io::Result<()> {
    signal(SignalKind::terminate())?.recv().await;
    if goes_down().await {
        eprintln!("the machine goes down: what can run elsewhere is handed over");
        leave(store, told).await;
    }
    Ok(())
}

/// A connection of its own, since this is asked once in a machine's life. What systemd does not
/// tell is taken for a restart of the service, in which everything runs on.
async fn goes_down() -> bool {
    let Ok(bus) = Bus::system().await else {
        return false;
    };
    bus.is_stopping().await.unwrap_or_default()
}

/// The agent goes on meanwhile: it tells the cluster, stops what is taken away and says when that
/// is down.
pub(super) async fn leave<S: Store>(store: &S, told: &watch::Sender<Machine>) {
    told.send_modify(|machine| machine.duty = Duty::Draining);
    let id = told.borrow().id.clone();
    let begin = Instant::now();
    let (mut last, mut changed) = (None, begin);
    while let Ok(Ok(held)) = timeout(SILENCE, Held::read(store, &id)).await {
        let news = Some((held.duty, held.desired.generation));
        if last != news {
            (last, changed) = (news, Instant::now());
        }
        let is_known = held.duty == Duty::Draining;
        let is_over = held.is_free() || changed.elapsed() >= SETTLED;
        if begin.elapsed() >= LIMIT || (is_known && held.is_at_rest() && is_over) {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Held {
    /// As the cluster knows it.
    duty: Duty,
    desired: Desired,
    observed: Observed,
}

impl Held {
    async fn read<S: Store>(store: &S, id: &MachineId) -> Result<Held, Error> {
        let machine: Option<Machine> = value(store, &keys::machine(id)).await?;
        Ok(Held {
            duty: machine.map(|machine| machine.duty).unwrap_or_default(),
            desired: value(store, &keys::desired(id)).await?.unwrap_or_default(),
            observed: value(store, &keys::observed(id)).await?.unwrap_or_default(),
        })
    }

    /// What is on every machine anyway goes down with this one.
    fn is_free(&self) -> bool {
        let mut units = self.desired.units.values();
        units.all(|unit| unit.scope == Scope::Global)
    }

    /// All that was taken away has been told to be down.
    fn is_at_rest(&self) -> bool {
        self.observed.generation >= self.desired.generation
    }
}

/// What cannot be understood holds nothing that could be waited for.
async fn value<S: Store, T: DeserializeOwned>(store: &S, key: &str) -> Result<Option<T>, Error> {
    let entry = store.read(key).await?;
    Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
}

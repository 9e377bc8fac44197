//! A systemd whose units do nothing: they run the moment they are started and never end.

use std::cell::RefCell;
use std::collections::BTreeMap;

use strake_agent::scheduler::agent::Cache;
use strake_agent::scheduler::host::Host;
use strake_agent::scheduler::keys::{Desired, Ended, Seen};
use strake_agent::scheduler::name::UnitName;
use strake_agent::scheduler::text::{Digest, Text};
use strake_agent::systemd::Active;
use tokio::sync::watch;

pub(crate) struct IdleHost {
    units: RefCell<BTreeMap<UnitName, Seen>>,
    changed: watch::Sender<u64>,
}

impl IdleHost {
    pub(crate) fn new() -> IdleHost {
        IdleHost {
            units: RefCell::default(),
            changed: watch::channel(0).0,
        }
    }

    fn set(&self, name: &UnitName, active: Active, sub: &str) {
        if let Some(seen) = self.units.borrow_mut().get_mut(name) {
            seen.active = active;
            seen.sub = sub.to_owned();
            seen.started = active == Active::Active;
        }
        self.changed.send_modify(|count| *count += 1);
    }
}

impl Host for IdleHost {
    async fn units(&self) -> anyhow::Result<BTreeMap<UnitName, Seen>> {
        Ok(self.units.borrow().clone())
    }

    async fn load(&self, name: &UnitName, digest: &Digest, _: &Text) -> anyhow::Result<()> {
        let seen = Seen {
            digest: digest.clone(),
            load: "loaded".to_owned(),
            active: Active::Inactive,
            sub: "dead".to_owned(),
            started: false,
            run: 0,
            problem: None,
        };
        self.units.borrow_mut().insert(name.clone(), seen);
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn start(&self, name: &UnitName, _run: u64) -> anyhow::Result<()> {
        self.set(name, Active::Active, "running");
        Ok(())
    }

    async fn ended(&self, name: &UnitName) -> anyhow::Result<Ended> {
        anyhow::bail!("{name} never ends")
    }

    async fn stop(&self, name: &UnitName) -> anyhow::Result<()> {
        self.set(name, Active::Inactive, "dead");
        Ok(())
    }

    async fn unload(&self, name: &UnitName) -> anyhow::Result<()> {
        self.units.borrow_mut().remove(name);
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// Nothing survives these machines.
pub(crate) struct NoCache;

impl Cache for NoCache {
    fn save(&self, _: &Desired) {}

    fn load(&self) -> Option<Desired> {
        None
    }

    fn save_text(&self, _: &Digest, _: &Text) {}

    fn load_text(&self, _: &Digest) -> Option<Text> {
        None
    }
}

//! A systemd that is a map: units start and stop after a while, some fail.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

use crate::scheduler::agent::Cache;
use crate::scheduler::host::Host;
use crate::scheduler::keys::{Desired, Seen};
use crate::scheduler::name::UnitName;
use crate::scheduler::text::{Digest, Text};
use crate::store::faulty::Random;
use crate::systemd::Active;

#[derive(Debug, Clone)]
pub(super) struct Machine {
    units: Rc<RefCell<BTreeMap<UnitName, Seen>>>,
    changed: Rc<watch::Sender<u64>>,
    random: Random,
}

impl Machine {
    pub(super) fn new(random: Random) -> Machine {
        Machine {
            units: Rc::default(),
            changed: Rc::new(watch::channel(0).0),
            random,
        }
    }

    pub(super) fn running(&self) -> Vec<UnitName> {
        let units = self.units.borrow();
        let up = units
            .iter()
            .filter(|(_, seen)| !matches!(seen.active, Active::Inactive | Active::Failed));
        up.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn all(&self) -> BTreeMap<UnitName, Seen> {
        self.units.borrow().clone()
    }

    /// Everything is gone, as after the power was.
    pub(super) fn lose_power(&self) {
        self.units.borrow_mut().clear();
    }

    fn set(&self, name: &UnitName, active: Active) {
        if let Some(seen) = self.units.borrow_mut().get_mut(name) {
            seen.active = active;
        }
        self.changed.send_modify(|count| *count += 1);
    }

    fn later(&self, name: &UnitName, from: Active, to: Active) {
        let (machine, name) = (self.clone(), name.clone());
        let wait = Duration::from_millis(self.random.below(1500));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            let now = machine.units.borrow().get(&name).map(|seen| seen.active);
            if now == Some(from) {
                machine.set(&name, to);
            }
        });
    }
}

impl Host for Machine {
    async fn units(&self) -> anyhow::Result<BTreeMap<UnitName, Seen>> {
        Ok(self.all())
    }

    async fn load(&self, name: &UnitName, digest: &Digest, _: &Text) -> anyhow::Result<()> {
        let seen = Seen {
            digest: digest.clone(),
            load: "loaded".to_string(),
            active: Active::Inactive,
            sub: "dead".to_string(),
            started: false,
            problem: None,
        };
        self.units.borrow_mut().insert(name.clone(), seen);
        Ok(())
    }

    async fn start(&self, name: &UnitName) -> anyhow::Result<()> {
        if self.random.percent(5) {
            anyhow::bail!("systemd is busy");
        }
        if let Some(seen) = self.units.borrow_mut().get_mut(name) {
            seen.started = true;
        }
        self.set(name, Active::Activating);
        self.later(name, Active::Activating, Active::Active);
        Ok(())
    }

    async fn stop(&self, name: &UnitName) -> anyhow::Result<()> {
        let down = {
            let mut units = self.units.borrow_mut();
            let Some(seen) = units.get_mut(name) else {
                return Ok(());
            };
            seen.started = false;
            matches!(seen.active, Active::Inactive | Active::Failed)
        };
        if !down {
            self.set(name, Active::Deactivating);
            self.later(name, Active::Deactivating, Active::Inactive);
        }
        Ok(())
    }

    async fn unload(&self, name: &UnitName) -> anyhow::Result<()> {
        self.units.borrow_mut().remove(name);
        Ok(())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// A cache that survives the agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    desired: Rc<RefCell<Option<Desired>>>,
    texts: Rc<RefCell<BTreeMap<Digest, Text>>>,
}

impl Cache for Disk {
    fn save(&self, desired: &Desired) {
        *self.desired.borrow_mut() = Some(desired.clone());
    }

    fn load(&self) -> Option<Desired> {
        self.desired.borrow().clone()
    }

    fn save_text(&self, digest: &Digest, text: &Text) {
        let mut texts = self.texts.borrow_mut();
        texts.insert(digest.clone(), text.clone());
    }

    fn load_text(&self, digest: &Digest) -> Option<Text> {
        self.texts.borrow().get(digest).cloned()
    }
}

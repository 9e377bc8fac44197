//! A systemd that is a map: units start and stop after a while, some fail.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

use crate::scheduler::agent::Cache;
use crate::scheduler::host::Host;
use crate::scheduler::keys::{Desired, Ended, Seen};
use crate::scheduler::name::UnitName;
use crate::scheduler::text::{Digest, Text};
use crate::store::faulty::Random;
use crate::systemd::Active;

#[derive(Debug, Clone, Copy)]
enum End {
    Stays,
    Ends,
    Fails,
}

#[derive(Debug, Clone)]
pub(super) struct Machine {
    units: Rc<RefCell<BTreeMap<UnitName, Seen>>>,
    changed: Rc<watch::Sender<u64>>,
    random: Random,
    /// What comes of units that are started.
    ending: Rc<RefCell<BTreeMap<UnitName, End>>>,
    starts: Rc<RefCell<Vec<(UnitName, u64)>>>,
    /// How often each unit has changed.
    moves: Rc<RefCell<BTreeMap<UnitName, u64>>>,
}

impl Machine {
    pub(super) fn new(random: Random) -> Machine {
        Machine {
            units: Rc::default(),
            changed: Rc::new(watch::channel(0).0),
            random,
            ending: Rc::default(),
            starts: Rc::default(),
            moves: Rc::default(),
        }
    }

    pub(super) fn running(&self) -> Vec<UnitName> {
        let units = self.units.borrow();
        let up = units
            .iter()
            .filter(|(_, seen)| !matches!(seen.active, Active::Inactive | Active::Failed));
        up.map(|(name, _)| name.clone()).collect()
    }

    /// What was started since this was asked last.
    pub(super) fn new_starts(&self) -> Vec<(UnitName, u64)> {
        self.starts.take()
    }

    /// How often the unit was started, as long as nobody asks for new starts.
    pub(super) fn starts_of(&self, name: &UnitName) -> usize {
        let starts = self.starts.borrow();
        starts.iter().filter(|(started, _)| started == name).count()
    }

    pub(super) fn all(&self) -> BTreeMap<UnitName, Seen> {
        self.units.borrow().clone()
    }

    /// Everything is gone, as after the power was.
    pub(super) fn lose_power(&self) {
        self.units.borrow_mut().clear();
    }

    fn set(&self, name: &UnitName, active: Active) {
        *self.moves.borrow_mut().entry(name.clone()).or_default() += 1;
        if let Some(seen) = self.units.borrow_mut().get_mut(name) {
            seen.active = active;
        }
        self.changed.send_modify(|count| *count += 1);
    }

    fn later(&self, name: &UnitName, from: Active, to: Active) {
        let (machine, name) = (self.clone(), name.clone());
        let moves = self.moves.borrow().get(&name).copied();
        let wait = Duration::from_millis(self.random.below(1500));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            let now = machine.units.borrow().get(&name).map(|seen| seen.active);
            // Not when it was stopped and started anew meanwhile.
            let moved = machine.moves.borrow().get(&name).copied() != moves;
            if now == Some(from) && !moved {
                machine.set(&name, to);
            }
        });
    }
}

impl Host for Machine {
    async fn units(&self) -> anyhow::Result<BTreeMap<UnitName, Seen>> {
        Ok(self.all())
    }

    async fn load(&self, name: &UnitName, digest: &Digest, text: &Text) -> anyhow::Result<()> {
        let option = |name| text.value("X-Strake", name).is_some();
        let ends = option("Batch") || option("Calendar");
        let fails = text.value("Service", "ExecStart") == Some("/bin/false");
        let end = match (ends, fails) {
            (true, _) => End::Ends,
            (_, true) => End::Fails,
            _ => End::Stays,
        };
        self.ending.borrow_mut().insert(name.clone(), end);
        let seen = Seen {
            digest: digest.clone(),
            load: "loaded".to_string(),
            active: Active::Inactive,
            sub: "dead".to_string(),
            started: false,
            run: 0,
            problem: None,
        };
        self.units.borrow_mut().insert(name.clone(), seen);
        Ok(())
    }

    async fn start(&self, name: &UnitName, run: u64) -> anyhow::Result<()> {
        if self.random.percent(5) {
            anyhow::bail!("systemd is busy");
        }
        if let Some(seen) = self.units.borrow_mut().get_mut(name) {
            (seen.started, seen.run) = (true, run);
        }
        self.starts.borrow_mut().push((name.clone(), run));
        self.set(name, Active::Activating);
        let end = self.ending.borrow().get(name).copied();
        let next = match end {
            Some(End::Fails) => Active::Failed,
            Some(End::Ends) if self.random.percent(30) => Active::Failed,
            Some(End::Ends) => Active::Inactive,
            Some(End::Stays) | None => Active::Active,
        };
        self.later(name, Active::Activating, next);
        Ok(())
    }

    async fn ended(&self, name: &UnitName) -> anyhow::Result<Ended> {
        let failed = self.units.borrow().get(name).map(|seen| seen.active) == Some(Active::Failed);
        Ok(Ended {
            result: if failed { "exit-code" } else { "success" }.to_string(),
            code: i32::from(failed),
            at: super::world::clock(),
            log: Vec::new(),
        })
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

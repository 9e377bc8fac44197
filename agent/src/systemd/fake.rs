//! A systemd in memory: units change when a test says so, and orders are written down.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tokio::sync::watch;

use super::{Active, BootTimes, Error, Job, Unit, Units};

#[derive(Debug)]
pub struct Fake {
    units: RefCell<BTreeMap<String, Unit>>,
    times: BootTimes,
    changed: watch::Sender<u64>,
    orders: RefCell<Vec<String>>,
}

impl Fake {
    pub fn new(times: BootTimes) -> Fake {
        let (changed, _) = watch::channel(0);
        Fake {
            units: RefCell::default(),
            times,
            changed,
            orders: RefCell::default(),
        }
    }

    /// Puts the unit into a state and tells whoever watches.
    pub fn set(&self, unit: Unit) {
        self.units.borrow_mut().insert(unit.name.clone(), unit);
        self.changed.send_modify(|count| *count += 1);
    }

    pub fn orders(&self) -> Vec<String> {
        self.orders.borrow().clone()
    }

    fn note(&self, order: String) -> Result<(), Error> {
        self.orders.borrow_mut().push(order);
        Ok(())
    }
}

/// A unit of the image that the boot pulls in.
pub fn of_image(name: &str, active: Active) -> Unit {
    Unit {
        name: name.to_string(),
        loaded: true,
        active,
        sub: active.word().to_string(),
        fragment: format!("/usr/lib/systemd/system/{name}"),
        pulled_by: vec!["multi-user.target".to_string()],
        active_since_us: 0,
    }
}

impl Units for Fake {
    async fn active(&self, name: &str) -> Result<Active, Error> {
        Ok(self.unit(name).await?.active)
    }

    async fn unit(&self, name: &str) -> Result<Unit, Error> {
        let unknown = || Unit {
            loaded: false,
            fragment: String::new(),
            pulled_by: Vec::new(),
            ..of_image(name, Active::Inactive)
        };
        Ok(self
            .units
            .borrow()
            .get(name)
            .cloned()
            .unwrap_or_else(unknown))
    }

    async fn failed(&self) -> Result<Vec<Unit>, Error> {
        let units = self.units.borrow();
        Ok(units
            .values()
            .filter(|unit| unit.active == Active::Failed)
            .cloned()
            .collect())
    }

    async fn boot_times(&self) -> Result<BootTimes, Error> {
        Ok(self.times.clone())
    }

    async fn changes(&self) -> Result<watch::Receiver<u64>, Error> {
        Ok(self.changed.subscribe())
    }

    async fn reload(&self) -> Result<(), Error> {
        self.note("reload".to_string())
    }

    /// What runs stops at once.
    async fn run(&self, job: Job, unit: &str) -> Result<(), Error> {
        if let (Job::Stop, Some(known)) = (job, self.units.borrow_mut().get_mut(unit)) {
            known.active = Active::Inactive;
            self.changed.send_modify(|count| *count += 1);
        }
        self.note(format!("{} {unit}", job.word()))
    }

    async fn reboot(&self) -> Result<(), Error> {
        self.note("reboot".to_string())
    }
}

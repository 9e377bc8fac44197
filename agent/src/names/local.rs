//! Where this machine's units are, found out anew whenever systemd, docker or the overlay says
//! that something is another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::docker::{Events, containers};
use super::place::{Container, Machine, Places, places};
use super::status::Report;
use crate::docker::Docker;
use crate::overlay::cidr::Cidr;
use crate::overlay::named::Which;
use crate::overlay::report::{NAMED, Status};
use crate::root::Root;
use crate::scheduler::host::systemd::loaded;
use crate::scheduler::name::UnitName;
use crate::systemd::bus::Bus;
use crate::systemd::{Active, Units as _};

/// Several changes at once are looked at once.
const TOGETHER: Duration = Duration::from_millis(100);
/// Between two looks at the overlay's status, and whether docker runs.
const LOOK: Duration = Duration::from_secs(2);
/// After an error.
const AGAIN: Duration = Duration::from_secs(1);

/// Nothing is told until it is known once.
pub type Told = watch::Sender<Option<Places>>;

#[derive(Debug)]
pub struct Local {
    pub root: Root,
    /// Where the machine is reached without an overlay.
    pub address: Option<IpAddr>,
    pub told: Told,
    pub report: Rc<RefCell<Report>>,
}

impl Local {
    /// Never ends.
    pub async fn run(self) -> ! {
        loop {
            let error = self.follow().await.err();
            let problem = error.map(|error| format!("{error:#}"));
            self.report.borrow_mut().problem("units", problem);
            sleep(AGAIN).await;
        }
    }

    /// Ends in an error only.
    async fn follow(&self) -> Result<()> {
        let bus = Bus::system().await.context("reaching systemd")?;
        let mut changes = bus.changes().await?;
        let (sender, mut containers) = watch::channel(Vec::new());
        let follow_docker = self.follow_docker(sender);
        tokio::pin!(follow_docker);
        let mut look = Instant::now();
        let mut machine = Machine::default();
        loop {
            if Instant::now() >= look {
                machine = machine_of(&self.root, self.address);
                look = Instant::now() + LOOK;
            }
            let units = self.units(&bus).await?;
            let now = places(&units, &containers.borrow_and_update(), &machine);
            self.report.borrow_mut().problem("units", None);
            self.told.send_if_modified(|told| {
                let is_news = told.as_ref() != Some(&now);
                *told = Some(now);
                is_news
            });
            sleep(TOGETHER).await;
            tokio::select! {
                changed = changes.changed() => changed.context("listening to systemd")?,
                Ok(()) = containers.changed() => {}
                () = sleep_until(look) => {}
                never = &mut follow_docker => never,
            }
        }
    }

    async fn units(&self, bus: &Bus) -> Result<BTreeMap<UnitName, bool>> {
        let known = loaded(&self.root)?;
        if known.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<UnitName> = known.iter().map(UnitName::on_systemd).collect();
        let names: Vec<&str> = names.iter().map(UnitName::as_str).collect();
        let rows = bus.rows(&names).await?;
        let runs = |unit: &UnitName| {
            let on_systemd = unit.on_systemd();
            let mut rows = rows.iter();
            let row = rows.find(|row| row.name == on_systemd.as_str());
            row.is_some_and(|row| is_running(row.active, &row.sub))
        };
        Ok(known
            .into_iter()
            .map(|unit| (unit.clone(), runs(&unit)))
            .collect())
    }

    /// While docker is silent, its containers are believed to be where they were: they outlive it.
    async fn follow_docker(&self, found: watch::Sender<Vec<Container>>) -> ! {
        loop {
            if let Some(docker) = Docker::running(&self.root) {
                let error = self.ask_docker(&docker, &found).await.err();
                let problem = error.map(|error| format!("{error:#}"));
                let still = Docker::running(&self.root).is_some();
                self.report
                    .borrow_mut()
                    .problem("docker", problem.filter(|_| still));
            }
            sleep(LOOK).await;
        }
    }

    async fn ask_docker(
        &self,
        docker: &Docker,
        found: &watch::Sender<Vec<Container>>,
    ) -> Result<()> {
        let mut events = Events::follow(docker).await?;
        loop {
            let now = containers(docker).await?;
            self.report.borrow_mut().problem("docker", None);
            found.send_if_modified(|before| {
                let is_news = *before != now;
                *before = now;
                is_news
            });
            events.next().await?;
            sleep(TOGETHER).await;
        }
    }
}

/// What has ended well is no longer to be reached.
fn is_running(active: Active, sub: &str) -> bool {
    match active {
        Active::Active => sub == "running",
        Active::Reloading | Active::Refreshing => true,
        _ => false,
    }
}

/// Networks of containers, of those with names too. In the overlay the machine is at the first address of its subnet, where there is a tunnel.
fn machine_of(root: &Root, address: Option<IpAddr>) -> Machine {
    let status = |which: &Which| Status::load(root, which).ok().flatten();
    let subnets = |status: &Status| {
        let subnets = status.subnets.into_iter();
        let both = subnets.flat_map(|subnets| [subnets.v4, subnets.v6]);
        both.flatten().collect::<Vec<Cidr>>()
    };
    let own = status(&Which::Default);
    let mut networks = own.as_ref().map(subnets).unwrap_or_default();
    let has_tunnel = own.is_some_and(|status| !status.devices.is_empty());
    let addresses = match has_tunnel && !networks.is_empty() {
        true => networks.iter().map(|subnet| subnet.address()).collect(),
        false => address.into_iter().collect(),
    };
    for entry in root.list(NAMED) {
        let name = entry.to_str().and_then(|name| name.strip_suffix(".json"));
        let name = name.and_then(|name| name.parse().ok());
        let named = name.and_then(|name| status(&Which::Named(name)));
        networks.extend(named.as_ref().map(subnets).unwrap_or_default());
    }
    Machine {
        addresses,
        networks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::lease::Subnets;

    #[test]
    fn a_unit_is_there_to_be_asked_while_it_runs() {
        let cases = [
            (Active::Active, "running", true),
            (Active::Active, "exited", false),
            (Active::Reloading, "reload", true),
            (Active::Activating, "start-post", false),
            (Active::Failed, "failed", false),
        ];
        for (active, sub, expected) in cases {
            assert_eq!(is_running(active, sub), expected, "{active:?} {sub}");
        }
    }

    #[test]
    fn the_machine_is_in_the_overlay_where_there_is_a_tunnel() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let address: IpAddr = "192.168.7.1".parse().expect("address");
        let plain = Machine {
            addresses: vec![address],
            networks: Vec::new(),
        };
        assert_eq!(machine_of(&root, Some(address)), plain);
        let subnet = "10.5.3.0/24".parse().expect("subnet");
        let mut status = Status {
            subnets: Some(Subnets {
                v4: Some(subnet),
                v6: None,
            }),
            ..Status::default()
        };
        status.save(&root, &Which::Default).expect("saved");
        let by_routes = Machine {
            networks: vec![subnet],
            ..plain
        };
        assert_eq!(machine_of(&root, Some(address)), by_routes, "host-gw");
        status.devices = vec!["flannel.1".to_string()];
        status.save(&root, &Which::Default).expect("saved");
        let addresses = vec![subnet.address()];
        assert_eq!(machine_of(&root, Some(address)).addresses, addresses);
        let other = "10.6.3.0/24".parse().expect("subnet");
        let subnets = Some(Subnets {
            v4: Some(other),
            v6: None,
        });
        let named = Status {
            subnets,
            ..Status::default()
        };
        let name = Which::Named("db".parse().expect("name"));
        named.save(&root, &name).expect("saved");
        let machine = machine_of(&root, Some(address));
        assert_eq!(
            (machine.addresses, machine.networks),
            (addresses, vec![subnet, other])
        );
    }
}

//! Joining the network: a lease is held, the devices are made, and runtimes and people are told.
//! Tried until it works.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::{Joined, Runtimes, Service};
use crate::overlay::cidr::Family;
use crate::overlay::client::{Held, Origin};
use crate::overlay::config::{Backend, Config};
use crate::overlay::desired::Own;
use crate::overlay::kernel::{Kernel, Place, Uplink};
use crate::overlay::lease::{Lease, Subnets};
use crate::overlay::named::Which;
use crate::overlay::place::{self, Identity};
use crate::overlay::probe::Responder;
use crate::overlay::record::Record;
use crate::overlay::report::State;
use crate::overlay::wire;
use crate::store::Store;
use crate::update::clock;

impl<S: Store, K: Kernel, R: Runtimes> Service<S, K, R> {
    pub(super) async fn join(&mut self, first: bool) -> Joined {
        self.report.status.state = State::Joining;
        if first && let Err(error) = self.begin_with_what_is_remembered() {
            self.report.say(&format!(
                "not beginning with the subnet of before: {error:#}"
            ));
        }
        let mut tries = 0;
        loop {
            let error = match self.try_join().await {
                Ok(joined) => {
                    self.report.problem("joining", None);
                    return joined;
                }
                Err(error) => error,
            };
            self.report.problem("joining", Some(format!("{error:#}")));
            self.write_report();
            if self.which != Which::Default {
                // Whoever waits for it would wait for what another one may have spoilt.
                self.shared.settle(&self.which);
            }
            tokio::time::sleep(self.pace.retry(tries)).await;
            tries += 1;
        }
    }

    /// Containers can have their addresses before the store answers, while nobody else can have
    /// the subnet.
    fn begin_with_what_is_remembered(&mut self) -> Result<()> {
        let Some(record) = Record::load(&self.root, &self.which.record(), &self.settings.prefix)
        else {
            return Ok(());
        };
        if !record.is_surely_held(clock()) {
            return Ok(());
        }
        let config = self.client.parse_config(record.config.as_bytes())?;
        self.shared.claim(&self.which, &config)?;
        let uplink = self.uplink()?;
        let lease = self.offer(&config, &uplink, record.subnets)?;
        self.set_up(&config, &uplink, &lease)?;
        self.report.status.state = State::Remembered;
        self.hold_rules(&config, &lease);
        self.tell(&config, &lease, &uplink)?;
        self.report.say(&format!(
            "beginning with {}, leased before; asking the store",
            record.subnets
        ));
        self.write_report();
        self.shared.settle(&self.which);
        Ok(())
    }

    fn uplink(&mut self) -> Result<Uplink> {
        let choice = self.settings.choice(self.towards);
        let uplink = self.kernel.uplink(&choice)?;
        uplink.with_context(|| {
            let name = self.settings.interface.as_deref();
            let name = name.unwrap_or("an interface towards the cluster");
            format!("waiting for {name}: it is not there, not up or has no address")
        })
    }

    fn offer(&mut self, config: &Config, uplink: &Uplink, before: Subnets) -> Result<Lease> {
        if self.key.is_none() && matches!(config.backend, Backend::Wireguard(_)) {
            let key = wire::load_or_make(&self.root);
            self.key = Some(key.context("this machine's key of wireguard")?);
        }
        let identity = Identity {
            machine: &self.machine,
            public: self.settings.public_address,
            key: self.key,
        };
        Ok(place::offer(config, identity, uplink, before)?)
    }

    async fn try_join(&mut self) -> Result<Joined> {
        let uplink = self.uplink()?;
        let config_text = self.config_text().await?;
        let config = self.client.parse_config(&config_text)?;
        self.shared.claim(&self.which, &config)?;
        for note in &config.notes {
            let key = self.client.config_key();
            self.report.say(&format!("{key}: {note}"));
        }
        let record = Record::load(&self.root, &self.which.record(), &self.settings.prefix);
        let none = Subnets { v4: None, v6: None };
        let before = record.as_ref().map_or(none, |record| record.subnets);
        let offer = self.offer(&config, &uplink, before)?;
        self.client.avoided = place::avoided(&config, &uplink);
        let acquired = self.client.acquire(&config, &offer, &mut chance).await;
        let held = acquired.context("leasing a subnet")?;
        self.tell_origin(&held);
        let place = self.set_up(&config, &uplink, &held.lease)?;
        let tunnels = place::tunnels(&config, &held.lease, &uplink, self.key);
        let devices: Vec<String> = tunnels.iter().map(|one| one.name.clone()).collect();
        self.remove_devices(record.as_ref(), &devices)?;
        self.remember(&config_text, held.lease.subnets, devices);
        let snapshot = self.client.snapshot().await?;
        for entry in self.client.leftovers(&snapshot.leases, &held) {
            self.report
                .say(&format!("giving {} up: it is of before", entry.key));
            self.client.give_up(entry).await?;
        }
        self.hold_rules(&config, &held.lease);
        self.tell(&config, &held.lease, &uplink)?;
        self.report.status.state = State::Joined;
        self.figures.join();
        self.report.status.reserved = held.origin == Origin::Reserved;
        self.write_report();
        self.shared.settle(&self.which);
        match &self.which {
            Which::Default if self.outdated => {
                let restarted = self.runtimes.restart().await;
                restarted.context("restarting what runs containers, for another subnet")?;
                self.outdated = false;
            }
            Which::Default => {}
            Which::Named(_) => self.tell_docker().await,
        }
        Ok(Joined {
            doors: self.open_doors(&config).await,
            responder: Responder::default(),
            peers: BTreeSet::new(),
            own: Own {
                lease: held.lease.clone(),
                links: uplink.addresses.iter().map(|(_, link)| *link).collect(),
            },
            config,
            config_text,
            uplink,
            held,
            tunnels,
            place,
        })
    }

    /// The network's config; written first where there is none and this machine knows one.
    async fn config_text(&self) -> Result<Vec<u8>> {
        if let Some(text) = self.client.snapshot().await?.config {
            return Ok(text);
        }
        let key = self.client.config_key();
        let Some(network) = &self.settings.network else {
            anyhow::bail!("{key} is missing: `strake overlay init` writes it");
        };
        let text = network.to_string().into_bytes();
        self.client.parse_config(&text).context("strake.overlay")?;
        if self.client.write_config(&text).await? {
            self.report
                .say(&format!("{key} was missing: wrote it from strake.overlay"));
        }
        let written = self.client.snapshot().await?.config;
        written.with_context(|| format!("{key} is gone again"))
    }

    fn tell_origin(&self, held: &Held) {
        let subnets = held.lease.subnets;
        let line = match &held.origin {
            Origin::Kept => format!("holding {subnets}, leased before"),
            Origin::Reserved => format!("holding {subnets}, reserved for this machine"),
            Origin::Again => format!("leased {subnets}, the subnet of before"),
            Origin::New => format!("leased {subnets}"),
            Origin::Moved(before) => format!(
                "moving to {subnets}: {before} was given to another machine meanwhile; containers \
                 started before must be started again"
            ),
        };
        self.report.say(&line);
    }

    /// The devices are there, up and addressed afterwards.
    fn set_up(&mut self, config: &Config, uplink: &Uplink, lease: &Lease) -> Result<Place> {
        for (family, _) in config.families() {
            forward(family)?;
        }
        let mut place = Place {
            networks: config.networks(),
            uplink: uplink.index,
            tunnels: Vec::new(),
            known: place::known(config),
        };
        for tunnel in place::tunnels(config, lease, uplink, self.key) {
            let index = self.make_tunnel(&tunnel)?;
            let families = tunnel.families();
            place.tunnels.extend(families.map(|family| (family, index)));
        }
        Ok(place)
    }

    /// Devices that an earlier config of the network needed.
    fn remove_devices(&mut self, record: Option<&Record>, devices: &[String]) -> Result<()> {
        let before = record.map_or(&[][..], |record| &record.devices);
        for name in before.iter().filter(|name| !devices.contains(name)) {
            if self.kernel.remove_tunnel(name)? {
                self.report
                    .say(&format!("removed {name}: the network no longer has it"));
            }
        }
        Ok(())
    }
}

/// Packets of containers are forwarded; docker, which would turn it on, would also begin to drop
/// all that is not its own.
fn forward(family: Family) -> Result<()> {
    let path = match family {
        Family::V4 => "/proc/sys/net/ipv4/ip_forward",
        Family::V6 => "/proc/sys/net/ipv6/conf/all/forwarding",
    };
    let now = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    if now.trim() != "1" {
        std::fs::write(path, "1").with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

fn chance() -> u128 {
    let mut bytes = [0; 16];
    // Without chance machines that join at once only race more often.
    let _ = getrandom::fill(&mut bytes);
    u128::from_ne_bytes(bytes)
}

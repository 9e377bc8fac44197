//! `strake overlay run`: joins the network and keeps the kernel as the leases say, in one task.
//!
//! Joining is tried until it works; holding goes on until the lease, the network's config or the
//! uplink is another one, and then the machine joins anew. What the kernel has stays as it is
//! through all of it: only a list of leases, read whole, ever removes an entry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind::NotFound;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::cidr::Family;
use super::client::{Client, Held, Origin};
use super::config::{Backend, Config};
use super::desired::Own;
use super::docker::Spec;
use super::figures::Figures;
use super::kernel::{Kernel, Made, Place, Tunnel, Uplink};
use super::lease::{Lease, Subnets};
use super::named::{Name, Which};
use super::place::{self, Identity};
use super::probe::Responder;
use super::record::Record;
use super::report::{Report, State};
use super::rules::Part;
use super::runtime::{self, Told};
use super::settings::Settings;
use super::shared::Shared;
use super::wire::{self, Secret};
use crate::apply::write::write;
use crate::names::settings as names;
use crate::root::Root;
use crate::store::Store;
use crate::update::clock;

/// How often what is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    pub ttl: Duration,
    /// Between two comparisons of the kernel with the leases.
    pub compare: Duration,
    /// Between two tries of what has failed: at first, and at most.
    pub again: (Duration, Duration),
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            ttl: super::client::TTL,
            compare: Duration::from_secs(10),
            again: (Duration::from_secs(1), Duration::from_secs(15)),
        }
    }
}

impl Pace {
    pub(super) fn renew(&self) -> Duration {
        (self.ttl / 3).min(Duration::from_secs(60 * 60))
    }

    pub(super) fn renew_again(&self) -> Duration {
        (self.ttl / 10).min(Duration::from_secs(60))
    }

    pub(super) fn retry(&self, tries: u32) -> Duration {
        let (first, most) = self.again;
        first.saturating_mul(1 << tries.min(16)).min(most)
    }
}

/// Who wants to know that files of the container runtimes are other ones.
#[allow(async_fn_in_trait, reason = "used in this crate only, on one thread")]
pub trait Runtimes {
    /// The subnet is another one while containers may be running.
    async fn restart(&self) -> Result<()>;

    /// docker, if it runs, has this network with a name; whether it had to be made.
    async fn network(&self, name: &Name, spec: &Spec) -> Result<bool>;
}

#[derive(Debug)]
pub struct Service<S, K, R> {
    pub root: Root,
    pub which: Which,
    pub shared: Rc<Shared>,
    pub settings: Settings,
    pub machine: String,
    /// From where this machine reaches its cluster, if that is known.
    pub towards: Option<IpAddr>,
    pub pace: Pace,
    pub client: Client<S>,
    pub kernel: K,
    pub runtimes: R,
    pub report: Report,
    /// What the container runtimes were told last.
    pub told: Option<Told>,
    /// docker may still run with what it was told before that.
    pub outdated: bool,
    pub figures: Figures,
    /// This machine's of wireguard, once it has needed one.
    pub key: Option<Secret>,
}

/// The network as this machine takes part in it.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) config: Config,
    pub(super) config_text: Vec<u8>,
    pub(super) uplink: Uplink,
    pub(super) held: Held,
    pub(super) own: Own,
    pub(super) tunnels: Vec<Tunnel>,
    pub(super) place: Place,
    /// Where peers' checks are answered.
    pub(super) doors: Vec<UdpSocket>,
    pub(super) responder: Responder,
    /// The tunnel's addresses of machines with a lease.
    pub(super) peers: BTreeSet<IpAddr>,
}

impl<S: Store, K: Kernel, R: Runtimes> Service<S, K, R> {
    pub async fn run(&mut self) -> Result<()> {
        let mut first = true;
        loop {
            let joined = self.join(std::mem::take(&mut first)).await;
            let why = self.hold(joined).await;
            self.report.say(&format!("{why}: joining anew"));
        }
    }

    async fn join(&mut self, first: bool) -> Joined {
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

    pub(super) fn write_report(&mut self) {
        self.report.write(&self.root);
        self.figures.tell(&self.report.status);
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

    pub(super) fn make_tunnel(&mut self, tunnel: &Tunnel) -> Result<u32> {
        let (index, made) = self.kernel.make_tunnel(tunnel)?;
        let name = &tunnel.name;
        match made {
            Made::Kept => {}
            Made::Adapted => self
                .report
                .say(&format!("{name} brought to what it should be")),
            Made::Created => self.report.say(&format!("made {name}")),
            Made::Recreated => self
                .report
                .say(&format!("made {name} anew: it was another")),
        }
        Ok(index)
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

    /// The masquerading table is there and ours, whoever flushed or changed what meanwhile.
    pub(super) fn hold_rules(&mut self, config: &Config, lease: &Lease) {
        let part = Part {
            config: config.clone(),
            subnets: lease.subnets,
            masquerade: self.settings.masquerade,
        };
        let held = self.shared.hold_rules(&self.which, part, &mut self.kernel);
        let problem = match held {
            Ok(()) => None,
            // Without the program there are no rules of ours either.
            Err(error) if !self.settings.masquerade && error.kind() == NotFound => None,
            Err(error) => Some(chain(&error)),
        };
        self.report.problem("masquerade", problem);
    }

    /// A record that cannot be written costs the subnet after a long absence, and nothing now.
    pub(super) fn remember(&mut self, config: &[u8], subnets: Subnets, devices: Vec<String>) {
        let now = clock();
        self.report.status.lease_renewed = Some(now);
        let record = Record {
            prefix: self.settings.prefix.clone(),
            config: String::from_utf8_lossy(config).into_owned(),
            subnets,
            renewed: now,
            ttl: self.pace.ttl.as_secs(),
            devices,
        };
        let saved = record.save(&self.root, &self.which.record());
        let problem = saved.err().map(|error| error.to_string());
        self.report.problem("remembering the subnet", problem);
    }

    /// Writes what container runtimes read.
    fn tell(&mut self, config: &Config, lease: &Lease, uplink: &Uplink) -> Result<()> {
        let told = Told {
            which: self.which.clone(),
            config: config.clone(),
            subnets: lease.subnets,
            mtu: place::mtu(config, uplink),
            masquerade: self.settings.masquerade,
            resolver: names::Settings::load(&self.root)?.map(|names| names.listen.ip()),
        };
        let files = told.files(&self.settings.subnet_file);
        // Of this boot: nothing is there when docker has not been told anything yet.
        let before = self.root.read_optional(runtime::DOCKER);
        let before = before.context("reading what docker was told before")?;
        self.outdated |= before.is_some_and(|before| before != told.docker_env());
        write(&self.root, &files).context("writing what container runtimes read")?;
        let status = &mut self.report.status;
        status.backend = Some(config.backend.name().to_string());
        status.networks = config.networks();
        status.subnets = Some(lease.subnets);
        status.uplink = Some(uplink.name.clone());
        status.mtu = Some(told.mtu);
        status.public_addresses = public_addresses(lease);
        let tunnels = place::tunnels(config, lease, uplink, self.key);
        status.devices = tunnels.into_iter().map(|one| one.name).collect();
        status.doors = place::doors(config, lease, uplink);
        status.overhead = Some(place::overhead(config));
        self.told = Some(told);
        Ok(())
    }
}

pub(super) fn public_addresses(lease: &Lease) -> Vec<String> {
    let both = [Family::V4, Family::V6].into_iter();
    let addresses = both.filter_map(|family| lease.public(family));
    addresses.map(|address| address.to_string()).collect()
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

/// Leases of others as they are in the store, those that cannot be read with the reason.
pub(super) type Leases = BTreeMap<String, Result<Lease, super::lease::Wrong>>;

/// When something is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due(pub(super) Instant);

impl Due {
    pub(super) fn after(wait: Duration) -> Due {
        Due(Instant::now() + wait)
    }
}

/// An error with all that caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text += &format!(": {inner}");
        source = inner.source();
    }
    text
}

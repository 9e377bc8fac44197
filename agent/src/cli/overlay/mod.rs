//! `strake overlay ...`

mod check;
mod docker;
mod peers;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::task::JoinSet;

use super::RootArg;
use super::output::{Output, columns, print};
use super::runtime::on_one_thread;
use crate::exit::Exit;
use crate::metrics::{self, Registry};
use crate::overlay::client::Client;
use crate::overlay::config::Config;
use crate::overlay::figures::Figures;
use crate::overlay::kernel::{Counters, Kernel};
use crate::overlay::named::{Name, Networks, Which};
use crate::overlay::netlink::{Connection, Netlink};
use crate::overlay::notify;
use crate::overlay::report::{Report, Status};
use crate::overlay::restart::{Nobody, Systemd};
use crate::overlay::service::{Pace, Runtimes, Service};
use crate::overlay::settings::Settings;
use crate::overlay::shared::Shared;
use crate::root::Root;
use crate::scheduler::facts::machine_id;
use crate::scheduler::service::{address_towards_cluster, until_certified, until_renewed};
use crate::store::etcd::Etcd;
use crate::update::clock;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Hold this machine's place in the overlay network (run by strake-overlay.service)
    ///
    /// Settings are /etc/strake/overlay.json, as strake.overlay makes it, and before them flannel's
    /// own variables (FLANNELD_IFACE, FLANNELD_PUBLIC_IP, FLANNELD_ETCD_PREFIX, ...). The store is
    /// found as for every service: /etc/strake/etcd.json.
    Run {
        #[command(flatten)]
        root: RootArg,
        /// How long the lease outlives this machine, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 86400,
              value_parser = clap::value_parser!(u64).range(5..=31_536_000))]
        lease_ttl: u64,
    },
    /// Write the network's config into the store. Exit code 3: there is one already
    Init(Init),
    /// Give docker the networks with names (run by docker.service). Exit code 3: there are none, or
    /// docker does not run
    Docker {
        #[command(flatten)]
        root: RootArg,
    },
    /// Ask every peer through the tunnel, both ways and with packets of full size, and name what is
    /// wrong. Exit code 1: something is; 3: there is nobody to ask
    Check {
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: Output,
    },
    /// Backend, subnet, peers and what is wrong
    Status {
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(flatten)]
    root: RootArg,
    /// The config as JSON; strake.overlay's when it is left out
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
}

pub(super) fn run(command: Command) -> Result<Exit> {
    match command {
        Command::Run { root, lease_ttl } => {
            let root = root.root();
            let ttl = Duration::from_secs(lease_ttl);
            let tasks = tokio::task::LocalSet::new();
            on_one_thread(tasks.run_until(async {
                match root.is_machine() {
                    true => serve(root, ttl, Systemd).await,
                    false => serve(root, ttl, Nobody).await,
                }
            }))??;
            Ok(Exit::Done)
        }
        Command::Init(init) => on_one_thread(init.run())?,
        Command::Docker { root } => docker::run(&root.root()),
        Command::Check { root, output } => check::run(&root.root(), output),
        Command::Status { root, output } => status(&root.root(), output),
    }
}

fn settings(root: &Root) -> Result<Settings> {
    Settings::read(root, |name| std::env::var(name).ok())
}

/// Ends when the machine has a new certificate: the next start uses it.
async fn serve(root: Root, ttl: Duration, runtimes: impl Runtimes + Copy + 'static) -> Result<()> {
    if std::env::var_os("FLANNELD_ETCD_ENDPOINTS").is_none_or(|value| value.is_empty()) {
        until_certified(&root).await;
    }
    let settings = settings(&root)?;
    let (own_root, etcd) = (root.clone(), settings.etcd.clone());
    let store = Etcd::connect(&settings.etcd).await?;
    let registry = Registry::default();
    let machine = machine_id(&root)?.to_string();
    let networks = Networks::read(&settings.networks);
    let named = networks
        .all
        .iter()
        .map(|(name, _)| Which::Named(name.clone()));
    let all = named.chain([Which::Default]);
    let shared = Rc::new(Shared::new(all, networks.allowed));
    let service = |which: Which, network, registry: &Registry| -> Result<_> {
        let settings = settings.of(&which, network);
        Ok(Service {
            machine: machine.clone(),
            towards: address_towards_cluster(&root),
            pace: Pace {
                ttl,
                ..Pace::default()
            },
            client: Client::new(store.clone(), &settings.prefix, ttl),
            kernel: Netlink::open()?,
            runtimes,
            report: Report::new(which.clone()),
            told: None,
            figures: Figures::new(registry),
            key: None,
            root: root.clone(),
            shared: shared.clone(),
            which,
            settings,
        })
    };
    let mut own = service(Which::Default, settings.network.clone(), &registry)?;
    for (name, problem) in networks.problems {
        own.report
            .problem(&format!("network {name}"), Some(problem));
    }
    let mut named = JoinSet::new();
    for (name, network) in networks.all {
        // Figures are of the network without a name.
        let mut service = service(Which::Named(name), network, &Registry::default())?;
        let shared = shared.clone();
        named.spawn_local(async move {
            shared.turn_of_named().await;
            service.run().await
        });
    }
    let ready = async {
        shared.settled().await;
        notify::ready().context("telling systemd")?;
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        ended = own.run() => ended,
        ended = ready => ended,
        Some(ended) = named.join_next() => ended.context("holding a network with a name")?,
        never = metrics::offer(&own_root, "overlay", &registry) => never,
        () = until_renewed(&own_root, &etcd) => {
            eprintln!("the machine has another certificate: beginning anew with it");
            Ok(())
        }
    }
}

impl Init {
    async fn run(self) -> Result<Exit> {
        let root = self.root.root();
        let settings = settings(&root)?;
        let text = match (&self.config, &settings.network) {
            (Some(text), _) => text.clone(),
            (None, Some(network)) => network.to_string(),
            (None, None) => {
                eprintln!("strake: neither --config nor strake.overlay says what to write");
                return Ok(Exit::BadInput);
            }
        };
        let config = match Config::parse(text.as_bytes()) {
            Ok(config) => config,
            Err(problems) => {
                for problem in problems.0 {
                    eprintln!("strake: error: {problem}");
                }
                return Ok(Exit::BadInput);
            }
        };
        let store = Etcd::connect(&settings.etcd).await?;
        let client = Client::new(store, &settings.prefix, Pace::default().ttl);
        let written = client.write_config(text.as_bytes()).await;
        if !written.context("writing the network's config")? {
            eprintln!("{} exists already", client.config_key());
            return Ok(Exit::NothingToDo);
        }
        print(&format!("wrote {}\n{}", client.config_key(), room(&config)));
        Ok(Exit::Done)
    }
}

/// How many machines fit.
fn room(config: &Config) -> String {
    let notes = config.notes.iter().map(|note| format!("note: {note}\n"));
    let lines = config.families().map(|(_, ranges)| {
        format!(
            "{}: {} subnets of /{}, from {} to {}\n",
            ranges.network,
            ranges.most().saturating_add(1),
            ranges.length(),
            ranges.first,
            ranges.last
        )
    });
    lines.chain(notes).collect()
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    status: Status,
    /// By device.
    counters: Vec<(String, Counters)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wireguard: Vec<Connection>,
    /// Networks with names.
    named: BTreeMap<Name, Status>,
}

/// Nothing where the service has told nothing, which is said.
fn load(root: &Root) -> Result<Option<Status>> {
    let status = Status::load(root, &Which::Default).context("reading the service's status")?;
    if status.is_none() {
        eprintln!(
            "strake: the overlay network is not in use here: strake-overlay.service has told nothing since the boot"
        );
    }
    Ok(status)
}

fn status(root: &Root, output: Output) -> Result<Exit> {
    let Some(status) = load(root)? else {
        return Ok(Exit::NothingToDo);
    };
    let mut counters = Vec::new();
    let mut wireguard = Vec::new();
    // Without them the rest is worth showing.
    if let Ok(mut netlink) = Netlink::open() {
        for device in &status.devices {
            if let Ok(Some(found)) = netlink.counters(device) {
                counters.push((device.clone(), found));
            }
            if status.backend.as_deref() == Some("wireguard") {
                let found = netlink.connections(device);
                wireguard.extend(found.unwrap_or_default());
            }
        }
    }
    let mut named = BTreeMap::new();
    for (name, _) in Networks::read(&settings(root)?.networks).all {
        let found = Status::load(root, &Which::Named(name.clone()));
        if let Some(found) = found.with_context(|| format!("reading the status of {name}"))? {
            named.insert(name, found);
        }
    }
    let shown = Shown {
        status,
        counters,
        wireguard,
        named,
    };
    output.print(&shown, || table(&shown))?;
    Ok(Exit::Done)
}

fn table(shown: &Shown) -> String {
    let status = &shown.status;
    let dash = || "-".to_string();
    let joined = |all: &[String]| match all.is_empty() {
        true => dash(),
        false => all.join(", "),
    };
    let networks: Vec<String> = status.networks.iter().map(|one| one.to_string()).collect();
    let mut rows = vec![
        ("state", status.state.word().to_string()),
        ("backend", status.backend.clone().unwrap_or_else(dash)),
        ("network", joined(&networks)),
        (
            "subnet",
            match (&status.subnets, status.reserved) {
                (Some(subnets), true) => format!("{subnets} (reserved)"),
                (Some(subnets), false) => subnets.to_string(),
                (None, _) => dash(),
            },
        ),
        ("address", joined(&status.public_addresses)),
        ("uplink", status.uplink.clone().unwrap_or_else(dash)),
        (
            "mtu",
            status.mtu.map_or_else(dash, |mtu| format!("{mtu} bytes")),
        ),
        (
            "renewed",
            status.lease_renewed.map_or_else(dash, |at| at.to_string()),
        ),
    ];
    for (device, count) in &shown.counters {
        let line = format!(
            "{device}: {} packets in, {} out; dropped {} in, {} out; errors {} in, {} out",
            count.received_packets,
            count.sent_packets,
            count.receive_drops,
            count.send_drops,
            count.receive_errors,
            count.send_errors
        );
        rows.push(("device", line));
    }
    for (subject, problem) in &status.problems {
        rows.push(("problem", format!("{subject}: {problem}")));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_string(), value])
        .collect();
    let mut text = columns(&rows);
    if !shown.named.is_empty() {
        text += &format!("\n{}", of_named(&shown.named));
    }
    if !status.peers.is_empty() {
        text += &format!("\n{}", peers::table(status, &shown.wireguard, clock()));
    }
    text
}

fn of_named(named: &BTreeMap<Name, Status>) -> String {
    let head = ["NETWORK", "STATE", "BACKEND", "SUBNET", "PEERS", "PROBLEMS"].map(str::to_string);
    let mut rows = vec![head.to_vec()];
    rows.extend(named.iter().map(|(name, status)| {
        let subnet = status.subnets.as_ref().map(ToString::to_string);
        let problems = status.problems.iter();
        let problems: Vec<String> = problems.map(|(of, text)| format!("{of}: {text}")).collect();
        vec![
            name.to_string(),
            status.state.word().to_string(),
            status.backend.clone().unwrap_or("-".to_string()),
            subnet.unwrap_or("-".to_string()),
            status.peers.len().to_string(),
            problems.join("; "),
        ]
    }));
    columns(&rows)
}

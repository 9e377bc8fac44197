//! `strake overlay ...`

mod check;
mod docker;
mod peers;
mod status;

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use tokio::task::JoinSet;

use super::RootArg;
use super::output::{Output, print};
use super::runtime::on_one_thread;
use crate::exit::Exit;
use crate::metrics::{self, Registry};
use crate::overlay::client::Client;
use crate::overlay::config::Config;
use crate::overlay::figures::Figures;
use crate::overlay::named::{Clash, Networks, Which, clash, possible};
use crate::overlay::netlink::Netlink;
use crate::overlay::notify;
use crate::overlay::report::Report;
use crate::overlay::restart::{Nobody, Systemd};
use crate::overlay::service::{Pace, Runtimes, Service};
use crate::overlay::settings::Settings;
use crate::overlay::shared::Shared;
use crate::root::Root;
use crate::scheduler::facts::machine_id;
use crate::scheduler::service::{address_towards_cluster, until_certified, until_renewed};
use crate::store::etcd::Etcd;

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
    /// Ask every peer of every network, both ways and with packets of full size, and name what is
    /// wrong. Exit code 1: something is; 3: there is nobody to ask
    Check {
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: Output,
        /// Of this network only: a name, or default; all of this machine's when it is left out
        #[arg(long, value_name = "NAME")]
        network: Option<Which>,
    },
    /// Backend, subnet, peers and what is wrong
    Status {
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: Output,
        /// The network to show in full
        #[arg(long, value_name = "NAME", default_value = "default")]
        network: Which,
    },
}

#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(flatten)]
    root: RootArg,
    /// The config as JSON; strake.overlay's when it is left out
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// The network to write it for
    #[arg(long, value_name = "NAME", default_value = "default")]
    network: Which,
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
        Command::Check {
            root,
            output,
            network,
        } => check::run(&root.root(), output, network.as_ref()),
        Command::Status {
            root,
            output,
            network,
        } => status::run(&root.root(), output, &network),
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
    let service = |which: Which, network| -> Result<_> {
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
            outdated: false,
            figures: Figures::new(&registry, &which.to_string()),
            key: None,
            root: root.clone(),
            shared: shared.clone(),
            which,
            settings,
        })
    };
    let mut own = service(Which::Default, settings.network.clone())?;
    for (name, problem) in networks.problems {
        own.report
            .problem(&format!("network {name}"), Some(problem));
    }
    let mut named = JoinSet::new();
    for (name, network) in networks.all {
        let mut service = service(Which::Named(name), network)?;
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
        let known = match &self.network {
            Which::Default => settings.network.clone(),
            Which::Named(name) => {
                let mut all = Networks::read(&settings.networks).all.into_iter();
                all.find(|(one, _)| one == name)
                    .and_then(|(_, network)| network)
            }
        };
        let text = match (&self.config, known) {
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
        if let Some(clash) = in_the_way(&self.network, &config, &settings) {
            eprintln!("strake: error: the network {}: {clash}", self.network);
            return Ok(Exit::BadInput);
        }
        let store = Etcd::connect(&settings.etcd).await?;
        let prefix = self.network.prefix(&settings.prefix);
        let client = Client::new(store, &prefix, Pace::default().ttl);
        let written = client.write_config(text.as_bytes()).await;
        if !written.context("writing the network's config")? {
            eprintln!("{} exists already", client.config_key());
            return Ok(Exit::NothingToDo);
        }
        print(&format!("wrote {}\n{}", client.config_key(), room(&config)));
        Ok(Exit::Done)
    }
}

/// Beside networks that `strake.overlay` names.
fn in_the_way(which: &Which, config: &Config, settings: &Settings) -> Option<Clash> {
    let named = Networks::read(&settings.networks).all.into_iter();
    let named = named.map(|(name, network)| (Which::Named(name), network));
    let all = named.chain([(Which::Default, settings.network.clone())]);
    let others: Vec<(Which, Config)> = all
        .filter(|(other, _)| other != which)
        .filter_map(|(other, network)| {
            let config = Config::parse(network?.to_string().as_bytes());
            Some((other, config.ok()?))
        })
        .collect();
    let others = others.iter().map(|(other, config)| (other, config));
    possible(which, config)
        .err()
        .or_else(|| clash(config, others))
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

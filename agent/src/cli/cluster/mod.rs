//! `strake cluster ...`

mod authority;
mod backup;
mod certificate;
mod init;
mod machines;
mod members;
mod secret;
mod status;
mod user;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, Subcommand};

use super::output::Output;
use super::runtime::on_one_thread;
use crate::cluster::backup::Founders;
use crate::cluster::clock::Clock;
use crate::cluster::identity::{self, Identity};
use crate::cluster::place::Place;
use crate::cluster::settings::Settings;
use crate::cluster::store::Store;
use crate::cluster::{run, upkeep};
use crate::exit::Exit;
use crate::root::Root;
use crate::systemd::bus::Bus;

/// For one member's answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an authority and a join secret, and print the part of the cloud-config for them
    Init(init::Init),
    /// Get and renew this machine's certificate; on a member, run etcd and let machines in (run by
    /// strake-cluster.service)
    Run,
    /// The store's members with leader, lag, size, alarms and certificates, then machines,
    /// releases and who may reboot; exit code 1 when no majority answers
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Change which seeds take part
    #[command(subcommand)]
    Members(members::Command),
    /// Join secrets that members accept
    #[command(subcommand)]
    Secret(secret::Command),
    /// The authority that all certificates are of, and a new one in its place
    #[command(subcommand)]
    Authority(authority::Command),
    /// Certificates of machines, and machines that were lost or stolen
    #[command(subcommand)]
    Certificate(certificate::Command),
    /// Who may use fleet's API over TCP
    #[command(subcommand)]
    User(user::Command),
    /// Write a consistent copy of the whole store to a file
    Backup { file: PathBuf },
    /// Make this member's data anew from a backup; see docs/cluster.md for the order of steps
    Restore {
        file: PathBuf,
        /// As a cluster of this member alone, which takes the others in when they come empty
        #[arg(long)]
        alone: bool,
        #[command(flatten)]
        at: At,
    },
    /// Set this member's data aside, so that it comes back empty
    Discard {
        #[command(flatten)]
        at: At,
    },
    /// Give back the room of deleted revisions, one member after the other
    Defragment {
        /// Only this member
        member: Option<IpAddr>,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct At {
    /// The member's address, where it is none of this machine's
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
}

impl At {
    fn place(&self, root: Root) -> Place {
        Place {
            root,
            addresses: self.address.map(|address| vec![address]),
            ..Place::of_machine()
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Cluster {
    /// Work as the machine whose tree is below this directory
    #[arg(long, value_name = "DIR", default_value = "/", global = true)]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

impl Cluster {
    pub(super) fn run(self) -> Result<Exit> {
        let root = Root::new(&self.root);
        let of_this_machine = matches!(self.command, Command::Run | Command::User(_));
        if of_this_machine && !root.is_machine() {
            eprintln!("strake: error: this works on the running machine only, without --root");
            return Ok(Exit::BadInput);
        }
        match self.command {
            Command::Init(init) => init.run(),
            Command::Run => on_one_thread(async {
                let bus = Bus::system().await.context("reaching systemd")?;
                run::run(&Place::of_machine(), &bus).await?;
                Ok(Exit::Done)
            })?,
            Command::Status { output } => on_one_thread(status::run(&root, output))?,
            Command::Members(command) => on_one_thread(members::run(&root, command))?,
            Command::Secret(command) => on_one_thread(secret::run(&root, command))?,
            Command::Authority(command) => on_one_thread(authority::run(&root, command))?,
            Command::Certificate(command) => on_one_thread(certificate::run(&root, command))?,
            Command::User(command) => on_one_thread(user::run(command))?,
            Command::Backup { file } => on_one_thread(backup::backup(&root, &file))?,
            Command::Restore { file, alone, at } => {
                let founders = match alone {
                    true => Founders::Alone,
                    false => Founders::All,
                };
                on_one_thread(backup::restore(&at.place(root), &file, founders))?
            }
            Command::Discard { at } => on_one_thread(backup::discard(&at.place(root)))?,
            Command::Defragment { member } => on_one_thread(defragment(&root, member))?,
        }
    }
}

/// What a command at the store needs.
struct Access {
    settings: Settings,
    identity: Identity,
    clock: Clock,
}

impl Access {
    fn load(root: &Root) -> Result<Access> {
        let settings = Settings::load(root)?;
        let identity = Identity::load(root, &settings).ok_or_else(|| {
            let known = identity::trouble(root);
            anyhow!(known.unwrap_or_else(|| {
                "this machine's certificate cannot be read: not root, or not joined yet".to_string()
            }))
        })?;
        let clock = Clock::load(root);
        Ok(Access {
            settings,
            identity,
            clock,
        })
    }

    /// At the first member that answers and follows a leader: at all of them at once, requests
    /// would go to those that are down too.
    async fn store(&self) -> Result<Store> {
        let settings = &self.settings;
        let mut last = anyhow!("no seeds are known");
        for seed in &settings.seeds {
            let asked = async {
                let mut store = Store::of(&[*seed], &settings.ca, &self.identity).await?;
                let status = store.status().await?;
                ensure!(status.leader != 0, "{seed} follows no leader");
                Ok(store)
            };
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(store)) => return Ok(store),
                Ok(Err(error)) => last = error,
                Err(_) => last = anyhow!("{seed} does not answer within {PATIENCE:?}"),
            }
        }
        Err(last)
    }
}

async fn defragment(root: &Root, member: Option<IpAddr>) -> Result<Exit> {
    let access = Access::load(root)?;
    let mut members = match member {
        Some(member) => vec![member],
        None => access.settings.seeds.clone(),
    };
    // The leader last: until then it leads without a pause.
    for seed in members.clone() {
        let mut store = Store::of(&[seed], &access.settings.ca, &access.identity).await?;
        let status = store.status().await?;
        if status.leader == status.id {
            members.retain(|other| *other != seed);
            members.push(seed);
        }
    }
    let mut exit = Exit::Done;
    for seed in members {
        match upkeep::defragment(&access.settings, seed, &access.identity).await? {
            upkeep::Done::Defragmented(before, after) => {
                println!("{seed}: {before} to {after} bytes");
            }
            upkeep::Done::NotNow => {
                println!("{seed}: another member is at it");
                exit = Exit::Failed;
            }
            upkeep::Done::NotWorth => println!("{seed}: nothing to gain"),
        }
    }
    Ok(exit)
}

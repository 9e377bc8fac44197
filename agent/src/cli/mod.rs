//! The command line: parse, run, exit code. One file per command.

mod cluster;
mod config;
mod coreos_cloudinit;
mod dashboard;
mod events;
mod fleetctl;
mod health;
mod lock;
mod locksmithctl;
mod machine;
mod names;
mod output;
mod overlay;
mod rebalance;
mod reboot;
mod runtime;
mod scheduler;
mod ssh;
mod status;
mod store;
mod unit;
mod update;
mod update_engine_client;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::exit::Exit;
use crate::root::Root;

#[derive(Debug, Parser)]
#[command(
    name = "strake",
    version,
    about = "Configure, watch and update a Strake machine",
    after_help = "Exit codes: 0 done, 1 failed, 2 bad input or usage, 3 nothing to do.",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The machine's cloud-config: check, plan, apply, show
    #[command(subcommand)]
    Config(config::Command),
    /// What this machine is: release, boot entry, config, boot phases, failed units, health
    Status(status::StatusArgs),
    /// The cluster's store: members, certificates, backups
    Cluster(cluster::Cluster),
    /// Whether this boot is healthy
    #[command(subcommand)]
    Health(health::Command),
    /// Releases: what runs, what is offered, install, roll back, pin
    #[command(subcommand)]
    Update(update::Command),
    /// Units of the cluster: submit, start, stop, show, explain
    #[command(subcommand)]
    Unit(unit::Command),
    /// Machines of the cluster: list, show, tag, drain
    #[command(subcommand)]
    Machine(machine::Command),
    /// The cluster's reboot lock: who may reboot now
    #[command(subcommand)]
    Lock(lock::Command),
    /// Reboot when the cluster can spare this machine: now, when, cancel
    #[command(subcommand)]
    Reboot(reboot::Command),
    /// What happens in the cluster: machines that come and go, units that are placed and moved
    Events(events::Events),
    /// The cluster as a page for browsers
    #[command(subcommand)]
    Dashboard(dashboard::Command),
    /// The overlay network: containers on different machines reach each other
    #[command(subcommand)]
    Overlay(overlay::Command),
    /// Names of units: which there are, and where they lead
    Names(names::Names),
    /// The service that holds this machine's units
    #[command(subcommand)]
    Scheduler(scheduler::Command),
}

#[derive(Debug, Args)]
struct RootArg {
    /// Work on the tree below this directory instead of the running machine
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

impl RootArg {
    fn root(&self) -> Root {
        Root::new(&self.root)
    }
}

/// Runs the program under the name it was called by.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let name = args
        .first()
        .and_then(|path| Path::new(path).file_name())
        .unwrap_or_default();
    if name == "coreos-cloudinit" {
        return finish(coreos_cloudinit::run(&args[1..]));
    }
    if name == "fleetctl" {
        return finish(fleetctl::run(&args[1..]));
    }
    if name == "locksmithctl" {
        return finish(locksmithctl::run(&args[1..]));
    }
    if name == "update_engine_client" {
        return finish(update_engine_client::run(&args[1..]));
    }
    // Every boot waits for this one: the whole command line's grammar is a third of its code.
    let only = ["config", "apply", "--before-boot"];
    if args.get(1..).is_some_and(|rest| rest == only) {
        return finish(config::before_boot());
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is not worth a second message.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::BadInput
            } else {
                Exit::Done
            };
        }
    };
    finish(match cli.command {
        Command::Config(command) => config::run(command),
        Command::Status(status) => status.run(),
        Command::Cluster(command) => command.run(),
        Command::Health(command) => health::run(command),
        Command::Update(command) => update::run(command),
        Command::Unit(command) => unit::run(command),
        Command::Machine(command) => machine::run(command),
        Command::Lock(command) => lock::run(command),
        Command::Reboot(command) => reboot::run(command),
        Command::Events(events) => events.run(),
        Command::Dashboard(command) => dashboard::run(command),
        Command::Overlay(command) => overlay::run(command),
        Command::Names(names) => names.run(),
        Command::Scheduler(command) => scheduler::run(command),
    })
}

fn finish(result: anyhow::Result<Exit>) -> Exit {
    result.unwrap_or_else(|error| {
        eprintln!("strake: error: {error:#}");
        Exit::Failed
    })
}

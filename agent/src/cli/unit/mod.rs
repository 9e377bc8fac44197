//! `strake unit ...`: orders about units and what has become of them.

pub(super) mod find;
mod journal;
mod show;
mod wait;

pub(super) use show::machine;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::output::Output;
use super::runtime::on_one_thread;
use super::ssh::Ssh;
use super::store::{connect, is_refused};
use crate::exit::Exit;
use crate::scheduler::keys::State;
use crate::scheduler::name::UnitName;
use crate::scheduler::orders::{self, Known};
use crate::store::Outcome;
use crate::store::etcd::Etcd;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make units known to the cluster; they run nowhere yet
    Submit {
        /// Unit files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        replace: Replace,
    },
    /// Give units to a machine without starting them
    Load(Order),
    /// Start units: each is a file, a known unit, or an instance of a known template
    Start(Order),
    /// Stop units; they stay on their machine
    Stop(Order),
    /// Stop units and take them from their machine; they stay known
    Unload(Order),
    /// Stop, start: each unit by itself, on the machine it is on
    Restart(Order),
    /// Stop units and forget them
    Destroy {
        #[arg(required = true, value_name = "UNIT")]
        units: Vec<String>,
    },
    /// Show the text of a unit
    Cat {
        #[arg(value_name = "UNIT")]
        unit: String,
        /// A container as the service that systemd is given for it
        #[arg(long)]
        service: bool,
    },
    /// Where a unit is and what systemd says of it; exit code 3 unless it is active
    Status {
        #[arg(value_name = "UNIT")]
        unit: String,
        /// Of several machines that hold it, ask this one: its id or the first 8 characters
        #[arg(long, value_name = "ID")]
        machine: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// What a unit has written to the journal, from the machine that holds it
    Journal(journal::Journal),
    /// Log in at the machine of a unit, or run a command there
    Ssh {
        #[arg(value_name = "UNIT")]
        unit: String,
        /// Of several machines that hold it, this one: its id or the first 8 characters
        #[arg(long, value_name = "ID")]
        machine: Option<String>,
        #[command(flatten)]
        ssh: Ssh,
    },
    /// Units on machines
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Known units
    ListFiles {
        #[command(flatten)]
        output: Output,
    },
    /// Check unit files without the cluster
    Verify {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// For each machine why it may or may not hold the unit
    Explain {
        #[arg(value_name = "UNIT")]
        unit: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Replace {
    /// Give units that are known with another content the new one
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
pub(super) struct Order {
    #[arg(required = true, value_name = "UNIT")]
    units: Vec<String>,
    #[command(flatten)]
    replace: Replace,
    /// Do not wait until it is so
    #[arg(long)]
    no_block: bool,
    /// How many seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

impl Replace {
    fn known(self) -> Known {
        match self.replace {
            true => Known::Replace,
            false => Known::Refuse,
        }
    }
}

pub(super) fn run(command: Command) -> Result<Exit> {
    if let Command::Verify { files } = &command {
        return find::verify(files);
    }
    let done = on_one_thread(async {
        let store = connect().await?;
        match command {
            Command::Submit { files, replace } => submit(&store, &files, replace.known()).await,
            Command::Load(order) => set(&store, &order, State::Loaded).await,
            Command::Start(order) => set(&store, &order, State::Launched).await,
            Command::Stop(order) => set(&store, &order, State::Loaded).await,
            Command::Unload(order) => set(&store, &order, State::Inactive).await,
            Command::Restart(order) => restart(&store, &order).await,
            Command::Destroy { units } => destroy(&store, &units).await,
            Command::Cat { unit, service } => show::cat(&store, &unit, service).await,
            Command::Status {
                unit,
                machine,
                output,
            } => {
                let exit = show::status(&store, &unit, output).await?;
                if output.is_table() {
                    journal::report(store, &unit, machine.as_deref()).await?;
                }
                Ok(exit)
            }
            Command::Journal(journal) => journal.run(store).await,
            Command::Ssh { unit, machine, ssh } => {
                ssh.run_at(&store, &unit, machine.as_deref()).await
            }
            Command::List { output } => show::units(&store, output).await,
            Command::ListFiles { output } => show::files(&store, output).await,
            Command::Explain { unit, output } => show::explain(&store, &unit, output).await,
            Command::Verify { files } => find::verify(&files),
        }
    })?;
    match done {
        Err(error) if is_refused(&error) => {
            eprintln!("strake: error: {error:#}");
            Ok(Exit::BadInput)
        }
        other => other,
    }
}

async fn submit(store: &Etcd, files: &[PathBuf], known: Known) -> Result<Exit> {
    let mut exit = Exit::NothingToDo;
    for path in files {
        let (name, text) = find::read(path)?;
        if let Outcome::Done(_) = orders::submit(store, &name, &text, known).await? {
            println!("Unit {name} submitted");
            exit = Exit::Done;
        }
    }
    Ok(exit)
}

async fn set(store: &Etcd, order: &Order, state: State) -> Result<Exit> {
    let mut names = Vec::new();
    let mut exit = Exit::NothingToDo;
    for word in &order.units {
        let (name, outcome) = match state {
            State::Inactive => (find::known(word)?, Outcome::Refused),
            _ => find::submitted(store, word, order.replace.known()).await?,
        };
        let changed = [outcome, orders::set_state(store, &name, state).await?];
        if changed.iter().any(|one| matches!(one, Outcome::Done(_))) {
            exit = Exit::Done;
        }
        names.push(name);
    }
    if order.no_block {
        return Ok(exit);
    }
    let timeout = Duration::from_secs(order.timeout);
    match wait::until(store, &names, state, timeout).await? {
        wait::Waited::Reached => Ok(exit),
        wait::Waited::TooLong => Ok(Exit::Failed),
    }
}

async fn restart(store: &Etcd, order: &Order) -> Result<Exit> {
    if order.no_block {
        bail!("restart waits for each stop: --no-block cannot be used with it");
    }
    for word in &order.units {
        let one = |units: &String| Order {
            units: vec![units.clone()],
            replace: order.replace,
            no_block: order.no_block,
            timeout: order.timeout,
        };
        for state in [State::Loaded, State::Launched] {
            if set(store, &one(word), state).await? == Exit::Failed {
                return Ok(Exit::Failed);
            }
        }
    }
    Ok(Exit::Done)
}

async fn destroy(store: &Etcd, units: &[String]) -> Result<Exit> {
    for word in units {
        let name: UnitName = find::known(word)?;
        orders::destroy(store, &name).await?;
        println!("Destroyed {name}");
    }
    Ok(Exit::Done)
}

//! `strake machine ...`: the cluster's machines.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde::Serialize;

use super::output::{Output, columns};
use super::rebalance;
use super::runtime::on_one_thread;
use super::ssh::Ssh;
use super::store::connect;
use crate::exit::Exit;
use crate::scheduler::keys::{self, Desired};
use crate::scheduler::machine::{Duty, Machine, MachineId};
use crate::scheduler::model::Model;
use crate::scheduler::orders::{self, Tagging};
use crate::scheduler::part::{self, under};
use crate::scheduler::requirement::Requirements;
use crate::store::Outcome;
use crate::store::etcd::Etcd;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Machines that are there
    List {
        #[command(flatten)]
        output: Output,
    },
    /// All that is known of a machine, and what it holds
    Show {
        /// Its id, or the first 8 characters
        machine: String,
        #[command(flatten)]
        output: Output,
    },
    /// Set metadata over the machine's own: key=value; `key=` hides a key
    Tag {
        machine: String,
        #[arg(required = true, value_name = "KEY=VALUE")]
        pairs: Vec<String>,
    },
    /// Move away what can run elsewhere, and put nothing new there
    Drain { machine: String },
    /// Let units come again
    Undrain { machine: String },
    /// Log in at a machine, or run a command there
    Ssh {
        machine: String,
        #[command(flatten)]
        ssh: Ssh,
    },
    /// Say that machines that are away do not come back: their units are moved, however many are away
    GiveUp {
        #[arg(required = true, value_name = "MACHINE")]
        machines: Vec<String>,
    },
    /// Move units to machines where they are better off
    Rebalance(rebalance::Rebalance),
}

pub(super) fn run(command: Command) -> Result<Exit> {
    on_one_thread(async {
        let store = connect().await?;
        match command {
            Command::List { output } => list(&store, output).await,
            Command::Show { machine, output } => show(&store, &machine, output).await,
            Command::Tag { machine, pairs } => {
                let mut metadata = BTreeMap::new();
                for pair in &pairs {
                    let Some((key, value)) =
                        pair.split_once('=').filter(|(key, _)| !key.is_empty())
                    else {
                        eprintln!("strake: error: {pair:?} is not key=value");
                        return Ok(Exit::BadInput);
                    };
                    let value = (!value.is_empty()).then(|| value.to_string());
                    metadata.insert(key.to_string(), value);
                }
                let tagging = Tagging {
                    metadata,
                    duty: None,
                };
                tag(&store, &machine, tagging).await
            }
            Command::Drain { machine } => tag(&store, &machine, duty(Duty::Draining)).await,
            Command::Ssh { machine, ssh } => {
                let model = under(&store, &[keys::MACHINES]).await?;
                let id = named(&model, &machine)?;
                ssh.run(model.machine(&id).context("it has gone just now")?)
            }
            Command::GiveUp { machines } => give_up(&store, &machines).await,
            Command::Rebalance(asked) => asked.run(&store).await,
            Command::Undrain { machine } => tag(&store, &machine, duty(Duty::Open)).await,
        }
    })?
}

fn duty(duty: Duty) -> Tagging {
    Tagging {
        metadata: BTreeMap::new(),
        duty: Some(duty),
    }
}

async fn tag(store: &Etcd, machine: &str, tagging: Tagging) -> Result<Exit> {
    let model = under(store, &[keys::MACHINES]).await?;
    let id = named(&model, machine)?;
    Ok(match orders::tag(store, &id, tagging).await? {
        Outcome::Done(_) => Exit::Done,
        Outcome::Refused => Exit::NothingToDo,
    })
}

async fn give_up(store: &Etcd, words: &[String]) -> Result<Exit> {
    let model = under(store, &[keys::MACHINES, keys::DESIRED]).await?;
    let mut ids = Vec::new();
    for word in words {
        let found: Vec<&MachineId> = model
            .desired
            .keys()
            .filter(|id| id.is_named(word))
            .collect();
        match found.as_slice() {
            [id] if model.machine(id).is_some() => {
                bail!("{word} has its lease: `strake machine drain {word}` moves its units")
            }
            [id] => ids.push(*id),
            [] => bail!("no machine {word:?} was ever given units"),
            _ => bail!("{word:?} names several machines: give the whole id"),
        }
    }
    let mut exit = Exit::NothingToDo;
    for id in ids {
        if let Outcome::Done(_) = orders::give_up(store, id).await? {
            println!("{id} is given up");
            exit = Exit::Done;
        }
    }
    Ok(exit)
}

/// Machines whose lease is over and that are still to hold something.
fn rows_of_lost(model: &Model) -> impl Iterator<Item = Vec<String>> {
    model.away().map(|id| {
        let held = model
            .desired
            .get(id)
            .map_or(0, |held| held.value.units.len());
        let given_up = model.tags.get(id).is_some_and(|at| at.value.given_up);
        let duty = if given_up { "given up" } else { "away" };
        let dash = || "-".to_string();
        let id = format!("{}...", id.short());
        vec![id, dash(), duty.to_string(), held.to_string(), dash()]
    })
}

fn named(model: &Model, text: &str) -> Result<MachineId> {
    let machines = model.live_machines().map(|machine| &machine.id);
    let found: Vec<&MachineId> = machines.filter(|id| id.is_named(text)).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => bail!("no machine {text:?} is there"),
        _ => bail!("{text:?} names several machines: give the whole id"),
    }
}

#[derive(Debug, Serialize)]
struct Shown<'m> {
    #[serde(flatten)]
    machine: &'m Machine,
    units: Vec<String>,
    /// What its units have set aside: `Memory=` in bytes, `CPU=` in thousandths of a processor.
    memory_set_aside: u64,
    cpu_set_aside: u64,
}

/// Sums of what the units ask for. A text that is not understood asks for nothing.
fn set_aside(model: &Model, desired: &Desired) -> (u64, u64) {
    let asked = desired.units.iter().filter_map(|(name, unit)| {
        let wanted = Requirements::read(name, model.text(&unit.digest)?).ok()?;
        Some((wanted.memory, wanted.cpu))
    });
    asked.fold((0, 0), |(memory, cpu), (more, faster)| {
        (memory.saturating_add(more), cpu.saturating_add(faster))
    })
}

async fn show(store: &Etcd, machine: &str, output: Output) -> Result<Exit> {
    let model = under(store, &[keys::MACHINES]).await?;
    let id = named(&model, machine)?;
    let model = part::machine(store, &id).await?;
    let nothing = Desired::default();
    let held = model.desired.get(&id).map_or(&nothing, |held| &held.value);
    let (memory_set_aside, cpu_set_aside) = set_aside(&model, held);
    let shown = Shown {
        machine: model.machine(&id).context("the machine left just now")?,
        units: held.units.keys().map(ToString::to_string).collect(),
        memory_set_aside,
        cpu_set_aside,
    };
    output.print(&shown, || {
        let machine = shown.machine;
        let mut rows = vec![
            vec!["id".to_string(), machine.id.to_string()],
            vec!["address".to_string(), machine.address.clone()],
            vec!["duty".to_string(), word(machine.duty).to_string()],
        ];
        for (key, value) in &machine.metadata {
            rows.push(vec![format!("metadata {key}"), value.clone()]);
        }
        for (key, fact) in &machine.facts {
            rows.push(vec![format!("fact {key}"), fact.to_string()]);
        }
        if shown.memory_set_aside > 0 {
            let memory = format!("{} bytes", shown.memory_set_aside);
            rows.push(vec!["memory set aside".to_string(), memory]);
        }
        if shown.cpu_set_aside > 0 {
            let cpu = format!("{} processors", shown.cpu_set_aside as f64 / 1000.0);
            rows.push(vec!["CPU set aside".to_string(), cpu]);
        }
        for unit in &shown.units {
            rows.push(vec!["unit".to_string(), unit.clone()]);
        }
        columns(&rows)
    })?;
    Ok(Exit::Done)
}

fn word(duty: Duty) -> &'static str {
    match duty {
        Duty::Open => "open",
        Duty::Draining => "draining",
    }
}

async fn list(store: &Etcd, output: Output) -> Result<Exit> {
    let model = under(store, &[keys::MACHINES, keys::TAGS, keys::DESIRED]).await?;
    let machines: Vec<&Machine> = model.live_machines().map(|machine| &**machine).collect();
    output.print(&machines, || {
        let head = ["MACHINE", "IP", "DUTY", "UNITS", "METADATA"].map(str::to_string);
        let cells = machines.iter().map(|machine| {
            let or_dash = |text: String| match text.is_empty() {
                true => "-".to_string(),
                false => text,
            };
            let metadata = machine.metadata.iter();
            let metadata: Vec<String> = metadata.map(|(k, v)| format!("{k}={v}")).collect();
            let held = model.desired.get(&machine.id);
            let held = held.map_or(0, |desired| desired.value.units.len());
            vec![
                format!("{}...", machine.id.short()),
                or_dash(machine.address.clone()),
                word(machine.duty).to_string(),
                held.to_string(),
                or_dash(metadata.join(",")),
            ]
        });
        let rows = [head.to_vec()].into_iter().chain(cells);
        columns(&rows.chain(rows_of_lost(&model)).collect::<Vec<_>>())
    })?;
    Ok(Exit::Done)
}

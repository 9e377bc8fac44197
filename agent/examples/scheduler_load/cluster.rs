//! Machines and their leader.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use strake_agent::fleet;
use strake_agent::journal::Note;
use strake_agent::scheduler::agent::{Agent, Doors, Pace};
use strake_agent::scheduler::engine::{self, Engine};
use strake_agent::scheduler::machine::{Fact, Machine, MachineId};
use strake_agent::store::etcd::{Etcd, Settings};
use tokio::sync::watch;
use tokio::task::spawn_local;

use crate::Agents;
use crate::idle_host::{IdleHost, NoCache};

/// Machines that share a connection to the store.
const PER_CONNECTION: usize = 500;

pub(crate) fn machine_id(number: usize) -> MachineId {
    let id = format!("{number:032x}");
    id.parse().expect("hexadecimal digits are an id")
}

pub(crate) async fn engine(store: Etcd) -> Result<Value> {
    let quiet = Box::new(|_: &Note<'_>| {});
    let name = machine_id(usize::MAX);
    Engine::new(store, &name, engine::Pace::default(), quiet)
        .run()
        .await
}

pub(crate) async fn agents(settings: &Settings, wanted: &Agents) -> Result<Value> {
    let pace = Pace {
        lease_ttl: Duration::from_secs(wanted.lease),
        beat: Duration::from_secs(wanted.lease) / 3,
        ..Pace::default()
    };
    let mut store = Etcd::connect(settings).await?;
    if let Some(socket) = &wanted.socket {
        let listener = fleet::bind(socket, None)?;
        let store = store.clone();
        spawn_local(async move { fleet::serve(listener, fleet::Api::new(store)).await });
    }
    let mut told = Vec::new();
    for number in 0..wanted.count {
        if number > 0 && number % PER_CONNECTION == 0 {
            store = Etcd::connect(settings).await?;
        }
        let (sender, machine) = watch::channel(machine(wanted.first + number));
        told.push(sender);
        let doors = Doors {
            store: store.clone(),
            host: IdleHost::new(),
            cache: NoCache,
            machine,
        };
        let agent = Agent::new(doors, pace, Box::new(|_: &Note<'_>| {}));
        spawn_local(async move { agent.run().await });
    }
    tokio::signal::ctrl_c()
        .await
        .context("waiting for the end")?;
    Ok(Value::Null)
}

fn machine(number: usize) -> Machine {
    let mut machine = Machine::new(machine_id(number));
    machine.address = format!(
        "10.{}.{}.{}",
        number >> 16 & 255,
        number >> 8 & 255,
        number & 255
    );
    let zone = format!("z{}", number % 10);
    machine.metadata.insert("zone".to_owned(), zone);
    for (name, value) in [("cpus", 8.0), ("memory", 32e9), ("load5", 1.0)] {
        machine.facts.insert(name.to_owned(), Fact::Number(value));
    }
    machine
}

//! `strake scheduler run`: this machine's agent and its candidate for the leader, in one task.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;

use super::agent::{Agent, Doors, Pace};
use super::cache::OnState;
use super::engine::{self, Engine};
use super::facts;
use super::host::systemd::Systemd;
use super::machine::Machine;
use crate::root::Root;
use crate::store::etcd::{Etcd, Settings};
use crate::systemd::bus::Bus;

/// Between two looks at the facts.
const FACTS_EVERY: Duration = Duration::from_secs(30);

/// What is not in any file: fleet's own settings, from the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `FLEET_METADATA`: `key=value,key=value`.
    pub metadata: String,
    /// `FLEET_PUBLIC_IP`, or the first address that `/etc/environment` has.
    pub address: String,
}

impl Environment {
    pub fn read() -> Environment {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let addresses = [
            "FLEET_PUBLIC_IP",
            "COREOS_PRIVATE_IPV4",
            "COREOS_PUBLIC_IPV4",
        ];
        Environment {
            metadata: value("FLEET_METADATA").unwrap_or_default(),
            address: addresses.into_iter().find_map(value).unwrap_or_default(),
        }
    }
}

/// Ends only when the machine cannot be known or systemd cannot be reached.
pub async fn run(root: &Root, environment: &Environment) -> Result<()> {
    let machine = describe(root, environment)?;
    let id = machine.id.clone();
    let settings = Settings::read(root)?;
    let store = Etcd::connect(&settings).await?;
    let bus = Bus::system().await.context("reaching systemd")?;
    let host = Systemd::new(bus, root.clone()).await?;
    let (told, machine) = watch::channel(machine);
    let log = || -> Box<dyn Fn(&str)> { Box::new(|line| eprintln!("{line}")) };
    let agent = Agent::new(
        Doors {
            store: store.clone(),
            host,
            cache: OnState::new(root.clone()),
            machine,
        },
        Pace::default(),
        log(),
    );
    let engine = Engine::new(store, &id, engine::Pace::default(), log());
    tokio::select! {
        never = agent.run() => never,
        never = engine.run() => never,
        ended = follow_facts(root, environment, &told) => ended,
    }
}

fn describe(root: &Root, environment: &Environment) -> Result<Machine> {
    let mut machine = Machine::new(facts::machine_id(root)?);
    machine.address = environment.address.clone();
    machine.metadata = facts::metadata(&environment.metadata);
    machine.facts = facts::read(root);
    Ok(machine)
}

async fn follow_facts(
    root: &Root,
    environment: &Environment,
    told: &watch::Sender<Machine>,
) -> Result<()> {
    loop {
        tokio::time::sleep(FACTS_EVERY).await;
        let now = describe(root, environment)?;
        told.send_if_modified(|before| {
            let material = facts::is_material(before, &now);
            if material {
                *before = now;
            }
            material
        });
    }
}

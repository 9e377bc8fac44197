//! One machine: a real agent and a real engine, each with its own way to the store, over a systemd
//! and a disk that are maps.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::host::{Disk, Machine as Host};
use super::world::clock;
use crate::journal::Log;
use crate::scheduler::agent::{Agent, Doors, Pace as AgentPace};
use crate::scheduler::engine::{Engine, Pace as EnginePace};
use crate::scheduler::leases::Scale;
use crate::scheduler::machine::{Machine, MachineId};
use crate::store::faulty::{Faulty, Link, Random};
use crate::store::memory::Memory;

const LEASE: Duration = Duration::from_secs(20);

pub(super) struct Node {
    pub(super) id: MachineId,
    pub(super) agent_way: Faulty,
    pub(super) engine_way: Faulty,
    pub(super) host: Host,
    pub(super) disk: Disk,
    pub(super) machine: watch::Sender<Machine>,
    pub(super) tasks: Vec<JoinHandle<()>>,
    beat: Duration,
    pub(super) scale: Scale,
}

impl Node {
    pub(super) fn new(memory: &Memory, random: &Random, machine: Machine, beat: Duration) -> Node {
        Node {
            id: machine.id.clone(),
            agent_way: Faulty::new(memory.clone(), random.clone()),
            engine_way: Faulty::new(memory.clone(), random.clone()),
            host: Host::new(random.clone()),
            disk: Disk::default(),
            machine: watch::channel(machine).0,
            tasks: Vec::new(),
            beat,
            scale: Scale {
                usual: LEASE,
                ..Scale::default()
            },
        }
    }

    pub(super) fn link(&self, link: Link) {
        self.agent_way.set(link);
        self.engine_way.set(link);
    }

    /// The service begins; what runs on the machine runs on.
    pub(super) fn start(&mut self) {
        let agent = Agent::new(
            Doors {
                store: self.agent_way.clone(),
                host: self.host.clone(),
                cache: self.disk.clone(),
                machine: self.machine.subscribe(),
            },
            AgentPace {
                lease_ttl: LEASE,
                beat: self.beat,
                ..AgentPace::default()
            },
            log(self.id.as_str()),
        );
        let engine = Engine::new(
            self.engine_way.clone(),
            &self.id,
            EnginePace {
                clock,
                leases: self.scale,
                ..EnginePace::default()
            },
            log(self.id.as_str()),
        );
        self.tasks = vec![
            tokio::task::spawn_local(async move { agent.run().await }),
            tokio::task::spawn_local(async move { engine.run().await }),
        ];
    }

    /// The service ends, and tells nobody.
    pub(super) fn kill(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

fn log(name: &str) -> Log {
    let name = name.to_string();
    let loud = std::env::var_os("STRAKE_SEED").is_some();
    Box::new(move |line| {
        if loud {
            eprintln!("{:?} {name}: {line}", tokio::time::Instant::now());
        }
    })
}

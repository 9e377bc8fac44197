//! A cluster, its users and its bad luck.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::host::{Disk, Machine as Host};
use crate::journal::Log;
use crate::scheduler::agent::{Agent, Doors, Pace as AgentPace};
use crate::scheduler::engine::{Engine, Pace as EnginePace};
use crate::scheduler::keys::{self, Seen, State, Unit};
use crate::scheduler::machine::{Machine, MachineId};
use crate::scheduler::name::UnitName;
use crate::scheduler::requirement::{Reach, Requirements};
use crate::scheduler::text::Text;
use crate::store::faulty::{Faulty, Link, Random};
use crate::store::memory::Memory;
use crate::store::{Store, Transaction, Write};
use crate::systemd::Active;

const STEPS: u64 = 40;
const CALM: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
const GLOBAL: usize = 3;
const OPTIONS: [&str; 5] = [
    "",
    "[X-Fleet]\nConflicts=u1*\n",
    "[X-Fleet]\nMachineMetadata=zone=a\n",
    "[X-Fleet]\nGlobal=yes\n",
    "[X-Strake]\nMemory=1G\nPriority=3\n",
];

struct Node {
    id: MachineId,
    agent_way: Faulty,
    engine_way: Faulty,
    host: Host,
    disk: Disk,
    machine: watch::Sender<Machine>,
    tasks: Vec<JoinHandle<()>>,
    beat: Duration,
}

pub(super) struct World {
    seed: u64,
    random: Random,
    memory: Memory,
    nodes: Vec<Node>,
    wanted: BTreeMap<UnitName, (State, Text)>,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let random = Random::new(seed);
        let memory = Memory::default();
        let count = 2 + random.below(4);
        let nodes = (0..count).map(|index| {
            let id: MachineId = format!("m{index}").parse().expect("id");
            let mut machine = Machine::new(id.clone());
            let zone = ["a", "b"][(index % 2) as usize].to_string();
            machine.metadata.insert("zone".to_string(), zone);
            for (fact, amount) in [("memory", 3e9), ("cpus", 4.0)] {
                let amount = crate::scheduler::machine::Fact::Number(amount);
                machine.facts.insert(fact.to_string(), amount);
            }
            Node {
                id,
                agent_way: Faulty::new(memory.clone(), random.clone()),
                engine_way: Faulty::new(memory.clone(), random.clone()),
                host: Host::new(random.clone()),
                disk: Disk::default(),
                machine: watch::channel(machine).0,
                tasks: Vec::new(),
                // Clocks that run differently: some renew late, some early.
                beat: Duration::from_millis(3000 + random.below(5000)),
            }
        });
        World {
            seed,
            nodes: nodes.collect(),
            random: random.clone(),
            memory,
            wanted: BTreeMap::new(),
        }
    }

    pub(super) async fn live(mut self) {
        for index in 0..self.nodes.len() {
            self.start(index);
        }
        for _ in 0..STEPS {
            self.user().await;
            self.luck().await;
            let pause = Duration::from_millis(100 + self.random.below(6000));
            self.watch_for(pause).await;
        }
        for node in &self.nodes {
            node.agent_way.set(Link::Good);
            node.engine_way.set(Link::Good);
        }
        for index in 0..self.nodes.len() {
            if self.nodes[index].tasks.is_empty() {
                self.start(index);
            }
        }
        self.watch_for(CALM).await;
        self.converged();
    }

    fn say(&self, what: &str) {
        if std::env::var_os("STRAKE_SEED").is_some() {
            eprintln!("{:?} {what}", tokio::time::Instant::now());
        }
    }

    fn start(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let agent = Agent::new(
            Doors {
                store: node.agent_way.clone(),
                host: node.host.clone(),
                cache: node.disk.clone(),
                machine: node.machine.subscribe(),
            },
            AgentPace {
                lease_ttl: Duration::from_secs(20),
                beat: node.beat,
                ..AgentPace::default()
            },
            log(node.id.as_str()),
        );
        let engine = Engine::new(
            node.engine_way.clone(),
            &node.id,
            EnginePace::default(),
            log(node.id.as_str()),
        );
        node.tasks = vec![
            tokio::task::spawn_local(async move { agent.run().await }),
            tokio::task::spawn_local(async move { engine.run().await }),
        ];
    }

    fn kill(&mut self, index: usize) {
        for task in self.nodes[index].tasks.drain(..) {
            task.abort();
        }
    }

    async fn user(&mut self) {
        let options = self.random.below(5) as usize;
        // A unit is global or not for all its life: while it changes, both are allowed for a while.
        let kind = if options == GLOBAL { "g" } else { "u" };
        let name: UnitName = format!("{kind}{}.service", self.random.below(8))
            .parse()
            .expect("name");
        let options = OPTIONS[options];
        let text = format!("[Service]\nExecStart=/bin/sleep 1\n{options}");
        let text = Text::parse(&text).expect("text");
        let state = match self.random.below(8) {
            0 => State::Inactive,
            1 => State::Loaded,
            _ => State::Launched,
        };
        let writes = match self.random.percent(10) {
            true => {
                self.wanted.remove(&name);
                vec![Write::Delete {
                    key: keys::unit(&name),
                }]
            }
            false => {
                self.wanted.insert(name.clone(), (state, text.clone()));
                let digest = text.digest();
                let put = |key, value| Write::Put {
                    key,
                    value,
                    lease: None,
                };
                let words = text.to_string().into_bytes();
                let unit = Unit {
                    digest: digest.clone(),
                    state,
                };
                vec![
                    put(keys::text(&digest), words),
                    put(keys::unit(&name), serde_json::to_vec(&unit).expect("json")),
                ]
            }
        };
        self.say(&format!("user: {writes:?}"));
        let transaction = Transaction {
            compares: Vec::new(),
            writes,
        };
        self.memory.commit(&transaction).await.expect("the store");
    }

    async fn luck(&mut self) {
        let index = self.random.below(self.nodes.len() as u64) as usize;
        let what = self.random.below(9);
        self.say(&format!("luck: {what} for m{index}"));
        let node = &self.nodes[index];
        match what {
            0 => node.agent_way.set(Link::Cut),
            1 => node.engine_way.set(Link::Cut),
            2 => {
                node.agent_way.set(Link::Bad);
                node.engine_way.set(Link::Bad);
            }
            3 | 4 => {
                node.agent_way.set(Link::Good);
                node.engine_way.set(Link::Good);
            }
            // The service is restarted; its units run on.
            5 => {
                self.kill(index);
                self.start(index);
            }
            // The power goes; and perhaps comes back.
            6 => {
                self.kill(index);
                self.nodes[index].host.lose_power();
            }
            7 => {
                if self.nodes[index].tasks.is_empty() {
                    self.start(index);
                }
            }
            _ => {
                node.agent_way.stray_commits_arrive().await;
                node.engine_way.stray_commits_arrive().await;
            }
        }
    }

    async fn watch_for(&self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            let before: Vec<_> = self.nodes.iter().map(|node| node.host.all()).collect();
            tokio::time::sleep(LOOK).await;
            self.single();
            for (node, before) in self.nodes.iter().zip(before) {
                if node.agent_way.link() == Link::Cut {
                    self.nothing_stopped_by_silence(node, &before);
                }
            }
        }
    }

    fn is_live(&self, id: &MachineId) -> bool {
        self.memory.holds(&keys::machine(id))
    }

    fn single(&self) {
        let mut runs: BTreeMap<UnitName, Vec<&MachineId>> = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| self.is_live(&node.id)) {
            for name in node.host.running() {
                if name.as_str().starts_with('u') {
                    runs.entry(name).or_default().push(&node.id);
                }
            }
        }
        for (name, machines) in runs {
            assert!(
                machines.len() < 2,
                "seed {}: {name} runs on {machines:?}",
                self.seed
            );
        }
    }

    fn nothing_stopped_by_silence(&self, node: &Node, before: &BTreeMap<UnitName, Seen>) {
        let now = node.host.all();
        let stops = |seen: Option<&Seen>| {
            seen.is_none_or(|seen| !seen.active.is_up() && seen.active != Active::Activating)
        };
        for (name, seen) in before.iter().filter(|(_, seen)| seen.active.is_up()) {
            assert!(
                !stops(now.get(name)) || node.tasks.is_empty(),
                "seed {}: {name} ({seen:?}) was stopped on {} in silence",
                self.seed,
                node.id
            );
        }
    }

    fn converged(&self) {
        let seed = self.seed;
        for node in &self.nodes {
            assert!(
                self.is_live(&node.id),
                "seed {seed}: {} is not back",
                node.id
            );
            for (name, seen) in node.host.all() {
                let wanted = self.wanted.get(&name);
                let (state, text) = wanted.unwrap_or_else(|| panic!("seed {seed}: stray {name}"));
                assert_eq!(seen.digest, text.digest(), "seed {seed}: {name}");
                assert_eq!(
                    seen.started,
                    *state == State::Launched,
                    "seed {seed}: {name}"
                );
            }
        }
        for (name, (state, text)) in &self.wanted {
            let holders: Vec<&Node> = self
                .nodes
                .iter()
                .filter(|node| node.host.all().contains_key(name))
                .collect();
            let requirements = Requirements::read(name, text).expect("requirements");
            let wanted = match (state, requirements.reach) {
                (State::Inactive, _) => 0,
                (_, Reach::Global) => self.nodes.len(),
                (_, Reach::Single) => 1,
            };
            let contested = self.nodes.len() < 8 && !requirements.conflicts.is_empty()
                || name.as_str().starts_with("u1")
                || requirements.memory > 0;
            assert!(
                holders.len() == wanted || (contested && holders.len() < wanted.max(1)),
                "seed {seed}: {name} ({state}) is on {} machines, not {wanted}",
                holders.len()
            );
            for node in holders {
                let machine = node.machine.borrow();
                for (key, values) in &requirements.metadata {
                    assert!(
                        values.contains(&machine.metadata[key]),
                        "seed {seed}: {name}"
                    );
                }
                for other in node.host.all().keys().filter(|other| *other != name) {
                    let conflict = requirements.conflicts.iter();
                    let mut conflict = conflict.filter(|glob| glob.matches(other.as_str()));
                    assert!(
                        conflict.next().is_none(),
                        "seed {seed}: {name} with {other}"
                    );
                }
            }
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

//! A cluster, its users and its bad luck.

#[path = "replicas.rs"]
mod replicas;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::node::Node;
use crate::scheduler::agent::Cache as _;
use crate::scheduler::keys::{self, Done, Move, Seen, State, Unit};
use crate::scheduler::machine::{Machine, MachineId};
use crate::scheduler::model::Feed;
use crate::scheduler::name::UnitName;
use crate::scheduler::orders;
use crate::scheduler::requirement::{Course, Reach, Requirements};
use crate::scheduler::text::Text;
use crate::store::faulty::{Link, Random};
use crate::store::memory::Memory;
use crate::store::{Store, Transaction, Write, read_all};
use crate::systemd::Active;

const STEPS: u64 = 40;
const CALM: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
const GLOBAL: usize = 3;
const TEMPLATE: &str = "r@.service";
const BATCH: usize = 5;
const CALENDAR: usize = 6;
const FENCED: usize = 7;
const OPTIONS: [&str; 8] = [
    "",
    "[X-Fleet]\nConflicts=u1*\n",
    "[X-Fleet]\nMachineMetadata=zone=a\n",
    "[X-Fleet]\nGlobal=yes\n",
    "[X-Strake]\nMemory=1G\nPriority=3\n",
    "[X-Strake]\nBatch=yes\n",
    "[X-Strake]\nCalendar=minutely\n",
    "[X-Strake]\nFence=yes\n",
];
/// When a world begins, in milliseconds since 1970: half a minute before a full one.
const BEGIN: u64 = 1_800_000_030_000;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

pub(super) fn begin() {
    START.set(Some(Instant::now()));
}

pub(super) fn clock() -> u64 {
    let start = START.get().unwrap_or_else(Instant::now);
    BEGIN + (Instant::now() - start).as_millis() as u64
}

pub(super) struct World {
    seed: u64,
    random: Random,
    /// For moves, so that the worlds of earlier seeds stay as they were in all else.
    whims: Random,
    memory: Memory,
    nodes: Vec<Node>,
    wanted: BTreeMap<UnitName, (State, Text)>,
    /// The latest start of each unit, and the latest of all.
    runs: BTreeMap<UnitName, u64>,
    starts: u64,
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
            // Clocks that run differently: some renew late, some early.
            let beat = Duration::from_millis(3000 + random.below(5000));
            Node::new(&memory, &random, machine, beat)
        });
        World {
            seed,
            nodes: nodes.collect(),
            random: random.clone(),
            whims: Random::new(!seed),
            memory,
            wanted: BTreeMap::new(),
            runs: BTreeMap::new(),
            starts: 0,
        }
    }

    pub(super) async fn live(mut self) {
        begin();
        for index in 0..self.nodes.len() {
            self.nodes[index].start();
        }
        for _ in 0..STEPS {
            self.user().await;
            self.operator().await;
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
                self.nodes[index].start();
            }
        }
        self.watch_for(CALM).await;
        self.converged(&self.done().await);
        self.replicas_converged().await;
        self.moves_are_done().await;
    }

    fn say(&self, what: &str) {
        if std::env::var_os("STRAKE_SEED").is_some() {
            eprintln!("{:?} {what}", tokio::time::Instant::now());
        }
    }

    /// Wants a unit on another machine, whether it may be there or not.
    async fn operator(&self) {
        if self.whims.percent(70) {
            return;
        }
        let model = Feed::open(&self.memory).await.expect("the store").model;
        let held = model.desired.iter();
        let held = held.flat_map(|(id, at)| at.value.units.keys().map(move |unit| (id, unit)));
        let held: Vec<_> = held.collect();
        if held.is_empty() {
            return;
        }
        let (from, unit) = held[self.whims.below(held.len() as u64) as usize];
        let to = &self.nodes[self.whims.below(self.nodes.len() as u64) as usize].id;
        let wish = Move::new(from.clone(), to.clone());
        self.say(&format!("operator: {unit} from {from} to {to}"));
        let asked = orders::ask_to_move(&self.memory, &[(unit.clone(), wish)]).await;
        asked.expect("the store");
    }

    /// What is left is of units that have no place, and of instances beside one that is down.
    async fn moves_are_done(&self) {
        let model = Feed::open(&self.memory).await.expect("the store").model;
        for (name, at) in &model.moves {
            let waits = model.holders(name).is_empty() || name.instance().is_some();
            assert!(waits, "seed {}: {name}: {:?}", self.seed, at.value);
        }
    }

    async fn user(&mut self) {
        if self.random.percent(15) {
            return self.replace_replicas().await;
        }
        let options = self.random.below(8) as usize;
        // A unit is global or not for all its life: while it changes, both are allowed for a while.
        let kind = match options {
            GLOBAL => "g",
            BATCH => "b",
            CALENDAR => "c",
            FENCED => "f",
            _ => "u",
        };
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
        if self.random.percent(10) {
            self.wanted.remove(&name);
            let key = keys::unit(&name);
            return self.write(vec![Write::Delete { key }]).await;
        }
        self.order(&name, state, text).await;
    }

    async fn order(&mut self, name: &UnitName, state: State, text: Text) {
        let digest = text.digest();
        let words = text.to_string().into_bytes();
        let former = self.wanted.insert(name.clone(), (state, text));
        if state == State::Launched && former.is_none_or(|(former, _)| former != state) {
            self.starts = clock().max(self.starts + 1);
            self.runs.insert(name.clone(), self.starts);
        }
        let unit = Unit {
            digest: digest.clone(),
            state,
            run: self.runs.get(name).copied().unwrap_or(0),
        };
        let put = |key, value| Write::Put {
            key,
            value,
            lease: None,
        };
        let unit = serde_json::to_vec(&unit).expect("json");
        let writes = vec![put(keys::text(&digest), words), put(keys::unit(name), unit)];
        self.write(writes).await;
    }

    async fn write(&self, writes: Vec<Write>) {
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
                self.nodes[index].kill();
                self.nodes[index].start();
            }
            // The power goes; and perhaps comes back.
            6 => {
                self.nodes[index].kill();
                self.nodes[index].host.lose_power();
            }
            7 => {
                if self.nodes[index].tasks.is_empty() {
                    self.nodes[index].start();
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
            let live: Vec<bool> = self.nodes.iter().map(|n| self.is_live(&n.id)).collect();
            let done = self.done().await;
            tokio::time::sleep(LOOK).await;
            self.single();
            for (node, live) in self.nodes.iter().zip(live) {
                let live = live && self.is_live(&node.id);
                self.nothing_done_twice(node, &done, live);
            }
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

    async fn done(&self) -> BTreeMap<UnitName, Done> {
        let listing = read_all(&self.memory, "/strake/v1/done/").await;
        let entries = listing.expect("the store").entries.into_iter();
        let done = entries.map(|entry| {
            let name = entry.key.rsplit('/').next().expect("a name").parse();
            let value = serde_json::from_slice(&entry.value).expect("done");
            (name.expect("a name"), value)
        });
        done.collect()
    }

    /// What had ended at the last look was not started since, by a machine with a lease.
    fn nothing_done_twice(&self, node: &Node, done: &BTreeMap<UnitName, Done>, live: bool) {
        for (name, run) in node.host.new_starts() {
            let over = done
                .get(&name)
                .is_some_and(|done| run > 0 && done.run >= run);
            assert!(
                !(live && over),
                "seed {}: run {run} of {name} again on {}",
                self.seed,
                node.id
            );
        }
    }

    fn single(&self) {
        let mut runs: BTreeMap<UnitName, Vec<&MachineId>> = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| self.is_live(&node.id)) {
            for name in node.host.running() {
                if name.as_str().starts_with(['u', 'b', 'c', 'r']) {
                    runs.entry(name).or_default().push(&node.id);
                }
            }
        }
        for node in &self.nodes {
            // Whether its machine has a lease or not.
            let fenced = node.host.running().into_iter();
            for name in fenced.filter(|name| name.as_str().starts_with('f')) {
                runs.entry(name).or_default().push(&node.id);
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
        // What it was told before the silence it may do in it, and does late when its requests hang.
        let told = node.disk.load().unwrap_or_default();
        let is_wanted = |(name, seen): &(&UnitName, &Seen)| {
            let wanted = told.units.get(*name);
            wanted.is_some_and(|unit| unit.state == State::Launched && unit.digest == seen.digest)
        };
        let up = before.iter().filter(|(_, seen)| seen.active.is_up());
        let up = up.filter(is_wanted);
        for (name, seen) in up.filter(|(name, _)| !name.as_str().starts_with('f')) {
            assert!(
                !stops(now.get(name)) || node.tasks.is_empty(),
                "seed {}: {name} ({seen:?}) was stopped on {} in silence",
                self.seed,
                node.id
            );
        }
    }

    fn converged(&self, done: &BTreeMap<UnitName, Done>) {
        let seed = self.seed;
        for node in &self.nodes {
            assert!(
                self.is_live(&node.id),
                "seed {seed}: {} is not back",
                node.id
            );
            let units = node.host.all().into_iter();
            for (name, seen) in units.filter(|(name, _)| name.prefix() != "r") {
                let wanted = self.wanted.get(&name);
                let (state, text) = wanted.unwrap_or_else(|| panic!("seed {seed}: stray {name}"));
                assert_eq!(seen.digest, text.digest(), "seed {seed}: {name}");
                assert_eq!(
                    seen.started || name.as_str().starts_with('c'),
                    *state == State::Launched || name.as_str().starts_with('c'),
                    "seed {seed}: {name}"
                );
            }
        }
        let units = self.wanted.iter().filter(|(name, _)| !name.is_template());
        for (name, (state, text)) in units {
            let holders: Vec<&Node> = self
                .nodes
                .iter()
                .filter(|node| node.host.all().contains_key(name))
                .collect();
            let requirements = Requirements::read(name, text).expect("requirements");
            let once = requirements.course == Course::Once && *state == State::Launched;
            if once {
                let done = done.get(name).map(|done| done.run);
                assert_eq!(done, self.runs.get(name).copied(), "seed {seed}: {name}");
            }
            if *state == State::Launched && matches!(requirements.course, Course::Calendar(_)) {
                // On a machine only while it is at work.
                let age = clock().saturating_sub(done.get(name).map_or(0, |done| done.run));
                assert!(age < 2 * 60_000, "seed {seed}: {name} ran {age} ms ago");
                assert!(holders.len() < 2, "seed {seed}: {name}");
                continue;
            }
            let wanted = match (state, requirements.reach) {
                (State::Inactive, _) => 0,
                _ if once => 0,
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

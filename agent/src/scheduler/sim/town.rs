//! A cluster that does what a script says, line by line, and is looked at all the while.
//!
//! Orders go through the same code as the command line's and the API's. A line that says what has
//! to be waits for it, two minutes of the simulation's clock at most.
//!
//! | line | |
//! |---|---|
//! | `machine ID KEY=VALUE...` | one more machine with this metadata (`memory`, `cpus`: facts) |
//! | `submit\|load\|start UNIT : OPTIONS`, `replace UNIT : OPTIONS` | options apart by `;` |
//! | `policy SECONDS MOVES GAIN` | how the leader moves units by itself |
//! | `scale SECONDS` | so much of a lease for each machine that comes from now on |
//! | `stop\|unload\|destroy UNIT`, `move UNIT ID`, `tag ID KEY=VALUE`, `drain\|undrain ID` | |
//! | `cut\|mend\|power-off\|boot\|restart ID` | the machine's network, power and service; `all` for each |
//! | `shut-down ID` | in order, as systemd does it; then its power is off |
//! | `refused ORDER => TEXT` | the order is refused with this, and the store is as it was |
//! | `runs UNIT on ID...`, `runs UNIT on N` | it runs there, and nowhere else |
//! | `loaded UNIT on N`, `nowhere UNIT` | given to so many machines and not started; to none |
//! | `is UNIT STATE` | how far it has come, as users are told |
//! | `apart A B`, `together A B` | each runs on one machine |
//! | `away ID`, `there ID`, `lease ID SECONDS` | its lease, and how long it is |
//! | `ran UNIT N` | it was started so often |
//! | `soon UNIT on ID` | within a second it is started there, and runs nowhere else |
//! | `still SECONDS` | what runs runs on where it is, and nothing else begins |
//! | `explain UNIT ID => TEXT` | why it may not be there |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::node::Node;
use super::world::begin;
use crate::scheduler::clock;
use crate::scheduler::glob::Glob;
use crate::scheduler::keys::{self, Move, Policy, State};
use crate::scheduler::leave::leave;
use crate::scheduler::machine::{Duty, Fact, Machine, MachineId};
use crate::scheduler::model::{Feed, Model};
use crate::scheduler::name::UnitName;
use crate::scheduler::orders::{self, Known, Tagging};
use crate::scheduler::plan::{Verdict, explain};
use crate::scheduler::requirement::Reach;
use crate::scheduler::standing::standing;
use crate::scheduler::text::Text;
use crate::store::faulty::{Link, Random};
use crate::store::memory::Memory;
use crate::store::{Entry, read_all};

const LIMIT: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
const FLEET: [&str; 6] = [
    "MachineID",
    "MachineOf",
    "MachineMetadata",
    "Conflicts",
    "Replaces",
    "Global",
];

pub(super) struct Town {
    memory: Memory,
    random: Random,
    nodes: BTreeMap<String, Node>,
    /// Machines that have not registered yet: orders wait for them.
    fresh: Vec<MachineId>,
    scale: Option<Duration>,
}

pub(super) async fn play(script: &str) {
    let mut town = Town {
        memory: Memory::default(),
        random: Random::new(7),
        nodes: BTreeMap::new(),
        fresh: Vec::new(),
        scale: None,
    };
    begin();
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        town.step(line).await;
    }
}

fn name(word: &str) -> UnitName {
    word.parse()
        .unwrap_or_else(|error| panic!("{word}: {error}"))
}

fn text(options: &str) -> Text {
    let mut text = String::new();
    if !options.contains("ExecStart=") {
        text += "[Service]\nExecStart=/bin/sleep 9\n";
    }
    for option in options.split(';').map(str::trim).filter(|o| !o.is_empty()) {
        let key = option.split('=').next().unwrap_or_default();
        let section = match key {
            "ExecStart" => "Service",
            key if FLEET.contains(&key) => "X-Fleet",
            _ => "X-Strake",
        };
        text += &format!("[{section}]\n{option}\n");
    }
    Text::parse(&text).unwrap_or_else(|problems| panic!("{options}: {problems:?}"))
}

impl Town {
    async fn step(&mut self, line: &str) {
        if let Some((order, expected)) = line.split_once(" => ") {
            return match order.strip_prefix("explain ") {
                Some(rest) => self.explained(rest, expected).await,
                None => self.refused(order, expected).await,
            };
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] != "machine" {
            self.registered().await;
        }
        match words.as_slice() {
            ["machine", id, about @ ..] => self.add(id, about),
            ["scale", seconds] => {
                self.scale = Some(Duration::from_secs(seconds.parse().expect(line)));
            }
            ["soon", unit, "on", id] => self.soon(unit, id).await,
            ["cut" | "mend" | "power-off" | "boot" | "restart", id] => self.luck(words[0], id),
            ["shut-down", id] => {
                let node = &self.nodes[*id];
                leave(&node.agent_way, &node.machine).await;
                self.luck("power-off", id);
            }
            ["still", seconds] => self.still(seconds.parse().expect(line)).await,
            [
                "runs" | "loaded" | "nowhere" | "is" | "apart" | "together" | "away" | "there"
                | "lease" | "ran",
                ..,
            ] => {
                self.until(line, &words).await;
            }
            _ => {
                let done = self.order(line).await;
                done.unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }

    async fn registered(&mut self) {
        for id in std::mem::take(&mut self.fresh) {
            while !self.is_live(&id) {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    fn add(&mut self, id: &str, about: &[&str]) {
        let mut machine = Machine::bare(id);
        for (key, value) in about.iter().filter_map(|pair| pair.split_once('=')) {
            let number = crate::scheduler::condition::quantity(value);
            match (key, number) {
                ("memory" | "cpus" | "load5", Some(number)) => {
                    machine.facts.insert(key.to_string(), Fact::Number(number));
                }
                _ => drop(machine.metadata.insert(key.to_string(), value.to_string())),
            }
        }
        let beat = Duration::from_secs(6);
        let mut node = Node::new(&self.memory, &self.random, machine, beat);
        if let Some(per_machine) = self.scale {
            node.scale.per_machine = per_machine;
        }
        node.start();
        self.fresh.push(node.id.clone());
        self.nodes.insert(id.to_string(), node);
    }

    fn luck(&mut self, what: &str, id: &str) {
        for (name, node) in &mut self.nodes {
            if id != "all" && id != name {
                continue;
            }
            match what {
                "cut" => node.link(Link::Cut),
                "mend" => node.link(Link::Good),
                "boot" => {
                    // What it says of itself begins anew, too.
                    node.machine
                        .send_modify(|machine| machine.duty = Duty::Open);
                    node.start();
                }
                "restart" => {
                    node.kill();
                    node.start();
                }
                _ => {
                    node.kill();
                    node.host.lose_power();
                }
            }
        }
    }

    async fn order(&self, line: &str) -> Result<(), orders::Error> {
        let (head, options) = line.split_once(" : ").unwrap_or((line, ""));
        let store = &self.memory;
        let words: Vec<&str> = head.split_whitespace().collect();
        match words.as_slice() {
            ["submit", unit] => {
                orders::submit(store, &name(unit), &text(options), Known::Refuse).await?;
            }
            ["replace", unit] => {
                orders::submit(store, &name(unit), &text(options), Known::Replace).await?;
            }
            [verb @ ("start" | "load"), unit] => {
                let unit = name(unit);
                self.make_known(&unit, options).await?;
                let state = match *verb {
                    "start" => State::Launched,
                    _ => State::Loaded,
                };
                orders::set_state(store, &unit, state).await?;
            }
            ["stop", unit] => drop(orders::set_state(store, &name(unit), State::Loaded).await?),
            ["unload", unit] => drop(orders::set_state(store, &name(unit), State::Inactive).await?),
            ["destroy", unit] => drop(orders::destroy(store, &name(unit)).await?),
            ["move", unit, to] => {
                let unit = name(unit);
                let model = self.model().await;
                let from = model.holders(&unit);
                let from = from.first().map_or(&self.nodes[*to].id, |id| *id);
                let wish = Move::new(from.clone(), self.nodes[*to].id.clone());
                orders::ask_to_move(store, &[(unit, wish)]).await?;
            }
            ["policy", every, moves, gain] => {
                let policy = Policy {
                    every: every.parse().expect(line),
                    moves: moves.parse().expect(line),
                    gain: gain.parse().expect(line),
                };
                orders::set_policy(store, Some(&policy)).await?;
            }
            ["tag", id, pair] => {
                let (key, value) = pair.split_once('=').expect(line);
                let value = (!value.is_empty()).then(|| value.to_string());
                let metadata = [(key.to_string(), value)].into();
                let tagging = Tagging {
                    metadata,
                    duty: None,
                };
                orders::tag(store, &self.nodes[*id].id, tagging).await?;
            }
            [verb @ ("drain" | "undrain"), id] => {
                let duty = match *verb {
                    "drain" => Duty::Draining,
                    _ => Duty::Open,
                };
                let tagging = Tagging {
                    duty: Some(duty),
                    ..Tagging::default()
                };
                orders::tag(store, &self.nodes[*id].id, tagging).await?;
            }
            _ => panic!("this is no line of a script: {line}"),
        }
        Ok(())
    }

    /// An instance has its template's text.
    async fn make_known(&self, unit: &UnitName, options: &str) -> Result<(), orders::Error> {
        let known = orders::text(&self.memory, unit).await;
        if known.is_ok() && options.is_empty() {
            return Ok(());
        }
        let words = match unit.template().filter(|_| options.is_empty()) {
            Some(template) if !unit.is_template() => orders::text(&self.memory, &template).await?,
            _ => text(options),
        };
        orders::submit(&self.memory, unit, &words, Known::Refuse).await?;
        Ok(())
    }

    async fn everything(&self) -> Vec<Entry> {
        let users = ["units/", "text/", "tags/", "moves/"];
        let mut all = Vec::new();
        for part in users {
            let prefix = format!("{}{part}", keys::ALL);
            all.extend(
                read_all(&self.memory, &prefix)
                    .await
                    .expect("a list")
                    .entries,
            );
        }
        all
    }

    async fn refused(&self, order: &str, expected: &str) {
        let order = order.strip_prefix("refused ").expect(order);
        let before = self.everything().await;
        let error = self.order(order).await.expect_err(order).to_string();
        assert!(error.contains(expected), "{order}: {error}");
        assert_eq!(self.everything().await, before, "{order}");
    }

    async fn explained(&self, about: &str, expected: &str) {
        let (unit, id) = about.split_once(' ').expect(about);
        let snapshot = self.model().await.snapshot(&BTreeMap::new(), clock::now());
        let verdicts = explain(&snapshot, &name(unit));
        let verdict = &verdicts[&self.nodes[id].id];
        let told = match verdict {
            Verdict::MayNot(why) => why.clone(),
            other => format!("{other:?}"),
        };
        assert!(told.contains(expected), "{about}: {told}");
    }

    async fn model(&self) -> Model {
        Feed::open(&self.memory).await.expect("the store").model
    }

    fn running_on(&self, unit: &str) -> Vec<&str> {
        let runs = |node: &Node| node.host.running().iter().any(|name| name.as_str() == unit);
        let nodes = self.nodes.iter().filter(|(_, node)| runs(node));
        nodes.map(|(id, _)| id.as_str()).collect()
    }

    fn held_by(&self, unit: &str) -> Vec<&str> {
        let holds = |node: &Node| node.host.all().contains_key(&name(unit));
        let nodes = self.nodes.iter().filter(|(_, node)| holds(node));
        nodes.map(|(id, _)| id.as_str()).collect()
    }

    async fn is_so(&self, words: &[&str]) -> bool {
        match words {
            ["runs", unit, "on", places @ ..] => {
                let running = self.running_on(unit);
                let up = |id: &&str| {
                    let seen = self.nodes[*id].host.all().remove(&name(unit));
                    seen.is_some_and(|seen| seen.active.is_up())
                };
                let all_up = running.iter().all(up);
                match places[0].parse::<usize>() {
                    Ok(count) => running.len() == count && all_up,
                    Err(_) => running == places && all_up,
                }
            }
            ["loaded", unit, "on", count] => {
                self.held_by(unit).len().to_string() == *count && self.running_on(unit).is_empty()
            }
            ["nowhere", unit] => self.held_by(unit).is_empty(),
            ["is", unit, state] => {
                let (now, _) = standing(&self.model().await, &name(unit));
                now.word() == *state
            }
            ["apart", a, b] => {
                let (a, b) = (self.running_on(a), self.running_on(b));
                a.len() == 1 && b.len() == 1 && a != b
            }
            ["together", a, b] => {
                let (a, b) = (self.running_on(a), self.running_on(b));
                a.len() == 1 && a == b
            }
            ["away", id] => !self.is_live(&self.nodes[*id].id),
            ["there", id] => self.is_live(&self.nodes[*id].id),
            ["lease", id, seconds] => {
                let ttl = self.memory.ttl(&keys::machine(&self.nodes[*id].id));
                ttl == Some(Duration::from_secs(seconds.parse().expect("seconds")))
            }
            ["ran", unit, count] => {
                let started = |node: &Node| node.host.starts_of(&name(unit));
                let starts: usize = self.nodes.values().map(started).sum();
                starts.to_string() == *count
            }
            _ => panic!("this is no line of a script: {words:?}"),
        }
    }

    async fn until(&self, line: &str, words: &[&str]) {
        let end = Instant::now() + LIMIT;
        while !self.is_so(words).await {
            assert!(
                Instant::now() < end,
                "not so after {LIMIT:?}: {line}\n{}",
                self.shown()
            );
            tokio::time::sleep(LOOK).await;
            self.look().await;
        }
    }

    async fn soon(&self, unit: &str, id: &str) {
        let end = Instant::now() + Duration::from_secs(1);
        while self.running_on(unit) != [id] {
            assert!(
                Instant::now() < end,
                "{unit} is not on {id} after a second:\n{}",
                self.shown()
            );
            tokio::time::sleep(LOOK).await;
            self.look().await;
        }
    }

    async fn still(&self, seconds: u64) {
        let running = || -> BTreeMap<&str, Vec<UnitName>> {
            let nodes = self.nodes.iter();
            nodes
                .map(|(id, node)| (id.as_str(), node.host.running()))
                .collect()
        };
        let before = running();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            tokio::time::sleep(LOOK).await;
            self.look().await;
            assert_eq!(running(), before, "within {seconds} s");
        }
    }

    fn shown(&self) -> String {
        let nodes = self.nodes.iter();
        let lines = nodes.map(|(id, node)| {
            let live = self.is_live(&node.id);
            format!("{id} (lease: {live}): {:?}\n", node.host.all())
        });
        lines.collect()
    }

    fn is_live(&self, id: &MachineId) -> bool {
        self.memory.holds(&keys::machine(id))
    }

    /// What holds at every moment: one machine for what is single, and nobody beside those it keeps
    /// away.
    async fn look(&self) {
        let model = self.model().await;
        let live = || self.nodes.values().filter(|node| self.is_live(&node.id));
        let mut seen: BTreeSet<UnitName> = BTreeSet::new();
        for node in live() {
            let running = node.host.running();
            for unit in &running {
                let Some(asked) = model.read_requirements(unit) else {
                    continue;
                };
                let again = !seen.insert(unit.clone()) && asked.reach == Reach::Single;
                assert!(!again, "{unit} runs twice:\n{}", self.shown());
                let kept_away = |glob: &Glob| {
                    let others = running.iter().filter(|other| *other != unit);
                    others.filter(|other| glob.matches(other.as_str())).count() > 0
                };
                let beside = asked.conflicts.iter().any(kept_away);
                assert!(
                    !beside,
                    "{unit} has company on {}:\n{}",
                    node.id,
                    self.shown()
                );
            }
        }
    }
}

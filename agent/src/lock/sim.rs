//! Machines that want the lock, a store behind a bad network, and bad luck, all from a seed.
//!
//! Checked after every step: never more machines are away for a reboot they were allowed than the
//! max allows, counting one that is dead only until its deadline; the stored value is whole. At
//! the end, healed: every machine that lives has had its turn.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use strake_updates::time::{Span, Timestamp};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Instant;

use super::keys::Group;
use super::semaphore::{Max, Semaphore};
use super::{Claim, Claimant, Lock, Patience};
use crate::scheduler;
use crate::seeds;
use crate::store::faulty::{Faulty, Link, Random};
use crate::store::memory::Memory;
use crate::store::{Renewal, Store, Transaction, Write};

const SEEDS: u64 = 80;
const STEPS: u64 = 60;
const DEADLINE: Duration = Duration::from_secs(60);
const REGISTRATION: Duration = Duration::from_secs(30);
const CALM: Duration = Duration::from_secs(2400);
const PATIENCE: Patience = Patience {
    lease: Duration::from_secs(20),
    pause: Duration::from_secs(2),
    look: Duration::from_secs(10),
};

/// What a machine keeps across its reboots, and what an onlooker sees of it.
#[derive(Debug, Default)]
struct Body {
    boots: Vec<String>,
    /// Since when it is down, or up but not healthy, by its own decision.
    away: Option<Instant>,
    turns: u64,
}

struct Node {
    id: String,
    link: Faulty,
    body: Rc<RefCell<Body>>,
    task: JoinHandle<()>,
}

struct World {
    random: Random,
    memory: Memory,
    nodes: Vec<Node>,
    max: i64,
}

fn claim(who: &Claimant) -> Claim {
    Claim {
        token: who.token.clone(),
        boot: who.boots.last().cloned().unwrap_or_default(),
        release: "1.0.0".to_string(),
        reason: "update".to_string(),
        since: Timestamp::from_unix(0),
        deadline: Span(DEADLINE.as_secs()),
        registered: true,
        zone: String::new(),
    }
}

async fn stay_registered(store: Faulty, id: String) {
    let key = scheduler::keys::machine(&id.parse().expect("id"));
    loop {
        if let Ok(lease) = store.grant(REGISTRATION).await {
            let writes = vec![Write::Put {
                key: key.clone(),
                value: b"{}".to_vec(),
                lease: Some(lease),
            }];
            let transaction = Transaction {
                compares: Vec::new(),
                writes,
            };
            let mut renewed = store.commit(&transaction).await.is_ok();
            while renewed {
                tokio::time::sleep(REGISTRATION / 3).await;
                renewed = !matches!(store.keep_alive(lease).await, Ok(Renewal::Over));
            }
        }
        tokio::time::sleep(PATIENCE.pause).await;
    }
}

/// One start of a machine, until it reboots by its own decision; nothing ends it but an abort.
async fn live(store: Faulty, id: String, body: Rc<RefCell<Body>>, random: Random) {
    let registered = tokio::task::spawn_local(stay_registered(store.clone(), id.clone()));
    // Ends with this start.
    let _registered = AbortOnDrop(registered);
    let lock = Lock::new(store, Group::default());
    body.borrow_mut().boots.push(random.next().to_string());
    let who = Claimant {
        id: id.clone(),
        token: id,
        boots: body.borrow().boots.clone(),
    };
    loop {
        give_back(&lock, &who, &body, &random).await;
        tokio::time::sleep(Duration::from_secs(random.below(30))).await;
        let taken = lock.wait(&who, &claim(&who), PATIENCE).await;
        taken.expect("nobody else has this id");
        // Drains.
        tokio::time::sleep(Duration::from_secs(random.below(300))).await;
        if matches!(lock.is_held_by(&who).await, Ok(true)) {
            body.borrow_mut().away = Some(Instant::now());
            return;
        }
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Becomes healthy and releases what an earlier start has taken, for as long as that takes.
async fn give_back(lock: &Lock<Faulty>, who: &Claimant, body: &Rc<RefCell<Body>>, random: &Random) {
    if body.borrow().away.is_some() {
        tokio::time::sleep(Duration::from_secs(random.below(20))).await;
        body.borrow_mut().away = None;
        body.borrow_mut().turns += 1;
    }
    while lock.give_back(who).await.is_err() {
        tokio::time::sleep(PATIENCE.pause).await;
    }
}

impl World {
    async fn new(seed: u64) -> World {
        let random = Random::new(seed);
        let memory = Memory::default();
        let max = 1 + i64::try_from(random.below(2)).expect("small");
        let lock = Lock::new(memory.clone(), Group::default());
        lock.set_max(Max::Machines(max)).await.expect("max");
        let nodes = (0..2 + random.below(4)).map(|index| {
            let id = format!("m{index}");
            let link = Faulty::new(memory.clone(), random.clone());
            let body = Rc::new(RefCell::new(Body::default()));
            let start = live(link.clone(), id.clone(), body.clone(), random.clone());
            Node {
                id,
                link,
                body,
                task: tokio::task::spawn_local(start),
            }
        });
        World {
            nodes: nodes.collect(),
            random,
            memory,
            max,
        }
    }

    fn start(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.task.abort();
        let start = live(
            node.link.clone(),
            node.id.clone(),
            node.body.clone(),
            self.random.clone(),
        );
        node.task = tokio::task::spawn_local(start);
    }

    async fn pass(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.check().await;
        }
    }

    async fn check(&self) {
        let key = Group::default().semaphore();
        let entry = self.memory.read(&key).await.expect("memory");
        let semaphore = Semaphore::parse(&entry.expect("a value").value).expect("whole");
        assert!(semaphore.free() >= 0, "{semaphore:?}");
        let away = self.nodes.iter().filter(|node| {
            let since = node.body.borrow().away;
            since.is_some_and(|since| since.elapsed() <= DEADLINE)
        });
        let away: Vec<&str> = away.map(|node| node.id.as_str()).collect();
        let allowed = usize::try_from(self.max).expect("small");
        assert!(away.len() <= allowed, "{away:?} are away, max {}", self.max);
    }

    async fn misfortune(&mut self) {
        let index = usize::try_from(self.random.below(self.nodes.len() as u64)).expect("small");
        match self.random.below(8) {
            0 => self.nodes[index].link.set(Link::Cut),
            1 => self.nodes[index].link.set(Link::Bad),
            2 | 3 => self.nodes[index].link.set(Link::Good),
            4 => self.nodes[index].link.stray_commits_arrive().await,
            // Power fails; the machine is off for a while or comes straight back.
            5 => self.nodes[index].task.abort(),
            _ => self.start(index),
        }
    }

    /// Those that reboot come up again.
    fn boot(&mut self) {
        for index in 0..self.nodes.len() {
            let is_down = self.nodes[index].task.is_finished();
            if is_down && self.random.percent(30) {
                self.start(index);
            }
        }
    }

    async fn run(mut self) {
        for _ in 0..STEPS {
            self.misfortune().await;
            self.pass(Duration::from_secs(self.random.below(40))).await;
            self.boot();
        }
        for index in 0..self.nodes.len() {
            self.nodes[index].link.set(Link::Good);
            self.nodes[index].link.stray_commits_arrive().await;
            self.start(index);
        }
        let before: Vec<u64> = self.turns();
        let end = Instant::now() + CALM;
        while Instant::now() < end {
            self.pass(Duration::from_secs(5)).await;
            self.boot();
        }
        for (node, before) in self.nodes.iter().zip(before) {
            let turns = node.body.borrow().turns;
            assert!(turns > before, "{} had no turn after all was well", node.id);
        }
    }

    fn turns(&self) -> Vec<u64> {
        let turns = self.nodes.iter().map(|node| node.body.borrow().turns);
        turns.collect()
    }
}

fn run(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(PAUSED)
        .build()
        .expect("runtime");
    let world = async { World::new(seed).await.run().await };
    LocalSet::new().block_on(&runtime, world);
}

#[test]
fn never_more_than_max_are_away_and_everyone_gets_a_turn() {
    seeds::each(SEEDS, &[], run);
}

const PAUSED: bool = true;

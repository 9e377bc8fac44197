//! Fifty clients of the reboot lock, each a process, killed, stopped and cut off at random, on a
//! real etcd: what they saw is explained by an order in which never more than max have the lock,
//! and so is what etcd has written.
//!
//! `STRAKE_SEEDS`, which `cargo lab test --full` sets, makes it long.

mod lock_world;
mod real_etcd;

use std::cell::RefCell;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use lock_world::client::{self, group, now};
use lock_world::history::{Said, Time, check, turns_after};
use lock_world::proxy::{Proxy, Way};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use strake_agent::lock::Lock;
use strake_agent::lock::semaphore::{Max, Semaphore};
use strake_agent::store::{Event, Store};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, LocalSet};

const CLIENTS: usize = 50;
const MAX: usize = 3;
const TROUBLE: Duration = Duration::from_secs(10);
const LONG_TROUBLE: Duration = Duration::from_secs(120);
/// For everybody to have a turn once all is well.
const HEALING: Duration = Duration::from_secs(180);
const AGAIN: Duration = Duration::from_millis(50);
const TOLD: &str = "STRAKE_LOCK_CLIENT";
const NAME: &str = "what_clients_saw_that_were_killed_and_cut_off_has_an_order";

type Saw = Rc<RefCell<Vec<Vec<(Time, Said)>>>>;

/// The same numbers for the same seed. SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

struct Running {
    child: Child,
    listening: JoinHandle<()>,
}

/// The same test in a process of its own is a client.
fn start(index: usize, number: u32, proxy: &Proxy, saw: &Saw) -> Running {
    let program = std::env::current_exe().expect("this program");
    let told = format!("http://{} c{index} {number}", proxy.address);
    let mut child = Command::new(program)
        .args([NAME, "--exact", "--nocapture"])
        .env(TOLD, told)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a client starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let saw = saw.clone();
    let listening = tokio::task::spawn_local(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(said) = client::read(&line) {
                saw.borrow_mut()[index].push(said);
            }
        }
    });
    Running { child, listening }
}

impl Running {
    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs");
        kill(Pid::from_raw(id.cast_signed()), signal).expect("it runs");
    }

    /// All it said is taken in, too.
    async fn kill(mut self) {
        self.child.kill().await.expect("it runs");
        self.listening.await.expect("the end of its words");
    }
}

/// One client with its troubles, which end at that time.
async fn trouble(index: usize, proxy: &Proxy, saw: &Saw, end: Time) -> Running {
    let mut random = Random(index as u64);
    let mut number = 0;
    let mut running = start(index, number, proxy, saw);
    while now() < end {
        tokio::time::sleep(random.millis(300, 3000)).await;
        let pause = random.millis(50, 2000);
        match random.below(4) {
            0 => {
                running.kill().await;
                number += 1;
                running = start(index, number, proxy, saw);
            }
            1 => {
                running.signal(Signal::SIGSTOP);
                tokio::time::sleep(pause).await;
                running.signal(Signal::SIGCONT);
            }
            2 => {
                proxy.set(Way::Cut);
                tokio::time::sleep(pause).await;
            }
            _ => {
                proxy.set(Way::Stuck);
                tokio::time::sleep(pause).await;
            }
        }
        proxy.set(Way::Open);
    }
    running
}

/// Every value that the lock ever had, in etcd's order.
async fn record(store: impl Store, kept: Rc<RefCell<Vec<Semaphore>>>) {
    let key = group().semaphore();
    let mut watch = store.watch(&key, 1).await.expect("a watch");
    while let Ok(batch) = watch.next().await {
        for event in batch.events {
            if let Event::Put(entry) = event {
                let value = Semaphore::parse(&entry.value).expect("whole");
                kept.borrow_mut().push(value);
            }
        }
    }
}

#[tokio::test]
async fn what_clients_saw_that_were_killed_and_cut_off_has_an_order() {
    if let Ok(told) = std::env::var(TOLD) {
        client::run(&told).await;
    }
    let Some(server) = real_etcd::Server::start().await else {
        return;
    };
    let saw: Saw = Rc::new(RefCell::new(vec![Vec::new(); CLIENTS]));
    let values = Rc::new(RefCell::new(Vec::new()));
    let tasks = LocalSet::new();
    tasks
        .run_until(async {
            let store = server.store().await;
            let lock = Lock::new(store.clone(), group());
            let max = i64::try_from(MAX).expect("small");
            lock.set_max(Max::Machines(max)).await.expect("a max");
            tokio::task::spawn_local(record(store, values.clone()));
            let long = std::env::var_os("STRAKE_SEEDS").is_some();
            let lasts = if long { LONG_TROUBLE } else { TROUBLE };
            let end = now() + u64::try_from(lasts.as_nanos()).expect("small");
            let endpoint = server.settings().endpoints[0].replace("http://", "");
            let clients = (0..CLIENTS).map(|index| {
                let (saw, endpoint) = (saw.clone(), endpoint.clone());
                tokio::task::spawn_local(async move {
                    let proxy = Proxy::start(endpoint).await;
                    let running = trouble(index, &proxy, &saw, end).await;
                    (running, proxy)
                })
            });
            let clients: Vec<_> = clients.collect();
            let mut healthy = Vec::new();
            for client in clients {
                healthy.push(client.await.expect("a client"));
            }
            let well = now();
            let everybody = async {
                let served = |index: usize| turns_after(index, &saw.borrow()[index], well) > 0;
                while !(0..CLIENTS).all(served) {
                    tokio::time::sleep(AGAIN).await;
                }
            };
            let healed = tokio::time::timeout(HEALING, everybody).await;
            healed.expect("everybody has a turn once all is well");
            for (running, _) in healthy {
                running.kill().await;
            }
        })
        .await;
    let saw = saw.borrow();
    let turns: usize = (0..CLIENTS)
        .map(|index| turns_after(index, &saw[index], 0))
        .sum();
    println!("{turns} turns of {CLIENTS} clients");
    check(&saw, MAX).expect("an order");
    let values = values.borrow();
    for pair in values.windows(2) {
        let ids = |value: &Semaphore| value.holders().map(str::to_string).collect::<Vec<_>>();
        let (before, after) = (ids(&pair[0]), ids(&pair[1]));
        assert!(after.len() <= MAX && pair[1].free() >= 0, "{after:?}");
        let came = after.iter().filter(|id| !before.contains(id)).count();
        let went = before.iter().filter(|id| !after.contains(id)).count();
        assert!(came + went <= 1, "{before:?}, then {after:?}");
    }
    assert!(
        values.len() > 2 * turns,
        "{} values of {turns} turns",
        values.len()
    );
}

/// Words as `client time word`, in any order of clients.
fn said(text: &str) -> Vec<Vec<(Time, Said)>> {
    let mut all = vec![Vec::new(); 4];
    for words in text.split(',').map(str::trim) {
        let (client, rest) = words.split_once(' ').expect("a client");
        let said = client::read(&format!("@{rest}")).expect("a word");
        all[client.parse::<usize>().expect("a number")].push(said);
    }
    all
}

#[test]
fn the_checker_finds_what_has_no_order_and_nothing_else() {
    let cases = [
        (
            "one after the other",
            1,
            "0 1 asks, 0 2 has, 0 3 gives, 0 4 gave, 1 1 asks, 1 5 has",
            true,
        ),
        (
            "the answer of the first came late",
            1,
            "0 1 asks, 0 2 has, 0 3 gives, 1 1 asks, 1 4 has, 0 9 gave",
            true,
        ),
        (
            "two at once",
            1,
            "0 1 asks, 0 2 has, 1 1 asks, 1 3 has, 0 4 gives, 0 5 gave",
            false,
        ),
        (
            "two at once, and two may",
            2,
            "0 1 asks, 0 2 has, 1 1 asks, 1 3 has, 0 4 gives, 0 5 gave",
            true,
        ),
        (
            "three of two",
            2,
            "0 1 asks, 0 2 has, 1 1 asks, 1 3 has, 2 1 asks, 2 4 has",
            false,
        ),
        (
            "the second never gives back",
            1,
            "0 1 asks, 0 2 has, 0 3 gives, 0 4 gave, 1 1 asks, 1 5 has, 2 6 asks, 2 9 has",
            false,
        ),
        (
            "killed before the answer, and it had it",
            1,
            "0 1 asks, 0 5 gives, 0 6 gave",
            true,
        ),
        (
            "killed before the answer, and there was no place",
            1,
            "1 0 asks, 1 1 has, 0 2 asks, 0 5 gives, 0 6 gave, 1 9 gives, 1 10 gave",
            false,
        ),
        (
            "killed before the answer, a place came in between",
            1,
            "1 0 asks, 1 1 has, 0 2 asks, 1 4 gives, 1 5 gave, 0 5 gives, 0 6 gave",
            true,
        ),
        (
            "killed before the answer, and it never had it",
            1,
            "0 1 asks, 0 5 gives, 0 6 nothing",
            true,
        ),
        (
            "it was taken away",
            1,
            "0 1 asks, 0 2 has, 0 3 gives, 0 4 nothing",
            false,
        ),
        (
            "it was given back by a try whose answer was lost",
            1,
            "0 1 asks, 0 2 has, 0 3 gives, 0 4 gives, 0 5 nothing",
            true,
        ),
        (
            "it came after it was given back for good",
            1,
            "0 1 asks, 0 2 gives, 0 3 nothing, 0 4 gives, 0 5 gave",
            false,
        ),
    ];
    for (what, max, text, has_order) in cases {
        let found = check(&said(text), max);
        assert_eq!(found.is_ok(), has_order, "{what}: {found:?}");
    }
    assert_eq!(
        turns_after(0, &said("0 1 asks, 0 2 has, 0 3 gives, 0 4 gave")[0], 2),
        0
    );
}

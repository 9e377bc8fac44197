//! A cluster in memory, on a clock that jumps: hours take seconds.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use strake_agent::lock::keys::Group;
use strake_agent::lock::semaphore::Max;
use strake_agent::lock::{Lock, Patience};
use strake_agent::reboot::budget;
use strake_agent::root::Root;
use strake_agent::scheduler::keys::MACHINES;
use strake_agent::store::memory::Memory;
use strake_agent::store::{MAX_OPERATIONS, Store, Transaction, Write};
use strake_agent::update::node::{Node, Refusal};
use strake_updates::time::Timestamp;
use strake_updates::version::Version;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::common::{machine, seconds};

/// Longer than on machines: ten thousand renew in one thread here.
const LEASE: Duration = Duration::from_secs(3600);

#[derive(Args)]
pub(crate) struct Rollout {
    #[arg(long)]
    pub(crate) count: usize,
    /// How many of 100 may be away at once
    #[arg(long)]
    pub(crate) percent: u8,
    /// How long each is away
    #[arg(long)]
    pub(crate) away: u64,
    /// The release comes up on no machine
    #[arg(long)]
    pub(crate) bad: bool,
}

#[derive(Default)]
struct Seen {
    away: usize,
    most: usize,
    touched: usize,
}

pub(crate) async fn rollout(wanted: Rollout) -> Result<Value> {
    let store = Memory::default();
    register(&store, wanted.count).await?;
    let group = Group::default();
    let lock = Lock::new(store.clone(), group.clone());
    lock.set_max(Max::Percent(wanted.percent)).await?;
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut machines = JoinSet::new();
    let start = Instant::now();
    let end = if wanted.bad {
        End::FallBack
    } else {
        End::Healthy
    };
    for index in 0..wanted.count {
        let (lock, store, seen) = (
            Lock::new(store.clone(), group.clone()),
            store.clone(),
            seen.clone(),
        );
        let away = Duration::from_secs(wanted.away);
        machines.spawn_local(async move { turn(index, &lock, &store, &seen, (away, end)).await });
    }
    while let Some(ended) = machines.join_next().await {
        ended??;
    }
    let seen = seen.borrow();
    let at_once = wanted.count * usize::from(wanted.percent) / 100;
    let rounds = wanted.count.div_ceil(at_once.max(1)) as u64;
    Ok(json!({
        "seconds": seconds(start.elapsed()),
        "ideal": rounds * wanted.away,
        "most_at_once": seen.most,
        "touched": seen.touched,
        "budget": budget::default_budget(wanted.count),
    }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Healthy,
    FallBack,
}

async fn register(store: &Memory, count: usize) -> Result<()> {
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(MAX_OPERATIONS) {
        let put = |index: &usize| Write::Put {
            key: format!("{MACHINES}{index:032x}"),
            value: b"{}".to_vec(),
            lease: None,
        };
        let transaction = Transaction {
            compares: Vec::new(),
            writes: some.iter().map(put).collect(),
        };
        store.commit(&transaction).await?;
    }
    Ok(())
}

/// One machine, from the moment it wants to reboot to the moment it has given the lock back.
async fn turn(
    index: usize,
    lock: &Lock<Memory>,
    store: &Memory,
    seen: &Rc<RefCell<Seen>>,
    (away, end): (Duration, End),
) -> Result<()> {
    let release: Version = "1.1.0".parse()?;
    let (who, claim) = machine(index, "1.1.0");
    let patience = Patience {
        lease: LEASE,
        ..Patience::default()
    };
    let pause = Duration::from_secs(30);
    loop {
        lock.wait(&who, &claim, patience).await?;
        match budget::enter(store, &who.id, release, None).await? {
            None => break,
            Some(budget::Obstacle::Refused) => {
                lock.give_back(&who).await?;
                return Ok(());
            }
            Some(budget::Obstacle::Unproven { .. }) => {
                lock.give_back(&who).await?;
                tokio::time::sleep(pause).await;
            }
        }
    }
    {
        let mut seen = seen.borrow_mut();
        seen.touched += 1;
        seen.away += 1;
        seen.most = seen.most.max(seen.away);
    }
    tokio::time::sleep(away).await;
    seen.borrow_mut().away -= 1;
    match end {
        End::Healthy => budget::prove(store, &who.id, release).await?,
        End::FallBack => fall_back(store, &who.id, release).await?,
    }
    lock.give_back(&who).await?;
    Ok(())
}

/// As a machine does that finds itself on the old release again.
async fn fall_back(store: &Memory, id: &str, release: Version) -> Result<()> {
    let dir = tempfile::tempdir().context("a machine's root")?;
    let root = Root::new(dir.path());
    let mut node = Node::default();
    node.refuse(Refusal {
        version: release,
        time: Timestamp::from_unix(1_800_000_000),
        cause: "kernel panic".to_string(),
        boots: 3,
        journal: Vec::new(),
    });
    node.save(&root)?;
    budget::tell(&root, store, id, None).await?;
    Ok(())
}

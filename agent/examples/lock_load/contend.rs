//! Many clients on one etcd.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use strake_agent::lock::keys::Group;
use strake_agent::lock::semaphore::Max;
use strake_agent::lock::{Lock, Patience};
use strake_agent::scheduler::keys::MACHINES;
use strake_agent::store::etcd::{Etcd, Settings};
use strake_agent::store::{Store, Transaction, Write, read_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::common::{machine, seconds};

/// Longer than the bench lasts.
const REGISTRATION: Duration = Duration::from_secs(3600);

#[derive(Args)]
pub(crate) struct Contend {
    /// etcd's address, without TLS
    #[arg(long)]
    endpoint: String,
    #[arg(long)]
    count: usize,
    #[arg(long)]
    max: i64,
    /// How long each holds the lock
    #[arg(long)]
    hold_ms: u64,
}

#[derive(Args)]
pub(crate) struct Park {
    #[arg(long)]
    endpoint: String,
    #[arg(long)]
    count: usize,
    /// How long they are watched once all are in the queue
    #[arg(long)]
    seconds: u64,
}

#[derive(Default)]
struct Seen {
    inside: i64,
    most: i64,
    waits: Vec<Duration>,
}

/// etcd's own counters.
#[derive(Debug, Clone, Copy)]
struct Counters {
    /// What it had to agree on: transactions, leases given and taken back.
    proposals: f64,
    /// Calls that clients began, watches and renewals among them.
    calls: f64,
}

async fn client(endpoint: &str) -> Result<Etcd> {
    let settings = Settings {
        endpoints: vec![endpoint.to_string()],
        ca: None,
        cert: None,
        key: None,
    };
    Ok(Etcd::connect(&settings).await?)
}

async fn counters(endpoint: &str) -> Result<Counters> {
    let at = endpoint
        .strip_prefix("http://")
        .context("an http:// address")?;
    let mut stream = TcpStream::connect(at)
        .await
        .context("asking for counters")?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {at}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let sum = |name: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    };
    let proposals = sum("etcd_server_proposals_committed_total");
    ensure!(proposals > 0.0, "etcd tells no counters");
    Ok(Counters {
        proposals,
        calls: sum("grpc_server_started_total"),
    })
}

/// As its scheduler does; what that costs to keep is not the lock's.
async fn register(store: &Etcd, index: usize) -> Result<()> {
    let lease = store.grant(REGISTRATION).await?;
    let put = Write::Put {
        key: format!("{MACHINES}{}", machine(index, "").0.id),
        value: b"{}".to_vec(),
        lease: Some(lease),
    };
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![put],
    };
    store.commit(&transaction).await?;
    Ok(())
}

pub(crate) async fn contend(wanted: Contend) -> Result<Value> {
    let store = client(&wanted.endpoint).await?;
    let group = Group::named("bench");
    let lock = Lock::new(store.clone(), group.clone());
    lock.set_max(Max::Machines(wanted.max)).await?;
    let mut locks = Vec::new();
    for index in 0..wanted.count {
        let own = client(&wanted.endpoint).await?;
        register(&own, index).await?;
        locks.push(Lock::new(own, group.clone()));
    }
    let before = counters(&wanted.endpoint).await?;
    let hold = Duration::from_millis(wanted.hold_ms);
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut machines = JoinSet::new();
    let start = Instant::now();
    for (index, lock) in locks.into_iter().enumerate() {
        let seen = seen.clone();
        machines.spawn_local(async move {
            let (who, claim) = machine(index, "1.1.0");
            lock.wait(&who, &claim, Patience::default()).await?;
            {
                let mut seen = seen.borrow_mut();
                seen.waits.push(start.elapsed());
                seen.inside += 1;
                seen.most = seen.most.max(seen.inside);
            }
            tokio::time::sleep(hold).await;
            seen.borrow_mut().inside -= 1;
            lock.give_back(&who).await?;
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(ended) = machines.join_next().await {
        ended??;
    }
    let took = start.elapsed();
    let after = counters(&wanted.endpoint).await?;
    let seen = seen.borrow();
    let waits: Vec<f64> = seen.waits.iter().map(Duration::as_secs_f64).collect();
    let average = waits.iter().sum::<f64>() / waits.len() as f64;
    let longest = waits.iter().copied().fold(0.0, f64::max);
    let ideal = hold.as_secs_f64() * wanted.count as f64 / wanted.max as f64;
    Ok(json!({
        "seconds": seconds(took),
        "ideal": ideal,
        "most_at_once": seen.most,
        "average_wait": average,
        "longest_wait": longest,
        "writes_per_pair": (after.proposals - before.proposals) / wanted.count as f64,
        "calls_per_pair": (after.calls - before.calls) / wanted.count as f64,
    }))
}

/// Nobody gets the lock: what do those who wait for it cost?
pub(crate) async fn park(wanted: Park) -> Result<Value> {
    let store = client(&wanted.endpoint).await?;
    let group = Group::named("park");
    let lock = Lock::new(store.clone(), group.clone());
    lock.lock_by_hand("somebody").await?;
    let mut machines = JoinSet::new();
    for index in 0..wanted.count {
        let own = client(&wanted.endpoint).await?;
        register(&own, index).await?;
        let lock = Lock::new(own, group.clone());
        machines.spawn_local(async move {
            let (who, claim) = machine(index, "1.1.0");
            lock.wait(&who, &claim, Patience::default()).await.map(drop)
        });
    }
    let queue = group.queue();
    while read_all(&store, &queue).await?.entries.len() < wanted.count {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Those who came last have read the queue, too.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = counters(&wanted.endpoint).await?;
    tokio::time::sleep(Duration::from_secs(wanted.seconds)).await;
    let after = counters(&wanted.endpoint).await?;
    let minutes = wanted.seconds as f64 / 60.0 * wanted.count as f64;
    Ok(json!({
        "calls_per_waiter_and_minute": (after.calls - before.calls) / minutes,
        "writes_per_waiter_and_minute": (after.proposals - before.proposals) / minutes,
    }))
}

//! Units handed to the cluster, and how long each took until it ran.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use strake_agent::scheduler::keys::{self, State};
use strake_agent::scheduler::name::UnitName;
use strake_agent::scheduler::orders;
use strake_agent::scheduler::text::Text;
use strake_agent::store::Store;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::task::{JoinSet, spawn_local};

use crate::seen::{follow, running};
use crate::{Api, Load};

const UNIT: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";

/// When each unit was handed over, and when it was first seen running.
#[derive(Default)]
struct Times {
    submitted: BTreeMap<UnitName, Instant>,
    running: BTreeMap<UnitName, Instant>,
    /// Of everything below Strake's prefix, as the leader gets it.
    bytes: u64,
}

pub(crate) async fn load(store: &impl Store, wanted: &Load) -> Result<Value> {
    let names = names(&wanted.name, wanted.count.count);
    let text = Text::parse(UNIT).ok().context("a unit")?;
    let times = Rc::new(RefCell::new(Times::default()));
    let before = store.list("none/", None, None).await?.revision;
    let watching = (!wanted.no_wait).then(|| watch(store, &times, names.len()));
    let queue = Rc::new(RefCell::new(names));
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..wanted.at_once {
        let (store, queue, times) = (store.clone(), queue.clone(), times.clone());
        let text = text.clone();
        workers.spawn_local(async move {
            loop {
                let next = queue.borrow_mut().pop();
                let Some(name) = next else {
                    return Ok::<_, orders::Error>(());
                };
                let now = Instant::now();
                times.borrow_mut().submitted.insert(name.clone(), now);
                orders::set(&store, &name, &text, State::Launched).await?;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let submitted = start.elapsed().as_secs_f64();
    if let Some(watching) = watching {
        watching.await??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = store.list("none/", None, None).await?.revision;
    Ok(told(&times.borrow(), submitted, seconds, after - before))
}

pub(crate) async fn through_api(store: &impl Store, wanted: &Api) -> Result<Value> {
    let names = names("api", wanted.count.count);
    let times = Rc::new(RefCell::new(Times::default()));
    let before = store.list("none/", None, None).await?.revision;
    let watching = watch(store, &times, names.len());
    let socket = UnixStream::connect(&wanted.socket).await;
    let mut socket = BufReader::new(socket.context("connecting to the API")?);
    let start = Instant::now();
    for name in names {
        times
            .borrow_mut()
            .submitted
            .insert(name.clone(), Instant::now());
        put(&mut socket, &name).await?;
    }
    let submitted = start.elapsed().as_secs_f64();
    watching.await??;
    let seconds = start.elapsed().as_secs_f64();
    let after = store.list("none/", None, None).await?.revision;
    Ok(told(&times.borrow(), submitted, seconds, after - before))
}

fn names(kind: &str, count: usize) -> Vec<UnitName> {
    let names = (0..count).map(|number| format!("{kind}-{number}.service"));
    names
        .map(|name| name.parse().expect("a unit's name"))
        .collect()
}

fn watch<S: Store>(
    store: &S,
    times: &Rc<RefCell<Times>>,
    count: usize,
) -> tokio::task::JoinHandle<Result<i64>> {
    let (store, times) = (store.clone(), times.clone());
    let observed = format!("{}observed/", keys::ALL);
    spawn_local(async move {
        follow(&store, keys::ALL, |batch| {
            let now = Instant::now();
            let mut times = times.borrow_mut();
            for event in &batch.events {
                if let strake_agent::store::Event::Put(entry) = event {
                    times.bytes += (entry.key.len() + entry.value.len()) as u64;
                    if !entry.key.starts_with(&observed) {
                        continue;
                    }
                }
                for name in running(event) {
                    if times.submitted.contains_key(&name) {
                        times.running.entry(name).or_insert(now);
                    }
                }
            }
            times.running.len() >= count
        })
        .await
    })
}

fn told(times: &Times, submitted: f64, seconds: f64, writes: i64) -> Value {
    let mut each: Vec<f64> = times
        .running
        .iter()
        .filter_map(|(name, at)| Some((*at - *times.submitted.get(name)?).as_secs_f64()))
        .collect();
    each.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (each.len() as f64 * share) as usize;
        each.get(index.min(each.len().saturating_sub(1))).copied()
    };
    json!({
        "units": times.submitted.len(),
        "submitted": submitted,
        "seconds": seconds,
        "median": at(0.5),
        "p99": at(0.99),
        "writes": writes,
        "bytes": times.bytes,
    })
}

/// One PUT as fleetctl sends it.
async fn put(socket: &mut BufReader<UnixStream>, name: &UnitName) -> Result<()> {
    let body = json!({
        "name": name,
        "desiredState": "launched",
        "options": [{ "section": "Service", "name": "ExecStart", "value": "/usr/bin/sleep infinity" }],
    })
    .to_string();
    let request = format!(
        "PUT /fleet/v1/units/{name} HTTP/1.1\r\nHost: fleet\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.get_mut().write_all(request.as_bytes()).await?;
    let mut status = String::new();
    socket.read_line(&mut status).await?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut answer = vec![0; length];
    socket.read_exact(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(status.contains(" 201"), "{name}: {status}{answer}");
    Ok(())
}

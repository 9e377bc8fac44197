//! Machines that join, rest and go.

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use strake_agent::store::{Event, Store};

use crate::net::{Net, Node, Process};
use crate::watch::{Seen, Watcher, What};
use crate::{Site, on_one_thread};

/// Machines that join one by one after all others.
const LATE: usize = 10;
/// Of their leases, in seconds.
const SHORT: u64 = 5;
const LONG: u64 = 86_400;
const REST: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(300);
const SUBNETS: &str = "/coreos.com/network/subnets/";

pub(crate) fn run(site: &Site) -> Result<Value> {
    let net = Net::new(site)?;
    let count = site.machines;
    let nodes = (0..count + LATE).map(|number| net.node(number));
    let nodes: Vec<Node> = nodes.collect::<Result<_>>()?;
    let (early, late) = nodes.split_at(count);
    let watcher = Watcher::new(early)?;

    let start = Instant::now();
    let services = early.iter().map(|node| node.start(LONG));
    let services: Vec<Process> = services.collect::<Result<_>>()?;
    let wanted = count * (count - 1);
    let mut pairs = HashSet::new();
    let mut looked = 0;
    watcher.until(LIMIT, |seen| {
        let added = seen[looked..].iter().filter(|one| one.what == What::Added);
        pairs.extend(added.map(|one| (one.node, one.to)));
        looked = seen.len();
        pairs.len() >= wanted
    })?;
    ensure!(pairs.len() >= wanted, "{} of {wanted} routes", pairs.len());
    let all_at_once = start.elapsed();

    let share = at_rest(&watcher, &services)?;

    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
    for node in late {
        let start = Instant::now();
        let service = node.start(SHORT);
        let seen = of_one(&watcher, count, What::Added)?;
        joins.extend(after(start, &seen));
        let subnet = seen.first().map(|one| one.to).context("no route")?;
        drop(service);
        let gone = on_one_thread(async { deleted(&net.store().await?, subnet).await })??;
        let seen = of_one(&watcher, count, What::Removed)?;
        leaves.extend(after(gone, &seen));
    }
    Ok(json!({
        "machines": count,
        "all_at_once_seconds": all_at_once.as_secs_f64(),
        "join_seconds": quantiles(&mut joins),
        "leave_after_expiry_seconds": quantiles(&mut leaves),
        "cpu_percent_at_rest": share,
    }))
}

/// One event of each machine.
fn of_one(watcher: &Watcher, count: usize, what: What) -> Result<Vec<Seen>> {
    let mut seen = watcher.until(LIMIT, |seen| {
        seen.iter().filter(|one| one.what == what).count() >= count
    })?;
    seen.retain(|one| one.what == what);
    ensure!(seen.len() >= count, "{} of {count} machines", seen.len());
    Ok(seen)
}

/// Waits until the lease is gone; the moment at which the store told it.
async fn deleted(store: &impl Store, subnet: IpAddr) -> Result<Instant> {
    let key = format!("{SUBNETS}{subnet}-24");
    let mut watch = store.watch(&key, 0).await?;
    if store.read(&key).await?.is_none() {
        return Ok(Instant::now());
    }
    loop {
        let batch = watch.next().await?;
        let is_gone = |event: &Event| matches!(event, Event::Deleted { .. });
        if batch.events.iter().any(is_gone) {
            return Ok(Instant::now());
        }
    }
}

/// Routes may be gone a moment before this program hears of the lease's end.
fn after(start: Instant, seen: &[Seen]) -> Vec<f64> {
    let times = seen
        .iter()
        .map(|one| one.at.saturating_duration_since(start));
    times.map(|time| time.as_secs_f64()).collect()
}

fn quantiles(values: &mut [f64]) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (values.len() as f64 * share).ceil() as usize;
        values.get(index.saturating_sub(1)).copied()
    };
    json!({"median": at(0.5), "p99": at(0.99), "most": at(1.0)})
}

/// Of one processor, for each service on average.
fn at_rest(watcher: &Watcher, services: &[Process]) -> Result<f64> {
    // Until nothing has happened for a while.
    watcher.until(Duration::from_secs(5), |_| false)?;
    let before = ticks(services)?;
    let start = Instant::now();
    watcher.until(REST, |_| false)?;
    let used = ticks(services)? - before;
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?;
    let seconds = used as f64 / ticks.unwrap_or(100) as f64;
    Ok(seconds / start.elapsed().as_secs_f64() / services.len() as f64 * 100.0)
}

fn ticks(services: &[Process]) -> Result<u64> {
    let mut all = 0;
    for service in services {
        let text = fs::read_to_string(format!("/proc/{}/stat", service.0.id()))?;
        let (_, fields) = text.rsplit_once(')').context("no process")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // User and system time: fields 14 and 15 of the whole line.
        for index in [11, 12] {
            let field: u64 = fields.get(index).context("no times")?.parse()?;
            all += field;
        }
    }
    Ok(all)
}

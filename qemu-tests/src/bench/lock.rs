//! The reboot lock: a thousand machines that all want it at once on a real etcd, what waiting
//! costs, and a cluster of ten thousand that rolls to a release on a clock that jumps.
//!
//! The lock is the real one (`agent/examples/lock_load`); clients and etcd share one host.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::boot::describe;
use super::scheduler::cluster::{Process, free_address, number, pause};
use super::{Row, Site, Summary};
use crate::programs;
use crate::tools::run;
use crate::wait::Deadline;

const MACHINES: &str = "1000";
const MAX: &str = "10";
const HOLD_MS: &str = "1000";
const PARKED_SECONDS: &str = "60";
const CLUSTER: &str = "10000";
const AWAY: &str = "300";
const START: u64 = 30;
const AGAIN: Duration = Duration::from_millis(50);

pub fn lock(site: &Site<'_>) -> Result<Vec<Row>> {
    let progress = site.progress;
    let load = progress.stage("load", || programs::lock_load(site.workspace))?;
    let bench = Bench {
        site,
        load,
        directory: site.workspace.work().join("bench/lock"),
    };
    let mut rows = vec![Row::machine(&describe())];
    rows.extend(progress.stage("contention", || bench.contention())?);
    rows.extend(progress.stage("waiting", || bench.waiting())?);
    rows.extend(progress.stage("rollout", || bench.rollout())?);
    rows.push(progress.stage("bad release", || bench.bad_release())?);
    Ok(rows)
}

struct Bench<'a> {
    site: &'a Site<'a>,
    load: PathBuf,
    directory: PathBuf,
}

struct Etcd {
    endpoint: String,
    _process: Process,
}

impl Bench<'_> {
    fn etcd(&self) -> Result<Etcd> {
        let data = self.directory.join("etcd");
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
        }
        fs::create_dir_all(&data)?;
        let (endpoint, peer) = (free_address()?, free_address()?);
        let mut command = self.command_of_etcd(&data, &endpoint, &peer);
        let process = Process::start(&mut command)?;
        let at = endpoint.trim_start_matches("http://");
        let deadline = Deadline::seconds(START);
        while TcpStream::connect(at).is_err() {
            ensure!(!deadline.is_over(), "etcd does not listen at {endpoint}");
            pause(AGAIN)?;
        }
        Ok(Etcd {
            endpoint,
            _process: process,
        })
    }

    fn command_of_etcd(&self, data: &Path, endpoint: &str, peer: &str) -> Command {
        let mut command = self.site.tools.command("etcd");
        command
            .arg("--data-dir")
            .arg(data)
            .args(["--name", "one", "--log-level", "error"])
            .args(["--listen-client-urls", endpoint])
            .args(["--advertise-client-urls", endpoint])
            .args(["--listen-peer-urls", peer])
            .args(["--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &format!("one={peer}")]);
        command
    }

    fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let told = run(Command::new(&self.load).args(arguments))?;
        serde_json::from_str(&told).with_context(|| format!("reading {told:?}"))
    }

    fn contention(&self) -> Result<[Row; 5]> {
        let mut figures: [Summary; 5] = Default::default();
        for _ in 0..self.site.runs {
            let etcd = self.etcd()?;
            let told = self.ask(&[
                "contend",
                "--endpoint",
                &etcd.endpoint,
                "--count",
                MACHINES,
                "--max",
                MAX,
                "--hold-ms",
                HOLD_MS,
            ])?;
            let waits = number(&told, "longest_wait")? / number(&told, "average_wait")?;
            let over = number(&told, "seconds")? / number(&told, "ideal")?;
            let all = [
                number(&told, "most_at_once")?,
                over,
                number(&told, "writes_per_pair")?,
                number(&told, "calls_per_pair")?,
                waits,
            ];
            for (figure, value) in figures.iter_mut().zip(all) {
                figure.add(value);
            }
        }
        let [most, over, writes, calls, waits] = figures.map(|figure| figure.median());
        Ok([
            Row::new("1,000 machines, max 10: most at once", most, "").at_most(10.0),
            Row::new("time, of the ideal 100 s", over, "").at_most(1.1),
            Row::new("etcd's writes for each lock and release", writes, "").at_most(6.0),
            Row::new("calls to etcd for each lock and release", calls, ""),
            Row::new("longest wait, of the average", waits, "").at_most(2.0),
        ])
    }

    fn waiting(&self) -> Result<[Row; 2]> {
        let (mut calls, mut writes) = (Summary::default(), Summary::default());
        for _ in 0..self.site.runs {
            let etcd = self.etcd()?;
            let told = self.ask(&[
                "park",
                "--endpoint",
                &etcd.endpoint,
                "--count",
                MACHINES,
                "--seconds",
                PARKED_SECONDS,
            ])?;
            calls.add(number(&told, "calls_per_waiter_and_minute")?);
            writes.add(number(&told, "writes_per_waiter_and_minute")?);
        }
        Ok([
            Row::new(
                "calls of a machine that waits, a minute",
                calls.median(),
                "",
            ),
            Row::new(
                "writes of a machine that waits, a minute",
                writes.median(),
                "",
            )
            .at_most(0.0),
        ])
    }

    /// Nothing in it depends on the host: once is enough.
    fn rollout(&self) -> Result<[Row; 2]> {
        let told = self.ask(&[
            "rollout",
            "--count",
            CLUSTER,
            "--percent",
            "1",
            "--away",
            AWAY,
        ])?;
        let over = number(&told, "seconds")? / number(&told, "ideal")?;
        let most = number(&told, "most_at_once")?;
        Ok([
            Row::new("10,000 machines by 1 %, of the ideal 8.3 h", over, "").at_most(1.05),
            Row::new("most of them away at once", most, "").at_most(100.0),
        ])
    }

    fn bad_release(&self) -> Result<Row> {
        let told = self.ask(&[
            "rollout",
            "--count",
            CLUSTER,
            "--percent",
            "1",
            "--away",
            AWAY,
            "--bad",
        ])?;
        let (touched, budget) = (number(&told, "touched")?, number(&told, "budget")?);
        Ok(Row::new("machines that a bad release touches", touched, "").at_most(budget))
    }
}

//! A real etcd with real disk writes, and processes that are the cluster's parts.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::poll;
use serde_json::Value;

use super::super::Summary;
use crate::tools::{Tools, run};
use crate::wait::{Deadline, timespec};

/// Ticks of `/proc/PID/stat` per second: fixed for programs on Linux.
const TICKS: f64 = 100.0;
const START_LIMIT: u64 = 30;
const SYNCS: u64 = 100;
const START_PAUSE: Duration = Duration::from_millis(50);

/// A child that is killed when the value goes.
#[derive(Debug)]
pub(in crate::bench) struct Process(Child);

impl Process {
    pub(in crate::bench) fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn();
        Ok(Self(
            child.with_context(|| format!("starting {command:?}"))?,
        ))
    }

    /// Seconds of processor time since it was started.
    pub(super) fn processor(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.0.id());
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let (_, fields) = text.rsplit_once(") ").context("no name in it")?;
        // User and system time: fields 14 and 15, of which the first two are gone.
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
        let ticks = ticks.collect::<Result<Vec<_>, _>>()?;
        Ok(ticks.iter().sum::<f64>() / TICKS)
    }

    pub(super) fn resident_mb(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.0.id());
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|line| line.split_whitespace().next());
        let kibibytes: f64 = size.context("it does not tell its size")?.parse()?;
        Ok(kibibytes * 1024.0 / 1e6)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An empty store, and the program that plays the cluster on it.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) etcd: Process,
    pub(super) endpoint: String,
    pub(super) directory: PathBuf,
    load: PathBuf,
}

impl Cluster {
    pub(super) fn start(tools: &Tools, load: &Path, directory: &Path, data: &Path) -> Result<Self> {
        match fs::remove_dir_all(data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", data.display()));
            }
            _ => fs::create_dir_all(data)?,
        }
        let (endpoint, peer) = (free_address()?, free_address()?);
        let etcd = Process::start(
            tools
                .command("etcd")
                .arg("--data-dir")
                .arg(data)
                .args(["--name", "one", "--log-level", "error"])
                .args(["--listen-client-urls", &endpoint])
                .args(["--advertise-client-urls", &endpoint])
                .args(["--listen-peer-urls", &peer])
                .args(["--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &format!("one={peer}")])
                .args(["--quota-backend-bytes", "8589934592"]),
        )?;
        let cluster = Self {
            etcd,
            endpoint,
            directory: directory.to_owned(),
            load: load.to_owned(),
        };
        let deadline = Deadline::seconds(START_LIMIT);
        while let Err(error) = cluster.revision() {
            if deadline.is_over() {
                return Err(error.context("waiting for etcd to answer"));
            }
            pause(START_PAUSE)?;
        }
        Ok(cluster)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.load);
        command.args(["--endpoint", &self.endpoint]).args(arguments);
        command
    }

    /// One that goes on.
    pub(super) fn spawn(&self, arguments: &[&str]) -> Result<Process> {
        Process::start(&mut self.command(arguments))
    }

    pub(super) fn engine(&self) -> Result<Process> {
        self.spawn(&["engine"])
    }

    /// Machines, once all of them are registered.
    pub(super) fn agents(&self, count: usize, more: &[&str]) -> Result<Process> {
        let count = count.to_string();
        let agents = self.spawn(&[&["agents", "--count", &count], more].concat())?;
        self.ask(&["registered", "--count", &count])?;
        Ok(agents)
    }

    /// What one that ends has printed.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let told = run(&mut self.command(arguments))?;
        serde_json::from_str(&told).with_context(|| format!("reading {told:?}"))
    }

    pub(super) fn ask_later(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        child.context("starting a watcher")
    }

    pub(super) fn revision(&self) -> Result<f64> {
        number(&self.ask(&["registered", "--count", "0"])?, "revision")
    }
}

/// Milliseconds that a write of one block takes until it is on the disk; the median of many.
pub(super) fn sync_ms(directory: &Path) -> Result<f64> {
    let path = directory.join("sync");
    let file = fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let mut times = Summary::default();
    for index in 0..SYNCS {
        let start = Instant::now();
        file.write_all_at(&[0; 4096], index * 4096)?;
        file.sync_data()?;
        times.add(start.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(&path)?;
    Ok(times.median())
}

pub(in crate::bench) fn number(told: &Value, name: &str) -> Result<f64> {
    let found = told[name].as_f64();
    found.with_context(|| format!("{name} is not in {told}"))
}

pub(super) fn answer_of(child: Child) -> Result<Value> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "a watcher failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What is measured meanwhile goes on by itself.
pub(in crate::bench) fn pause(time: Duration) -> Result<()> {
    poll(&mut [], Some(&timespec(time))).context("waiting")?;
    Ok(())
}

pub(in crate::bench) fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("finding a free port")?;
    Ok(format!("http://{}", listener.local_addr()?))
}

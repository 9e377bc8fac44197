//! The scheduler on a real etcd: few machines with many units, and more and more machines.
//!
//! The machines are the real agent with units that do nothing (`agent/examples/scheduler_load`);
//! etcd, leader, machines and whoever measures are processes of one host.

pub(super) mod cluster;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::boot::describe;
use super::{Row, Site, Summary};
use crate::programs;
use crate::tools::run;
use cluster::{Cluster, answer_of, number, pause, sync_ms};

/// Of the machines that one of is lost; the bar counts from it.
const LEASE: u64 = 10;
const REST: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(5);
const SIZES: [usize; 4] = [10, 100, 1000, 10_000];
const UNITS: usize = 1000;
const MANY_UNITS: usize = 10_000;
/// fleet's own figures, as the project's reference quotes them.
const QUOTED: &str = "fleet 1.0, quoted";

pub fn scheduler(site: &Site<'_>) -> Result<Vec<Row>> {
    let load = site
        .progress
        .stage("load", || programs::scheduler_load(site.workspace))?;
    let bench = Bench {
        site,
        load,
        directory: site.workspace.work().join("bench/scheduler"),
    };
    fs::create_dir_all(&bench.directory)?;
    let mut rows = vec![Row::machine(&describe())];
    rows.extend(site.rows("two machines", || bench.two_machines())?);
    rows.extend(site.rows("one machine at rest", || bench.at_rest())?);
    rows.extend(site.rows("placements", || bench.placements().map(Some))?);
    rows.extend(site.rows("a lost machine", || bench.lost_machine().map(Some))?);
    rows.extend(site.rows("planner", || bench.planner().map(Some))?);
    for size in SIZES {
        let name = format!("{size} machines");
        rows.extend(site.rows(&name, || bench.size(size))?);
    }
    Ok(rows)
}

struct Bench<'a> {
    site: &'a Site<'a>,
    load: PathBuf,
    directory: PathBuf,
}

impl Bench<'_> {
    fn cluster(&self) -> Result<Cluster> {
        self.cluster_with(&self.directory.join("etcd"))
    }

    fn cluster_with(&self, data: &Path) -> Result<Cluster> {
        Cluster::start(self.site.tools, &self.load, &self.directory, data)
    }

    fn two_machines(&self) -> Result<[Row; 4]> {
        let (mut on_disk, mut in_memory) = (Summary::default(), Summary::default());
        let (mut one, mut sync) = (Summary::default(), Summary::default());
        let memory = PathBuf::from(format!("/dev/shm/strake-bench-{}", std::process::id()));
        for _ in 0..self.site.runs {
            sync.add(sync_ms(&self.directory)?);
            on_disk.add(self.through_api(&self.directory.join("etcd"))?);
            in_memory.add(self.through_api(&memory)?);
            fs::remove_dir_all(&memory)?;
            let cluster = self.cluster()?;
            let _engine = cluster.engine()?;
            let _agents = cluster.agents(2, &[])?;
            self.start_one(&cluster, "first")?;
            for index in 0..3 {
                one.add(self.start_one(&cluster, &format!("next{index}"))?);
            }
        }
        Ok([
            Row::new("a write until the disk has it", sync.median(), "ms"),
            Row::new(
                "1,000 units one by one through the API, 2 machines",
                on_disk.median(),
                "s",
            )
            .against(QUOTED, 14.1)
            .at_most(1.5),
            Row::new("the same, etcd's data in memory", in_memory.median(), "s"),
            Row::new("strake unit start, until it runs", one.median(), "ms")
                .against(QUOTED, 3300.0)
                .at_most(150.0),
        ])
    }

    /// Seconds from the first order until all run.
    fn through_api(&self, data: &Path) -> Result<f64> {
        let socket = self.directory.join("fleet.sock");
        let socket = socket.to_str().context("the path is not UTF-8")?;
        let cluster = self.cluster_with(data)?;
        let _engine = cluster.engine()?;
        let _agents = cluster.agents(2, &["--socket", socket])?;
        let count = UNITS.to_string();
        let told = cluster.ask(&["api", "--count", &count, "--socket", socket])?;
        number(&told, "seconds")
    }

    /// As a user does, with the command; milliseconds.
    fn start_one(&self, cluster: &Cluster, name: &str) -> Result<f64> {
        let file = cluster.directory.join(format!("{name}.service"));
        fs::write(&file, "[Service]\nExecStart=/usr/bin/sleep infinity\n")?;
        let start = Instant::now();
        run(Command::new(self.site.workspace.program("strake"))
            .env("STRAKE_ETCD_ENDPOINTS", &cluster.endpoint)
            .args(["unit", "start"])
            .arg(&file))?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    fn at_rest(&self) -> Result<[Row; 2]> {
        let cluster = self.cluster()?;
        let _engine = cluster.engine()?;
        let agent = cluster.agents(1, &[])?;
        self.give(&cluster, UNITS)?;
        let (mut share, mut memory) = (Summary::default(), Summary::default());
        pause(SETTLE)?;
        for _ in 0..self.site.runs {
            let before = agent.processor()?;
            pause(REST)?;
            share.add((agent.processor()? - before) / REST.as_secs_f64() * 100.0);
            memory.add(agent.resident_mb()?);
        }
        Ok([
            Row::new(
                "agent at rest with 1,000 units: processor",
                share.median(),
                "%",
            )
            .against(QUOTED, 70.0)
            .at_most(0.3),
            Row::new(
                "agent at rest with 1,000 units: memory",
                memory.median(),
                "MB",
            )
            .against(QUOTED, 25.0)
            .at_most(25.0),
        ])
    }

    fn give(&self, cluster: &Cluster, count: usize) -> Result<Value> {
        cluster.ask(&["load", "--count", &count.to_string()])
    }

    /// A leader that begins with everything to do.
    fn placements(&self) -> Result<Row> {
        let mut rate = Summary::default();
        for _ in 0..self.site.runs {
            let cluster = self.cluster()?;
            let _agents = cluster.agents(100, &[])?;
            let count = MANY_UNITS.to_string();
            cluster.ask(&["load", "--count", &count, "--no-wait"])?;
            let watcher = cluster.ask_later(&["placed", "--count", &count])?;
            let start = Instant::now();
            let _engine = cluster.engine()?;
            answer_of(watcher)?;
            rate.add(MANY_UNITS as f64 / start.elapsed().as_secs_f64());
        }
        let what = "placements through etcd, 10,000 units on 100 machines";
        Ok(Row::new(what, rate.median(), "/s").at_least(3000.0))
    }

    fn lost_machine(&self) -> Result<Row> {
        let mut after = Summary::default();
        let lease = LEASE.to_string();
        for _ in 0..self.site.runs {
            let cluster = self.cluster()?;
            let _engine = cluster.engine()?;
            let _others = cluster.agents(9, &["--lease", &lease])?;
            let lost =
                cluster.spawn(&["agents", "--count", "1", "--first", "9", "--lease", &lease])?;
            cluster.ask(&["registered", "--count", "10"])?;
            self.give(&cluster, 100)?;
            let watcher = cluster.ask_later(&["moved", "--from", "9"])?;
            // It has to have read what the machine holds.
            pause(Duration::from_secs(1))?;
            let start = Instant::now();
            drop(lost);
            answer_of(watcher)?;
            after.add(start.elapsed().as_secs_f64());
        }
        let what = format!("machine killed, its units run elsewhere, lease {LEASE} s");
        Ok(Row::new(&what, after.median(), "s").at_most((LEASE + 2) as f64))
    }

    /// The planner's own bench, which links it.
    fn planner(&self) -> Result<Row> {
        let told = programs::planner_bench(self.site.workspace)?;
        let line = told
            .lines()
            .find_map(|line| line.strip_prefix("everything new"));
        let times = line.context("the planner's bench told nothing")?;
        // Changes, then the best, the median and the worst time, each with its unit.
        let median = times.split_whitespace().nth(4).context("no median")?;
        let what = "pure planner: 100,000 units on 10,000 machines, one core";
        Ok(Row::new(what, median.parse()?, "s").at_most(1.0))
    }

    fn size(&self, size: usize) -> Result<Vec<Row>> {
        let cluster = self.cluster()?;
        let engine = cluster.engine()?;
        let start = Instant::now();
        let _agents = cluster.agents(size, &[])?;
        let row =
            |what: &str, value, unit| Row::new(&format!("{size} machines: {what}"), value, unit);
        let mut rows = vec![row("all registered", start.elapsed().as_secs_f64(), "s")];
        pause(SETTLE)?;
        let (etcd, written) = (cluster.etcd.processor()?, cluster.revision()?);
        let rest = Instant::now();
        pause(REST)?;
        let seconds = rest.elapsed().as_secs_f64();
        let cores = row(
            "etcd at rest",
            (cluster.etcd.processor()? - etcd) / seconds,
            "cores",
        );
        let writes = row(
            "writes at rest",
            (cluster.revision()? - written) / seconds,
            "/s",
        );
        let largest = Some(&size) == SIZES.last();
        rows.push(if largest { cores.at_most(1.0) } else { cores });
        rows.push(if largest {
            writes.at_most(200.0)
        } else {
            writes
        });
        let leader = engine.processor()?;
        let told = self.give(&cluster, UNITS)?;
        rows.push(row(
            "1,000 units at once, all run",
            number(&told, "seconds")?,
            "s",
        ));
        rows.push(row("submit to running, p99", number(&told, "p99")?, "s"));
        rows.push(row("etcd's writes for them", number(&told, "writes")?, ""));
        rows.push(row(
            "bytes watched by the leader",
            number(&told, "bytes")? / 1e6,
            "MB",
        ));
        rows.push(row(
            "leader's processor time for them",
            engine.processor()? - leader,
            "s",
        ));
        rows.push(row("leader's memory", engine.resident_mb()?, "MB"));
        if size == 1000 {
            let count = MANY_UNITS.to_string();
            let told = cluster.ask(&["load", "--count", &count, "--name", "more"])?;
            let p99 = number(&told, "p99")?;
            rows.push(row("10,000 units, submit to running, p99", p99, "s").at_most(5.0));
        }
        Ok(rows)
    }
}

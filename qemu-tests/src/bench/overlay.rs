//! The overlay network between namespaces of this host, with a real etcd and the kernel's own
//! vxlan, and its reconciler with many leases.
//!
//! All machines share this host's processors: the more there are, the more each waits for them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::boot::describe;
use super::{Row, Site, Summary};
use crate::programs;
use crate::tools::run;

const SIZES: [usize; 3] = [10, 50, 200];
const LEASES: [usize; 2] = [1_000, 10_000];
const BY_HAND: &str = "vxlan made by hand";
/// Of the time for one lease when there are ten times as many: with a quadratic term it is ten.
const MOST_GROWTH: f64 = 2.0;

pub fn overlay(site: &Site<'_>) -> Result<Vec<Row>> {
    let progress = site.progress;
    let load = progress.stage("load", || programs::overlay_load(site.workspace))?;
    let bench = Bench { site, load };
    let mut rows = vec![Row::machine(&describe())];
    rows.extend(site.rows("leases", || bench.leases())?);
    rows.extend(site.rows("throughput", || bench.throughput())?);
    for size in SIZES {
        let name = format!("{size} machines");
        rows.extend(site.rows(&name, || bench.machines(size))?);
    }
    Ok(rows)
}

struct Bench<'a> {
    site: &'a Site<'a>,
    load: PathBuf,
}

impl Bench<'_> {
    fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let told = run(Command::new(&self.load).args(arguments))?;
        let told = serde_json::from_str(&told);
        told.with_context(|| format!("understanding what {} told", arguments[0]))
    }

    /// In namespaces: with the programs of the image and of the tools tree.
    fn ask_in_net(&self, command: &str, more: &[&str]) -> Result<Value> {
        let strake = self.site.workspace.program("strake");
        let strake = strake.to_str().context("the path is not UTF-8")?;
        let etcd = self.site.tools.command("etcd");
        let mut arguments = vec![command, "--strake", strake];
        arguments.extend(more);
        arguments.push("--");
        let parts = std::iter::once(etcd.get_program()).chain(etcd.get_args());
        let parts: Option<Vec<&str>> = parts.map(|part| part.to_str()).collect();
        arguments.extend(parts.context("the path is not UTF-8")?);
        self.ask(&arguments)
    }

    /// The bar is on pairs of runs side by side: whatever else the host does meets both.
    fn throughput(&self) -> Result<Vec<Row>> {
        let told = self.ask_in_net("throughput", &[])?;
        let own = number(&told, "/overlay_gbits")?;
        let hand = number(&told, "/by_hand_gbits")?;
        let ratio = |part: &str| number(&told, &format!("/ratio/{part}"));
        let row = Row::new("iperf3 between containers, one stream", own, "Gbit/s");
        let pairs = "the same: each run by the one by hand beside it, median";
        let quartiles = format!(
            "{:.3} to {:.3}",
            ratio("lower_quartile")?,
            ratio("upper_quartile")?
        );
        Ok(vec![
            row.against(BY_HAND, hand),
            Row::new(pairs, ratio("median")?, "").at_least(0.98),
            Row::text("the same: quartiles", &quartiles),
        ])
    }

    fn machines(&self, size: usize) -> Result<Vec<Row>> {
        let names = [
            (
                "/all_at_once_seconds",
                "all join at once, until all know all",
            ),
            (
                "/join_seconds/median",
                "a join, until another routes to it, median",
            ),
            ("/join_seconds/p99", "the same, p99"),
            (
                "/leave_after_expiry_seconds/p99",
                "a lease's end, until a route is gone, p99",
            ),
        ];
        // With many machines one run of ten joins is enough, and takes minutes.
        let runs = if size > 50 { 1 } else { self.site.runs };
        let mut summaries = vec![Summary::default(); names.len()];
        let mut rest = Summary::default();
        for _ in 0..runs {
            let told = self.ask_in_net("join", &["--machines", &size.to_string()])?;
            for ((pointer, _), summary) in names.iter().zip(&mut summaries) {
                summary.add(number(&told, pointer)?);
            }
            rest.add(number(&told, "/cpu_percent_at_rest")?);
        }
        let mut rows = Vec::new();
        for ((pointer, name), summary) in names.iter().zip(summaries) {
            let row = Row::new(&format!("{size} machines: {name}"), summary.median(), "s");
            rows.push(match pointer.ends_with("p99") && size == SIZES[2] {
                true => row.at_most(1.0),
                false => row,
            });
        }
        let name = format!("{size} machines: processor of one at rest");
        rows.push(Row::new(&name, rest.median(), "%").at_most(0.1));
        Ok(rows)
    }

    fn leases(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut each = Vec::new();
        for leases in LEASES {
            let (mut all, mut one) = (Summary::default(), Summary::default());
            for _ in 0..self.site.runs {
                let told = self.ask(&["reconcile", "--leases", &leases.to_string()])?;
                all.add(number(&told, "/all_seconds")?);
                one.add(number(&told, "/one_more_seconds")?);
            }
            let name = format!("{leases} leases through the service, no kernel");
            let bar = leases as f64 / 1000.0;
            rows.push(Row::new(&name, all.median(), "s").at_most(bar));
            each.push(all.median() / leases as f64);
            rows.push(Row::new(
                &format!("{leases} leases: one more"),
                one.median() * 1e3,
                "ms",
            ));
        }
        if let [few, many] = each[..] {
            let [less, more] = LEASES;
            let name = format!("time for one lease, of {more} against of {less}");
            rows.push(Row::new(&name, many / few, "").at_most(MOST_GROWTH));
        }
        Ok(rows)
    }
}

fn number(told: &Value, pointer: &str) -> Result<f64> {
    let value = told.pointer(pointer).and_then(Value::as_f64);
    value.with_context(|| format!("no {pointer} in {told}"))
}

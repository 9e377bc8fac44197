//! What an update takes: bytes on the wire for four kinds of release, and the work of one.

mod peers;
mod releases;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use self::peers::Peers;
use self::releases::{Pair, Releases};
use super::boot::describe;
use super::{Row, Site, Summary};
use crate::measure::Cost;
use crate::programs;
use crate::tools::run;

/// Times full: the most that any update may take.
const OVER_FULL: f64 = 1.01;

pub fn update(site: &Site<'_>) -> Result<Vec<Row>> {
    let publisher = site
        .progress
        .stage("strake-release", || programs::publisher(site.workspace))?;
    let releases = Releases::prepare(site, &publisher)?;
    let peers = Peers::prepare(site)?;
    let rehearsal = Rehearsal {
        publisher,
        releases: &releases,
        into: PathBuf::from(format!("/dev/shm/strake-bench-{}", std::process::id())),
    };
    let mut rows = vec![
        Row::machine(&describe()),
        Row::text("package lists", &releases.digest),
    ];
    for pair in Pair::ALL {
        let name = format!("update {}", pair.name());
        let told = site
            .progress
            .stage(&name, || rehearsal.run(pair, Start::Old))?;
        let own = bytes(&told, ["look", "slot", "boot_entry"])? / 1e6;
        let row = Row::new(&format!("{}: bytes on the wire", pair.name()), own, "MB");
        rows.push(match pair.bar() {
            Some(bar) => row.at_most(bar),
            None => {
                let full = rehearsal.run(pair, Start::Nothing)?;
                let full = bytes(&full, ["look", "slot", "boot_entry"])? / 1e6;
                row.against("full", full).ratio_at_most(OVER_FULL)
            }
        });
        let (old, new) = (releases.build(Pair::OLD), releases.build(pair.version()));
        for peer in peers::ALL {
            let name = format!("{} with {}", pair.name(), peer.name());
            let taken = site
                .progress
                .stage(&name, || peers.bytes(peer, &old, &new))?;
            let row = Row::new(&format!("{}: bytes on the wire", pair.name()), own, "MB");
            rows.push(row.against(peer.name(), taken as f64 / 1e6));
        }
        if pair == Pair::Kernel {
            let current = &told["look_when_current"];
            let requests = current["requests"].as_f64().context("no requests told")?;
            let kilobytes = bytes(&told, ["look_when_current"])? / 1e3;
            rows.push(Row::new("check of a current machine: requests", requests, "").at_most(3.0));
            rows.push(Row::new("check of a current machine", kilobytes, "kB").at_most(10.0));
            rows.extend(work(site, &rehearsal, pair)?);
        }
    }
    Ok(rows)
}

/// Installing, from and to memory, beside writing and reading the same bytes there.
fn work(site: &Site<'_>, rehearsal: &Rehearsal<'_>, pair: Pair) -> Result<[Row; 3]> {
    let [mut cpu, mut memory, mut wall, mut dd] = std::array::from_fn(|_| Summary::default());
    for number in 1..=site.runs {
        let name = format!("installing {} {number} of {}", pair.name(), site.runs);
        site.progress.stage(&name, || {
            let cost = rehearsal.cost(site, pair)?;
            cpu.add(cost.cpu_ms / 1e3);
            memory.add(cost.peak_mb);
            wall.add(cost.wall_ms / 1e3);
            dd.add(rehearsal.dd(pair)?);
            Ok(())
        })?;
    }
    let row = |what: &str, value: f64, unit| {
        Row::new(&format!("{}: install, {what}", pair.name()), value, unit)
    };
    Ok([
        row("processor time", cpu.median(), "s").at_most(5.0),
        row("memory", memory.median(), "MB").at_most(104.857),
        row("time", wall.median(), "s")
            .against("dd and reading back", dd.median())
            .ratio_at_most(1.2),
    ])
}

/// What a rehearsed machine has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Old,
    Nothing,
}

/// Installations into memory.
struct Rehearsal<'a> {
    publisher: PathBuf,
    releases: &'a Releases,
    into: PathBuf,
}

impl Rehearsal<'_> {
    fn arguments(&self, pair: Pair, start: Start) -> Result<Vec<String>> {
        self.forget()?;
        fs::create_dir(&self.into).with_context(|| format!("making {}", self.into.display()))?;
        let repository = self.releases.repository();
        let text = |path: &Path| path.display().to_string();
        let mut arguments = vec![
            "rehearse".to_owned(),
            text(&repository),
            format!("--channel={}", pair.name()),
            format!("--into={}", text(&self.into)),
            format!("--root={}", text(&repository.join("metadata/1.root.json"))),
        ];
        if start == Start::Old {
            let old = self.releases.build(Pair::OLD);
            arguments.push(format!("--running={}", text(&old)));
        }
        Ok(arguments)
    }

    fn run(&self, pair: Pair, start: Start) -> Result<Value> {
        let arguments = self.arguments(pair, start)?;
        let told = run(std::process::Command::new(&self.publisher).args(arguments))?;
        serde_json::from_str(&told).with_context(|| format!("reading {told:?}"))
    }

    fn cost(&self, site: &Site<'_>, pair: Pair) -> Result<Cost> {
        let arguments = self.arguments(pair, Start::Old)?;
        Cost::of(site.tools, self.publisher.as_os_str(), arguments)
    }

    /// Seconds to write the slot's content in memory and read it back.
    fn dd(&self, pair: Pair) -> Result<f64> {
        let content = self.releases.build(pair.version()).join("usr.erofs");
        let (from, to) = (self.into.join("from"), self.into.join("to"));
        fs::copy(&content, &from).with_context(|| format!("copying {}", content.display()))?;
        let copy = |input: &Path, output: &Path, more: &[&str]| {
            let mut dd = std::process::Command::new("dd");
            dd.arg(format!("if={}", input.display()))
                .arg(format!("of={}", output.display()));
            run(dd.args(["bs=1M", "status=none"]).args(more))
        };
        let started = Instant::now();
        copy(&from, &to, &["conv=fsync"])?;
        copy(&to, Path::new("/dev/null"), &[])?;
        Ok(started.elapsed().as_secs_f64())
    }

    fn forget(&self) -> Result<()> {
        if self.into.exists() {
            fs::remove_dir_all(&self.into)
                .with_context(|| format!("removing {}", self.into.display()))?;
        }
        Ok(())
    }
}

impl Drop for Rehearsal<'_> {
    fn drop(&mut self) {
        // Memory that is not given back is all that is lost; the next run says why.
        let _ = self.forget();
    }
}

fn bytes<const N: usize>(told: &Value, phases: [&str; N]) -> Result<f64> {
    let each = phases.map(|phase| {
        let bytes = told[phase]["bytes"].as_f64();
        bytes.with_context(|| format!("no bytes of {phase} told"))
    });
    each.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_of_phases_are_added_and_a_missing_phase_is_noticed() {
        let told = json!({"look": {"bytes": 5}, "slot": {"bytes": 7}});
        assert_eq!(bytes(&told, ["look", "slot"]).unwrap(), 12.0);
        assert!(bytes(&told, ["look", "boot_entry"]).is_err());
    }
}

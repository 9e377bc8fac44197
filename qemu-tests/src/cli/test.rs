//! `cargo lab test`.

use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};
use strake_qemu_tests::progress::{Progress, seconds};
use strake_qemu_tests::ring::{Totals, checks, is_wanted, record, workspace_tests};
use strake_qemu_tests::scenario::{self, Extent, SCENARIOS, Stage};
use strake_qemu_tests::workspace::Workspace;
use strake_qemu_tests::{host, programs};

use super::{Exit, up};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Leave the machines in QEMU out
    #[arg(long, conflicts_with = "full")]
    fast: bool,
    /// Add the long matrices
    #[arg(long)]
    full: bool,
    /// Only this ring
    #[arg(long, value_enum, value_name = "RING")]
    only: Option<Ring>,
    /// Only what has one of these in its name
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ring {
    /// Format, lints, dependency policy
    Checks,
    /// The tests of every member
    Tests,
    /// Scenarios in QEMU
    Machines,
}

impl Arguments {
    fn has(&self, ring: Ring) -> bool {
        self.only.is_none_or(|only| only == ring)
    }
}

pub(super) fn run(arguments: &Arguments, workspace: &Workspace) -> Result<Exit> {
    let progress = Progress::default();
    let wanted = &arguments.names;
    let machines = arguments.has(Ring::Machines) && !arguments.fast && names_a_scenario(wanted);
    let stage = if machines {
        let (image, tools) = up::build(workspace, &progress)?;
        progress.stage("publisher", || programs::publisher(workspace))?;
        Some(Stage::new(
            &workspace.tests().join("machines"),
            image,
            &tools,
        )?)
    } else {
        host::prepare(&progress)?;
        let tools = progress.stage("programs", || programs::build(workspace))?;
        progress.stage("tools tree", || tools.prepare())?;
        None
    };

    let extent = match arguments.full {
        true => Extent::Full,
        false => Extent::Usual,
    };
    let mut summary = Summary::default();
    if arguments.has(Ring::Checks) {
        summary.ring("checks", || Ok(checks(workspace, wanted)));
    }
    if arguments.has(Ring::Tests) {
        summary.ring("tests", || workspace_tests(workspace, wanted, extent));
    }
    if let Some(stage) = stage {
        summary.ring("machines", || {
            Ok(scenario::run(&SCENARIOS, &stage, wanted, extent))
        });
    }
    if arguments.full && wanted.is_empty() && arguments.only.is_none() {
        record(workspace, &summary.lines, summary.totals)?;
    }
    Ok(summary.print())
}

fn names_a_scenario(wanted: &[String]) -> bool {
    let names = SCENARIOS.iter().flat_map(|scenario| {
        scenario
            .checks
            .iter()
            .map(|check| format!("{}: {}", scenario.name, check.name))
    });
    names.into_iter().any(|name| is_wanted(wanted, &name))
}

#[derive(Debug, Default)]
struct Summary {
    lines: Vec<String>,
    totals: Totals,
}

impl Summary {
    fn ring(&mut self, name: &str, run: impl FnOnce() -> Result<Totals>) {
        println!("\n{name}");
        let started = Instant::now();
        // A ring that cannot even be counted is one failure, and the others still run.
        let totals = run().unwrap_or_else(|error| {
            println!("{error:#}");
            Totals {
                failed: 1,
                ..Totals::default()
            }
        });
        self.totals += totals;
        self.lines
            .push(format!("{name}: {totals} ({})", seconds(started.elapsed())));
    }

    fn print(&self) -> Exit {
        println!();
        for line in &self.lines {
            println!("{line}");
        }
        println!("{}", self.totals);
        if self.totals.failed > 0 {
            Exit::Failed
        } else {
            Exit::Done
        }
    }
}

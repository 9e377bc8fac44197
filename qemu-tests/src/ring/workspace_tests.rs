//! `cargo test` of every member, counted.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::checks::cargo;
use super::{Totals, indent, libtest};
use crate::scenario::Extent;
use crate::workspace::Workspace;

/// Of each simulation, where time is no matter.
const FULL_SEEDS: &str = "2000";

pub fn workspace_tests(workspace: &Workspace, wanted: &[String], extent: Extent) -> Result<Totals> {
    fs::create_dir_all(workspace.tests())?;
    let log = workspace.tests().join("cargo-test.log");
    let status = command(workspace, wanted, extent)
        .stdout(File::create(&log).with_context(|| format!("creating {}", log.display()))?)
        .status()
        .context("running cargo test")?;
    let results = libtest::parse(&String::from_utf8_lossy(&fs::read(&log)?));
    for (test, reason) in &results.skipped {
        println!("skipped  {test}: {reason}");
    }
    if !results.failures.is_empty() {
        println!("{}", indent(&results.failures));
    }
    if !status.success() && results.totals.failed == 0 {
        bail!(
            "cargo test ended with {status} and no failed test; see {}",
            log.display()
        );
    }
    Ok(results.totals)
}

fn command(workspace: &Workspace, wanted: &[String], extent: Extent) -> Command {
    let mut command = cargo(workspace);
    command
        .args([
            "test",
            "--quiet",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "--",
        ])
        .args(["--show-output", "--format=pretty"])
        .args(wanted)
        // Tests that need programs of the tools tree find it through this.
        .env("STRAKE_DIR", workspace.work())
        .env("STRAKE_IMAGE", workspace.program("strake-image"))
        .stdin(Stdio::null());
    if extent == Extent::Full {
        // Pages are looked at in a real browser, which is fetched for it.
        command.env("STRAKE_BROWSER", "1");
        command.env("STRAKE_SEEDS", FULL_SEEDS);
    }
    command
}

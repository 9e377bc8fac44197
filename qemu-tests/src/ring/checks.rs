//! Format, lints and dependency policy.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Totals, Verdict, is_wanted, policy, report};
use crate::tools::run;
use crate::workspace::Workspace;

type Check = fn(&Workspace) -> Result<()>;

const CHECKS: [(&str, Check); 3] = [
    ("format", format),
    ("clippy", clippy),
    ("dependency policy", policy::check),
];

pub fn checks(workspace: &Workspace, wanted: &[String]) -> Totals {
    let mut totals = Totals::default();
    for (name, check) in CHECKS.iter().filter(|(name, _)| is_wanted(wanted, name)) {
        let started = Instant::now();
        let verdict = check(workspace).map_or_else(Verdict::Failed, |()| Verdict::Passed);
        report(&mut totals, name, started.elapsed(), &verdict);
    }
    totals
}

fn format(workspace: &Workspace) -> Result<()> {
    require_component("fmt", "rustfmt")?;
    run(cargo(workspace).args(["fmt", "--all", "--check"]))?;
    Ok(())
}

fn clippy(workspace: &Workspace) -> Result<()> {
    require_component("clippy", "clippy")?;
    let arguments = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--locked",
    ];
    run(cargo(workspace)
        .args(arguments)
        .args(["--", "-D", "warnings"]))?;
    Ok(())
}

/// A minimal toolchain has neither; rustup adds them.
fn require_component(subcommand: &str, component: &str) -> Result<()> {
    if run(Command::new("cargo").args([subcommand, "--version"])).is_ok() {
        return Ok(());
    }
    run(Command::new("rustup").args(["component", "add", component]))
        .with_context(|| format!("the toolchain lacks {component}; adding it"))?;
    Ok(())
}

pub(super) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace.root()).stdin(Stdio::null());
    command
}

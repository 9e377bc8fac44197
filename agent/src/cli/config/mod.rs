//! `strake config ...`

mod apply;
mod diff;
mod plan;
mod run;
mod show;
pub(super) mod validate;

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Subcommand;

pub(super) use super::RootArg;
use super::runtime::on_one_thread;
use crate::apply::jobs::{self, Occasion, Orders};
use crate::apply::tree::Tree;
use crate::apply::write::Change;
use crate::apply::{live, units};
use crate::exit::Exit;
use crate::root::Root;
use crate::source::{LIMIT, Text};
use crate::systemd::bus::Bus;
pub(super) use apply::{add, before_boot};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a cloud-config and report every problem with its place
    Validate(validate::Validate),
    /// Show what a cloud-config would bring about, without touching anything
    Plan(plan::Plan),
    /// Bring this machine, or the tree below --root, to what a cloud-config says
    Apply(apply::Apply),
    /// Show what is in force: source, digest, problems, plan
    Show(show::Show),
    /// Show how the machine differs from what is in force; exit code 1 when it does
    Diff(diff::Diff),
    /// Apply what waited for the network (run by strake-config.service)
    Run(run::Run),
}

pub(super) fn run(command: Command) -> Result<Exit> {
    match command {
        Command::Validate(validate) => validate.run(),
        Command::Plan(plan) => plan.run(),
        Command::Apply(apply) => apply.run(),
        Command::Show(show) => show.run(),
        Command::Diff(diff) => diff.run(),
        Command::Run(run) => run.run(),
    }
}

/// The file's bytes; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Text> {
    let mut bytes = Vec::new();
    let limit = LIMIT as u64;
    if path == Path::new("-") {
        std::io::stdin()
            .take(limit)
            .read_to_end(&mut bytes)
            .context("reading standard input")?;
        return Ok(Text {
            name: "stdin".to_string(),
            bytes,
        });
    }
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(Text {
        name: path.display().to_string(),
        bytes,
    })
}

/// A file that cannot be read is bad input, not a failure of the program.
pub(super) fn read_input(path: &Path) -> Result<Text, Exit> {
    read(path).map_err(|error| {
        eprintln!("strake: error: {error:#}");
        Exit::BadInput
    })
}

/// The running system is changed only when it is this one; any tree may be with `--root`.
pub(super) fn refuse_other_systems(root: &Root) -> Result<(), Exit> {
    if root.is_machine() && !root.is_strake() {
        eprintln!("strake: error: this is not a Strake machine; --root DIR works on a tree");
        return Err(Exit::BadInput);
    }
    Ok(())
}

/// Tells the running machine what was changed on disk.
pub(super) fn make_live(
    root: &Root,
    plan: &strake_cloud_config::Plan,
    changes: &[Change],
    occasion: &Occasion,
) -> Result<()> {
    if !root.is_machine() {
        return Ok(());
    }
    live::set_hostname(root, changes)?;
    live::make_homes(changes)?;
    let is_gone = |name: &String| units::unit_file(root, &Tree::new(), name).is_none();
    let orders = Orders {
        stops: jobs::without_file(changes)
            .into_iter()
            .filter(is_gone)
            .collect(),
        ..jobs::orders(plan, changes, occasion)
    };
    if orders == Orders::default() {
        return Ok(());
    }
    on_one_thread(async {
        let bus = Bus::system().await?;
        live::carry_out(&bus, &orders).await
    })?
}

//! The static release programs: those of the image, and `strake-image` that builds it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::tools::{Tools, run, run_visibly};
use crate::workspace::{TARGET, Workspace};

const PACKAGES: [&str; 2] = ["strake-agent", "strake-image-builder"];
const RUSTFLAGS: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS";

/// Builds what changed. Cargo shows its own progress.
pub fn build(workspace: &Workspace) -> Result<Tools> {
    cargo(workspace, &PACKAGES)?;
    Ok(Tools::new(
        workspace.program("strake-image"),
        workspace.work(),
    ))
}

/// `strake-release`, which is in no image.
pub fn publisher(workspace: &Workspace) -> Result<PathBuf> {
    cargo(workspace, &["strake-updates"])?;
    Ok(workspace.program("strake-release"))
}

/// The load of `cargo lab bench scheduler`.
pub fn scheduler_load(workspace: &Workspace) -> Result<PathBuf> {
    example(workspace, "scheduler_load")
}

/// The load of `cargo lab bench overlay`.
pub fn overlay_load(workspace: &Workspace) -> Result<PathBuf> {
    example(workspace, "overlay_load")
}

/// The load of `cargo lab bench lock`.
pub fn lock_load(workspace: &Workspace) -> Result<PathBuf> {
    example(workspace, "lock_load")
}

fn example(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let mut command = command(workspace, &["build", "--release"]);
    run_visibly(command.args(["--package", "strake-agent", "--example", name]))?;
    Ok(workspace.program("examples").join(name))
}

/// What the planner's own bench prints.
pub fn planner_bench(workspace: &Workspace) -> Result<String> {
    let planner = ["--package", "strake-agent", "--bench", "planner"];
    run(command(workspace, &["bench"]).args(planner))
}

fn cargo(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    let mut command = command(workspace, &["build", "--release"]);
    for package in packages {
        command.args(["--package", package]);
    }
    run_visibly(&mut command)
}

fn command(workspace: &Workspace, verb: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command
        .current_dir(workspace.root())
        .args(verb)
        .args(["--locked", "--target", TARGET])
        .env(RUSTFLAGS, "-C target-feature=+crt-static")
        // It would take the place of the target's own flags.
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null());
    command
}

//! Licences, banned crates and duplicate versions, by cargo-deny and `deny.toml`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::checks::cargo;
use crate::tools::run;
use crate::workspace::Workspace;

const VERSION: &str = "0.20.2";

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let program = install(workspace).context("installing cargo-deny")?;
    let mut command = Command::new(program);
    command
        .current_dir(workspace.root())
        .args(["--locked", "--log-level", "error", "check"]);
    // Advisories need a database that is fetched from elsewhere; see deny.toml.
    run(command.args(["--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    Ok(())
}

/// Built once, since it takes minutes, and not installed where it could serve anything else.
fn install(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.work().join("cargo-tools").join(VERSION);
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        let mut command = cargo(workspace);
        command.args([
            "install",
            "--quiet",
            "--locked",
            "--no-default-features",
            "--debug",
        ]);
        run(command
            .args(["cargo-deny", "--version", VERSION, "--root"])
            .arg(&root))?;
    }
    Ok(program)
}

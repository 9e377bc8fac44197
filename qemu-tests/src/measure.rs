//! What a command costs. It is run by a process of its own, `strake-lab measure`, because the
//! kernel counts what all children of a process used together.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::tools::{Tools, run};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// From the start to the end.
    pub wall_ms: f64,
    /// Of the processors, in the program and in the kernel for it.
    pub cpu_ms: f64,
    /// Most that was resident at a time. The few of the measuring process are the least.
    pub peak_mb: f64,
}

impl Cost {
    /// Of a program run as root: in the tools tree's user namespace where the host gives no other.
    pub fn of<I, S>(tools: &Tools, program: &OsStr, arguments: I) -> Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let lab = env::current_exe().context("finding this program")?;
        let mut command = if rustix::process::geteuid().is_root() {
            Command::new(lab)
        } else {
            tools.command(lab.to_str().context("this program's path is not UTF-8")?)
        };
        command.args(["measure", "--"]).arg(program).args(arguments);
        let told = run(&mut command)?;
        serde_json::from_str(&told).with_context(|| format!("reading {told:?}"))
    }

    /// Of a command that must succeed, and the only one this process runs.
    pub fn of_only_child(program: &OsStr, arguments: &[impl AsRef<OsStr>]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        let started = Instant::now();
        let status = command
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("running {}", program.display()))?;
        let wall = started.elapsed();
        ensure!(
            status.success(),
            "{} ended with {status}",
            program.display()
        );
        let used = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking what it used")?;
        let cpu = used.user_time() + used.system_time();
        Ok(Self {
            wall_ms: wall.as_secs_f64() * 1e3,
            cpu_ms: cpu.num_microseconds() as f64 / 1e3,
            // Counted in KiB.
            peak_mb: used.max_rss() as f64 * 1024.0 / 1e6,
        })
    }
}

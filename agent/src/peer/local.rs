//! What this machine knows of the cluster's units that it holds: systemctl's and journalctl's own
//! words, handed on and never parsed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;
use tokio::time::timeout;

use super::stream::Stream;
use super::wire::{Report, Wanted};
use crate::root::Root;
use crate::scheduler::host::systemd;
use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;

const STATUS: Duration = Duration::from_secs(10);
/// Between two looks whether a unit that is followed is still here.
const LOOK: Duration = Duration::from_secs(2);
const STATUS_LINES: &str = "10";

#[derive(Debug, Clone)]
pub struct Local {
    pub root: Root,
    pub machine: MachineId,
    pub systemctl: PathBuf,
    pub journalctl: PathBuf,
}

impl Local {
    pub fn new(root: Root, machine: MachineId) -> Local {
        Local {
            root,
            machine,
            systemctl: "systemctl".into(),
            journalctl: "journalctl".into(),
        }
    }

    /// Whether the unit is one of the cluster's and was given to this machine.
    pub fn holds(&self, unit: &UnitName) -> Result<bool> {
        Ok(systemd::loaded(&self.root)?.contains(unit))
    }

    pub async fn status(&self, unit: &UnitName) -> Result<Report> {
        let mut command = Command::new(&self.systemctl);
        command.args(["status", "--full", "--no-pager", "--lines", STATUS_LINES]);
        command.arg("--").arg(unit.on_systemd().as_str());
        command.kill_on_drop(true);
        let output = timeout(STATUS, command.output()).await;
        let output = output.context("systemctl does not answer")?;
        let output = output.context("running systemctl")?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(Report {
            machine: self.machine.clone(),
            unit: unit.clone(),
            code: output.status.code().unwrap_or(1),
            text,
        })
    }

    /// `kept` is dropped when the journal is read to its end or by nobody any more.
    pub fn journal(
        &self,
        unit: &UnitName,
        wanted: &Wanted,
        kept: impl Send + 'static,
    ) -> Result<Stream> {
        let mut command = Command::new(&self.journalctl);
        command.args(["--no-pager", "--quiet", "--all", "--output", &wanted.output]);
        command.args(["--lines", &wanted.lines.to_string()]);
        if wanted.follow {
            command.arg("--follow");
        }
        command.arg(format!("--unit={}", unit.on_systemd()));
        Stream::of(
            command,
            self.clone().left(unit.clone(), wanted.follow),
            kept,
        )
        .context("running journalctl")
    }

    /// Until what is followed here has left this machine, and a little longer for its last words.
    async fn left(self, unit: UnitName, followed: bool) {
        if !followed {
            return std::future::pending().await;
        }
        while self.holds(&unit).unwrap_or(true) {
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

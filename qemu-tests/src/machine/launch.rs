//! Starting QEMU, and the record by which a running machine is found again.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::arguments::{Accelerator, Forward, arguments};
use super::{Files, MachineSpec, Running, SSH_PORT};
use crate::process::{ProcessId, ended_within};
use crate::qmp::Qmp;
use crate::tools::Tools;
use crate::wait::Deadline;

const MONITOR_LIMIT: u64 = 60;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub spec: MachineSpec,
    pub forwards: Vec<Forward>,
    pub process: ProcessId,
}

impl Record {
    pub fn load(directory: &Path) -> Result<Self> {
        let path = Files::in_directory(directory).state;
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }

    pub fn ssh_port(&self) -> u16 {
        let ssh = self
            .forwards
            .iter()
            .find(|forward| forward.guest == SSH_PORT);
        ssh.map_or(0, |forward| forward.host)
    }
}

/// Picks a free loopback port for each published one.
pub(super) fn forwards(spec: &MachineSpec) -> Result<Vec<Forward>> {
    let guests = [SSH_PORT].into_iter().chain(spec.published.iter().copied());
    // All listeners stay open until every port is chosen, so that no port is chosen twice.
    let held: Vec<(u16, TcpListener)> = guests
        .map(|guest| Ok((guest, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)))
        .collect::<std::io::Result<_>>()
        .context("looking for free ports")?;
    held.iter()
        .map(|(guest, listener)| {
            Ok(Forward {
                host: listener.local_addr()?.port(),
                guest: *guest,
            })
        })
        .collect()
}

pub(super) fn launch(
    spec: &MachineSpec,
    files: &Files,
    forwards: &[Forward],
    tools: &Tools,
) -> Result<Running> {
    let log = File::options().append(true).open(&files.qemu_log)?;
    let mut child = tools
        .command("qemu-system-x86_64")
        .args(arguments(spec, files, forwards, Accelerator::of_host()))
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in the terminal is for the command, not for the machines.
        .process_group(0)
        .spawn()
        .context("starting QEMU")?;
    let process = ProcessId::of(child.id()).context("finding the process of QEMU")?;
    let record = Record {
        spec: spec.clone(),
        forwards: forwards.to_vec(),
        process,
    };
    fs::write(&files.state, serde_json::to_vec_pretty(&record)?)?;

    let ended = process.open().context("watching the process of QEMU")?;
    let deadline = Deadline::seconds(MONITOR_LIMIT);
    loop {
        match Qmp::connect(&files.monitor) {
            Ok(monitor) => {
                return Ok(Running {
                    process,
                    child,
                    ended,
                    monitor,
                });
            }
            Err(error) if deadline.is_over() => {
                process.kill()?;
                child.wait()?;
                return Err(error).context("waiting for QEMU's monitor");
            }
            Err(_) => {}
        }
        if ended_within(&ended, Duration::from_millis(50))? {
            let said = fs::read_to_string(&files.qemu_log)?;
            bail!("QEMU ended at once:\n{said}");
        }
    }
}

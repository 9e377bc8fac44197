//! A lab as it is found on disk and in the process table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::cluster::name;
use crate::machine::{Files, Record, make_private, socket_directory};
use crate::process::ProcessId;
use crate::qmp::Qmp;
use crate::registry::Registry;
use crate::ssh::{self, KeyPair};
use crate::switch::{Control, Port};
use crate::tools::Tools;
use crate::workspace::Workspace;

#[derive(Debug)]
pub struct Lab {
    pub(super) directory: PathBuf,
}

/// The processes that serve all machines.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Services {
    pub(super) switch: ProcessId,
    pub(super) registry: Registry,
}

/// One line of `lab status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineState {
    pub number: Port,
    pub name: String,
    /// As QEMU says it, or `off`.
    pub power: String,
    pub ssh_port: u16,
    pub release: Option<String>,
    /// `blessed`, `trying` or `unknown`, as the machine says it.
    pub entry: Option<String>,
    pub health: Option<String>,
}

impl Lab {
    pub fn named(workspace: &Workspace, name: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            bail!("a lab's name has letters, digits, - and _ only, not {name:?}");
        }
        Ok(Self {
            directory: workspace.labs().join(name),
        })
    }

    /// Held for as long as a command changes the lab.
    pub fn lock(&self) -> Result<fs::File> {
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("creating {}", self.directory.display()))?;
        let lock = fs::File::create(self.directory.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .context("another command is changing this lab")?;
        Ok(lock)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn machine_directory(&self, number: Port) -> PathBuf {
        self.directory.join(name(number))
    }

    pub fn files(&self, number: Port) -> Files {
        Files::in_directory(&self.machine_directory(number))
    }

    /// The sockets of the switch.
    pub fn sockets(&self) -> PathBuf {
        socket_directory(&self.directory)
    }

    pub fn make_sockets(&self) -> Result<PathBuf> {
        let sockets = self.sockets();
        make_private(&sockets)?;
        Ok(sockets)
    }

    pub fn record(&self, number: Port) -> Result<Record> {
        Record::load(&self.machine_directory(number))
            .with_context(|| format!("there is no {}; see `cargo lab status`", name(number)))
    }

    /// The machines that were ever made, by number.
    pub fn machines(&self) -> Vec<(Port, Record)> {
        (1..=crate::switch::PORTS)
            .filter_map(|number| {
                Some((number, Record::load(&self.machine_directory(number)).ok()?))
            })
            .collect()
    }

    pub fn running(&self, number: Port) -> Result<Record> {
        let record = self.record(number)?;
        if !record.process.is_alive() {
            bail!("{} is off; `cargo lab up` switches it on", name(number));
        }
        Ok(record)
    }

    pub fn control(&self) -> Result<Control> {
        Control::connect(&self.sockets()).context("the lab's switch does not run")
    }

    pub(super) fn services(&self) -> Option<Services> {
        serde_json::from_slice(&fs::read(self.services_file()).ok()?).ok()
    }

    pub(super) fn services_file(&self) -> PathBuf {
        self.directory.join("services.json")
    }

    pub fn key(&self, tools: &Tools) -> Result<KeyPair> {
        KeyPair::in_directory(&self.directory, tools)
    }

    pub fn ssh(&self, number: Port, tools: &Tools) -> Result<Command> {
        let record = self.running(number)?;
        let key = record.spec.key.clone();
        Ok(ssh::command(tools, &key, "core", record.ssh_port()))
    }

    pub fn state(&self, number: Port, record: &Record, tools: &Tools) -> MachineState {
        let mut state = MachineState {
            number,
            name: name(number),
            power: "off".to_owned(),
            ssh_port: record.ssh_port(),
            release: None,
            entry: None,
            health: None,
        };
        if !record.process.is_alive() {
            return state;
        }
        let asked = Qmp::connect(&self.files(number).monitor)
            .and_then(|mut qmp| qmp.execute("query-status", serde_json::json!({})));
        state.power = match asked {
            Ok(answer) => answer["status"].as_str().unwrap_or("unknown").to_owned(),
            Err(error) => error.to_string(),
        };
        let told = ssh::command(tools, &record.spec.key, "core", record.ssh_port())
            .args(["-o", "ConnectTimeout=4", "strake status -o json"])
            .stdin(Stdio::null())
            .output();
        if let Ok(told) = told
            && let Ok(status) = serde_json::from_slice::<serde_json::Value>(&told.stdout)
        {
            let text = |pointer| status.pointer(pointer)?.as_str().map(str::to_owned);
            state.release = text("/release");
            state.entry = text("/entry/state");
            state.health = text("/health/state");
        }
        state
    }

    /// Cuts the power of one machine. Its disk stays.
    pub fn kill(&self, number: Port) -> Result<()> {
        Ok(self.running(number)?.process.kill()?)
    }

    /// Ends everything and removes the machines. `None` when there was nothing.
    pub fn down(&self) -> Result<Option<usize>> {
        if !self.directory.exists() {
            return Ok(None);
        }
        let machines = self.machines();
        for (number, record) in &machines {
            record
                .process
                .kill()
                .with_context(|| format!("ending {}", name(*number)))?;
            let _ = fs::remove_dir_all(self.files(*number).sockets);
        }
        if let Some(services) = self.services() {
            services
                .switch
                .stop(Duration::from_secs(2))
                .context("ending the switch")?;
            services.registry.stop().context("ending the registry")?;
        }
        let _ = fs::remove_dir_all(self.sockets());
        fs::remove_dir_all(&self.directory)
            .with_context(|| format!("removing {}", self.directory.display()))?;
        Ok(Some(machines.len()))
    }
}

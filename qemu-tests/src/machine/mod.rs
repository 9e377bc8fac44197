//! One machine in QEMU: started, watched, asked, and ended.
//!
//! A [`Machine`] ends with its value unless it is detached; a detached one is found again through
//! the record beside its disk.

mod arguments;
mod drive;
mod files;
mod launch;
mod partition;
mod power;
mod probe;
mod spec;
mod watch;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use rustix::event::PollFlags;

pub use arguments::{Accelerator, Forward, WAN_MAC};
pub use files::{Files, make_private, socket_directory};
pub use launch::Record;
pub use partition::{PartitionError, find as find_partition};
pub use probe::http;
pub use spec::{Cloud, Config, Disk, Filesystem, Lan, MachineSpec, Watchdog};

use crate::console::Console;
use crate::process::ProcessId;
use crate::qmp::Qmp;
use crate::tools::Tools;
use crate::wait::Deadline;
use crate::{process, ssh};

pub const SSH_PORT: u16 = 22;
const SSH_LIMIT: u64 = 120;

#[derive(Debug)]
pub struct Machine {
    spec: MachineSpec,
    files: Files,
    tools: Tools,
    forwards: Vec<Forward>,
    running: Running,
    console: Console,
    /// Lines before this one have been looked at by a wait for a line.
    searched: usize,
    /// Lines before this one have been looked at for signs of loss.
    checked: usize,
    resets: usize,
    losses: Losses,
    end: End,
}

/// What changes when the power is cut and comes back.
#[derive(Debug)]
struct Running {
    process: ProcessId,
    child: Child,
    ended: OwnedFd,
    monitor: Qmp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Losses {
    FailTheWait,
    Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    WithTheValue,
    Detached,
}

/// What a command inside the machine said.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Machine {
    /// Makes the machine's files in `directory` anew and switches it on.
    pub fn start(spec: MachineSpec, directory: &Path, tools: &Tools) -> Result<Self> {
        let files = Files::in_directory(directory);
        files.prepare(&spec, tools)?;
        let forwards = launch::forwards(&spec)?;
        Self::launch(spec, files, forwards, tools)
    }

    /// Switches a machine on whose files are there, as after a power cut.
    pub fn resume(directory: &Path, tools: &Tools) -> Result<Self> {
        let Record { spec, forwards, .. } = Record::load(directory)?;
        let files = Files::in_directory(directory);
        make_private(&files.sockets)?;
        // What was said before the power went is not what this machine says.
        std::fs::rename(&files.console_log, directory.join("console.before.log"))?;
        File::create(&files.console_log)?;
        Self::launch(spec, files, forwards, tools)
    }

    fn launch(
        spec: MachineSpec,
        files: Files,
        forwards: Vec<Forward>,
        tools: &Tools,
    ) -> Result<Self> {
        let running = launch::launch(&spec, &files, &forwards, tools)?;
        let console = Console::follow(&files.console_log).context("following the console")?;
        Ok(Self {
            spec,
            files,
            tools: tools.clone(),
            forwards,
            running,
            console,
            searched: 0,
            checked: 0,
            resets: 0,
            losses: Losses::FailTheWait,
            end: End::WithTheValue,
        })
    }

    /// From here on the machine runs on when the value goes.
    pub fn detach(&mut self) {
        self.end = End::Detached;
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Where the writes of a [`Disk::Recorded`] are recorded.
    pub fn recording(&self) -> &Path {
        &self.files.recording
    }

    pub fn spec(&self) -> &MachineSpec {
        &self.spec
    }

    pub fn console(&self) -> &Console {
        &self.console
    }

    pub fn monitor(&mut self) -> &mut Qmp {
        &mut self.running.monitor
    }

    /// The loopback port of the host that leads to `guest`.
    pub fn port(&self, guest: u16) -> Result<u16> {
        let found = self.forwards.iter().find(|forward| forward.guest == guest);
        found
            .map(|forward| forward.host)
            .with_context(|| format!("port {guest} is not published"))
    }

    /// From here on a panic, a failed start or the end of QEMU fails no wait.
    pub fn expect_losses(&mut self) {
        self.losses = Losses::Expected;
    }

    /// From here on they do again; what the console has said so far is forgiven.
    pub fn expect_no_losses(&mut self) {
        self.losses = Losses::FailTheWait;
        self.checked = self.console.lines().len();
    }

    /// Runs a shell command as `core`.
    pub fn ssh(&mut self, command: &str) -> Result<Output> {
        self.ssh_as("core", command)
    }

    pub fn ssh_as(&mut self, user: &str, command: &str) -> Result<Output> {
        let (out, err) = (
            self.files.directory.join("ssh.stdout"),
            self.files.directory.join("ssh.stderr"),
        );
        let mut child = ssh::command(&self.tools, &self.spec.key, user, self.port(SSH_PORT)?)
            .arg(command)
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .spawn()
            .context("running ssh")?;
        let client = ProcessId::of(child.id())?;
        let done = client.open()?;
        let deadline = Deadline::seconds(SSH_LIMIT);
        while !process::ended_within(&done, std::time::Duration::ZERO)? {
            let watched = self.pump(deadline.remaining(), Some((&done, PollFlags::IN)));
            if watched.is_err() || deadline.is_over() {
                client.kill()?;
                child.wait()?;
                watched?;
                bail!("`{command}` took over {SSH_LIMIT} s\n{}", self.state());
            }
        }
        let text = |path: &Path| io::read_to_string(File::open(path)?);
        Ok(Output {
            status: child.wait()?,
            stdout: text(&out)?,
            stderr: text(&err)?,
        })
    }

    /// Standard output of a command that must succeed.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        let output = self.ssh(command)?;
        if !output.status.success() {
            let Output {
                status,
                stdout,
                stderr,
            } = output;
            bail!("`{command}` ended with {status}\n{stdout}{stderr}");
        }
        Ok(output.stdout)
    }
}

impl Running {
    fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.end == End::WithTheValue {
            // Nothing can be done about a process that cannot be ended.
            let _ = self.running.kill();
            let _ = std::fs::remove_dir_all(&self.files.sockets);
        }
    }
}

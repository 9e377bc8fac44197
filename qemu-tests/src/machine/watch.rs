//! Waiting for a machine: by its console, its monitor and its process, never by the clock alone.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};

use super::{Losses, Machine, SSH_PORT, probe};
use crate::process::ended_within;
use crate::qmp::QmpError;
use crate::wait::{Backoff, Deadline, timespec};

/// A line with one of these means that what is waited for will not come.
const SIGNS_OF_LOSS: [&str; 4] = [
    "Kernel panic",
    "strake-init: FAILED",
    "emergency mode",
    "Freezing execution",
];

#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("QEMU ended; the console's last lines:\n{tail}")]
    Ended { tail: String },
    #[error("the machine is lost: {line}\n{tail}")]
    Guest { line: String, tail: String },
}

impl Machine {
    /// Waits for a whole console line that contains `text`, from after the last one waited for.
    pub fn wait_for_line(&mut self, text: &str, deadline: Deadline) -> Result<String> {
        let what = format!("the console line {text:?}");
        self.wait_for_event(&what, deadline, |machine| {
            let lines = machine.console.lines();
            let new = &lines[machine.searched..];
            let place = new.iter().position(|line| line.contains(text));
            let found = place.map(|place| new[place].clone());
            machine.searched = place.map_or(lines.len(), |place| machine.searched + place + 1);
            found
        })
    }

    /// Forgets the lines so far, so that the next wait sees only what comes now.
    pub fn skip_lines(&mut self) -> Result<()> {
        self.console.update()?;
        self.searched = self.console.lines().len();
        Ok(())
    }

    pub fn resets(&self) -> usize {
        self.resets
    }

    /// Waits until the machine has been reset more than `before` times.
    pub fn wait_for_reset(&mut self, before: usize, deadline: Deadline) -> Result<()> {
        self.wait_for_event("a reset", deadline, |machine| {
            (machine.resets > before).then_some(())
        })
    }

    pub fn wait_for_ssh(&mut self, deadline: Deadline) -> Result<()> {
        let port = self.port(SSH_PORT)?;
        self.wait_until("sshd", deadline, |machine| {
            if !probe::greets(port, "SSH-2.0") {
                return Ok(None);
            }
            Ok(machine.ssh("true")?.status.success().then_some(()))
        })
    }

    /// Waits until the machine calls its boot good, and says how its entry stands.
    pub fn wait_until_blessed(&mut self, deadline: Deadline) -> Result<String> {
        self.wait_until("a blessed boot entry", deadline, |machine| {
            let entry = machine.status()?.and_then(|status| {
                status
                    .pointer("/entry/state")
                    .and_then(|state| state.as_str().map(str::to_owned))
            });
            Ok(entry.filter(|state| state == "blessed"))
        })
    }

    /// What `strake status` says; `None` while it says nothing.
    pub fn status(&mut self) -> Result<Option<Value>> {
        let output = self.ssh("strake status -o json")?;
        Ok(serde_json::from_str(&output.stdout).ok())
    }

    /// Tries until there is an answer. Between attempts it watches the machine.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        deadline: Deadline,
        mut attempt: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        for pause in Backoff::new(Duration::from_millis(250), Duration::from_secs(2)) {
            if let Some(answer) = attempt(self)? {
                return Ok(answer);
            }
            let next = Deadline::after(pause.min(deadline.remaining()));
            while !next.is_over() {
                self.pump(next.remaining(), None)?;
            }
            if deadline.is_over() {
                break;
            }
        }
        Err(self.too_late(what))
    }

    fn wait_for_event<T>(
        &mut self,
        what: &str,
        deadline: Deadline,
        mut happened: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T> {
        loop {
            if let Some(answer) = happened(self) {
                return Ok(answer);
            }
            if deadline.is_over() {
                return Err(self.too_late(what));
            }
            self.pump(deadline.remaining(), None)?;
        }
    }

    /// Takes in what happens within `limit`, or until the extra descriptor is ready.
    pub(super) fn pump(
        &mut self,
        limit: Duration,
        extra: Option<(&OwnedFd, PollFlags)>,
    ) -> Result<()> {
        let mut polled = vec![
            PollFd::from_borrowed_fd(self.console.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.running.monitor.as_fd(), PollFlags::IN),
            PollFd::new(&self.running.ended, PollFlags::IN),
        ];
        polled.extend(extra.map(|(descriptor, flags)| PollFd::new(descriptor, flags)));
        match poll(&mut polled, Some(&timespec(limit))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("watching the machine"),
        }
        self.console.update().context("reading the console")?;
        match self.running.monitor.take_events() {
            Ok(events) => {
                self.resets += events.iter().filter(|event| event.name == "RESET").count();
            }
            Err(QmpError::Closed | QmpError::Io(_)) if self.has_ended()? => {}
            Err(error) => return Err(error.into()),
        }
        self.check().map_err(Into::into)
    }

    pub(super) fn has_ended(&self) -> Result<bool> {
        // A closed monitor precedes the end of the process by a moment.
        Ok(ended_within(
            &self.running.ended,
            Duration::from_millis(200),
        )?)
    }

    fn check(&mut self) -> Result<(), Lost> {
        if self.losses == Losses::Expected {
            return Ok(());
        }
        let new = &self.console.lines()[self.checked..];
        let sign = new
            .iter()
            .find(|line| SIGNS_OF_LOSS.iter().any(|sign| line.contains(sign)));
        if let Some(line) = sign {
            return Err(Lost::Guest {
                line: line.clone(),
                tail: self.console.tail(),
            });
        }
        self.checked = self.console.lines().len();
        if ended_within(&self.running.ended, Duration::ZERO).unwrap_or(true) {
            return Err(Lost::Ended {
                tail: self.console.tail(),
            });
        }
        Ok(())
    }

    fn too_late(&mut self, what: &str) -> anyhow::Error {
        let state = self.state();
        anyhow!("{} did not come to {what} in time\n{state}", self.spec.name)
    }

    /// For the report of a failed wait.
    pub fn state(&mut self) -> String {
        let qemu = match self.running.monitor.execute("query-status", json!({})) {
            Ok(status) => status["status"].as_str().unwrap_or("unknown").to_owned(),
            Err(error) => error.to_string(),
        };
        let (resets, tail) = (self.resets, self.console.tail());
        format!("QEMU: {qemu}, resets so far: {resets}; the console's last lines:\n{tail}")
    }
}

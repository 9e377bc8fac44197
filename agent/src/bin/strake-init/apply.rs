//! The cloud-config, applied by the slot's own `strake` before systemd starts.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::timeline::Deadline;

const PROGRAM: &str = "/usr/bin/strake";

/// Exit status 0 covers a bad user config too: `strake` then used the last good one. All else is
/// a node in an unknown state, which must not come up.
pub(crate) fn config(deadline: Deadline) -> Result<()> {
    let mut command = Command::new(PROGRAM);
    command.args(["config", "apply", "--before-boot"]);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/usr/sbin")
        .current_dir("/")
        .stdin(Stdio::null());
    match run(command, deadline).with_context(|| format!("running {PROGRAM} config apply"))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{PROGRAM} config apply ended with {status}"),
        None => bail!("{PROGRAM} config apply was killed when strake.init_timeout was over"),
    }
}

/// None: killed at the deadline, with all it started in its process group.
fn run(mut command: Command, deadline: Deadline) -> Result<Option<ExitStatus>> {
    let mut child = command.process_group(0).spawn()?;
    let group = Pid::from_raw(child.id().try_into().context("process id out of range")?);
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || sender.send(child.wait()))?;
    match receiver.recv_timeout(deadline.left()) {
        Ok(status) => Ok(Some(status?)),
        Err(_) => {
            let _ = killpg(group, Signal::SIGKILL);
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_status_of_the_program_is_told() {
        let run = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            run(command, Deadline::within(Duration::from_secs(60)))
                .unwrap()
                .unwrap()
        };
        assert!(run("exit 0").success());
        assert_eq!(run("exit 1").code(), Some(1));
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "tail -f /dev/null & wait"])
            .stdout(writer);
        assert!(
            run(command, Deadline::within(Duration::from_millis(50)))
                .unwrap()
                .is_none()
        );
        // The pipe ends when the last process that holds it is gone.
        assert_eq!(std::io::read_to_string(reader).unwrap(), "");
    }
}

//! Processes that outlive the command that started them, named so that no other process can be
//! taken for them: by id and start time.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::wait::{Deadline, timespec};

/// Field 22 of `/proc/<pid>/stat`, counted from the state field that follows the program's name.
const START_TIME_AFTER_NAME: usize = 19;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pid: u32,
    /// Clock ticks between the host's boot and the start of the process.
    started: u64,
}

impl ProcessId {
    pub fn of(pid: u32) -> io::Result<Self> {
        let started = start_time(pid)?;
        Ok(Self { pid, started })
    }

    pub fn pid(self) -> u32 {
        self.pid
    }

    pub fn is_alive(self) -> bool {
        start_time(self.pid).is_ok_and(|started| started == self.started)
    }

    /// A descriptor that becomes readable when the process ends.
    pub fn open(self) -> io::Result<OwnedFd> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        // The id may have been given away between the look at /proc and the open.
        if !self.is_alive() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        Ok(descriptor)
    }

    /// Asks the process to end, and ends it when it has not done so within `grace`.
    pub fn stop(self, grace: Duration) -> io::Result<()> {
        let Ok(descriptor) = self.open() else {
            return Ok(());
        };
        pidfd_send_signal(&descriptor, Signal::TERM)?;
        if !ended_within(&descriptor, grace)? {
            pidfd_send_signal(&descriptor, Signal::KILL)?;
            ended_within(&descriptor, Duration::from_secs(10))?;
        }
        Ok(())
    }

    /// Ends the process without letting it write anything more.
    pub fn kill(self) -> io::Result<()> {
        let Ok(descriptor) = self.open() else {
            return Ok(());
        };
        pidfd_send_signal(&descriptor, Signal::KILL)?;
        ended_within(&descriptor, Duration::from_secs(10))?;
        Ok(())
    }
}

/// Waits for the process behind a descriptor of [`ProcessId::open`].
pub fn ended_within(descriptor: &OwnedFd, limit: Duration) -> io::Result<bool> {
    let deadline = Deadline::after(limit);
    loop {
        let mut polled = [PollFd::new(descriptor, PollFlags::IN)];
        match poll(&mut polled, Some(&timespec(deadline.remaining()))) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_start_time(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// `None` for a process that has ended and was not collected by its parent.
fn parse_start_time(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat
        .get(stat.rfind(')')? + 1..)?
        .split_whitespace()
        .collect();
    match *fields.first()? {
        "Z" | "X" => None,
        _ => fields.get(START_TIME_AFTER_NAME)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_start_time_is_found_behind_a_name_with_spaces_and_brackets() {
        let numbers: Vec<String> = (4..=30).map(|number| number.to_string()).collect();
        let line = format!("77 (a ) b) S {}", numbers.join(" "));
        assert_eq!(parse_start_time(&line), Some(22));
        assert_eq!(parse_start_time(&line.replace(" S ", " Z ")), None);
    }

    #[test]
    fn a_stopped_process_is_gone_and_its_id_is_not_taken_for_another() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        assert!(process.is_alive());
        let impostor = ProcessId {
            started: process.started + 1,
            ..process
        };
        assert!(!impostor.is_alive());
        impostor.kill().unwrap();
        assert!(process.is_alive());

        process.stop(Duration::from_secs(5)).unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
        process.kill().unwrap();
    }
}

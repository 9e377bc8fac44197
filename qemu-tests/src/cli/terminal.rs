//! The terminal on a machine's console.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use strake_qemu_tests::console::Console;

/// Ctrl-], as telnet has it.
const LEAVE: u8 = 0x1d;

/// Terminal and console changed over, until Ctrl-], end of input or the machine's end.
pub(super) fn hold(socket: &Path) -> Result<()> {
    let mut console = UnixStream::connect(socket)
        .context("someone else may hold the console; connecting to it")?;
    let stdin = io::stdin();
    let _raw = Raw::enter()?;
    eprint!("console; Ctrl-] leaves\r\n");
    let mut buffer = [0; 4096];
    loop {
        let mut polled = [
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(console.as_fd(), PollFlags::IN),
        ];
        poll(&mut polled, None)?;
        let ready = polled.map(|one| !one.revents().is_empty());
        if ready[0] {
            let length = rustix::io::read(&stdin, &mut buffer)?;
            let typed = &buffer[..length];
            let end = typed.iter().position(|byte| *byte == LEAVE);
            console.write_all(&typed[..end.unwrap_or(length)])?;
            if end.is_some() || length == 0 {
                return Ok(());
            }
        }
        if ready[1] {
            let length = console.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            let mut out = io::stdout().lock();
            out.write_all(&buffer[..length])?;
            out.flush()?;
        }
    }
}

/// The terminal's own line editing is off while this lives.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Result<Self> {
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Ok(Self(None));
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The terminal may be gone, and then it needs no restoring.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Waits for more of the console. True when the machine has ended.
pub(super) fn ready_or_ended(console: &Console, ended: &OwnedFd) -> Result<bool> {
    let mut polled = [
        PollFd::from_borrowed_fd(console.as_fd(), PollFlags::IN),
        PollFd::new(ended, PollFlags::IN),
    ];
    poll(&mut polled, None)?;
    let [console, ended] = polled.map(|one| !one.revents().is_empty());
    // What was said last is shown before the end counts.
    Ok(ended && !console)
}

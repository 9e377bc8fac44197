//! The only way out that is not systemd: one line with step and cause, ten seconds to read it, a
//! reboot. Never returns, never a shell.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};

use crate::console::{self, Level};
use crate::timeline::{Deadline, Step};

/// Time for a person (or a serial log) to take in the cause.
const READING_TIME: Duration = Duration::from_secs(10);
/// What is given to the main thread to report its own, better cause when time is up.
const WATCH_GRACE: Duration = Duration::from_secs(2);

static FAILED: AtomicBool = AtomicBool::new(false);

pub(crate) fn fail(cause: fmt::Arguments<'_>) -> ! {
    if announce(cause) {
        // In a thread of its own: a sync that waits for a dead disk must not hold up the reboot.
        let _ = thread::Builder::new().spawn(nix::unistd::sync);
    }
    wait_and_reboot()
}

/// For signal handlers: no thread and no allocation, hence no sync.
pub(crate) fn fail_at_once(cause: fmt::Arguments<'_>) -> ! {
    announce(cause);
    wait_and_reboot()
}

/// Fails the boot when the whole run takes longer than its limit, even if the main thread hangs in
/// the kernel, where no signal would reach it.
pub(crate) fn watch(deadline: Deadline, limit: Duration) -> Result<()> {
    let watcher = move || {
        wait(Deadline::after_boot(deadline.at + WATCH_GRACE));
        fail(format_args!(
            "not done after {} s (strake.init_timeout)",
            limit.as_secs()
        ))
    };
    let spawned = thread::Builder::new().stack_size(64 << 10).spawn(watcher);
    spawned
        .map(drop)
        .context("starting the watch over strake.init_timeout")
}

/// Only the first cause is printed; what fails after it is a consequence.
fn announce(cause: fmt::Arguments<'_>) -> bool {
    let first = !FAILED.swap(true, Ordering::SeqCst);
    if first {
        console::log(
            Level::Failure,
            format_args!("FAILED: {}: {cause}", Step::current()),
        );
    }
    first
}

fn wait_and_reboot() -> ! {
    wait(Deadline::within(READING_TIME));
    // A crash on purpose: the kernel keeps its log in pstore, so that the next good boot can tell
    // the cause, and restarts after the second given here. Where that is not to be had, plainly.
    if fs::write("/proc/sys/kernel/panic", "1").is_ok() {
        let _ = fs::write("/proc/sysrq-trigger", "c");
    }
    let _ = reboot(RebootMode::RB_AUTOBOOT);
    // The death of PID 1 panics the kernel, and `panic=` on its command line reboots.
    std::process::abort()
}

fn wait(deadline: Deadline) {
    while !deadline.left().is_zero() {
        let _ = poll(
            &mut [],
            PollTimeout::try_from(deadline.left()).unwrap_or(PollTimeout::MAX),
        );
    }
}

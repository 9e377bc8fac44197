//! What was done when: the steps with their times, the warnings, and the clock and deadline all of
//! it hangs on. Ends as /run/strake/init.json, which `strake status` reads.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::console::{self, Level};
use crate::slot::Slot;
use crate::verity::RootHash;

const REPORT: &str = "/run/strake/init.json";

/// The steps in their order; the name is what a failure and init.json call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    Mounts,
    Options,
    Modules,
    Slot,
    Verity,
    Root,
    Partitions,
    Etc,
    MachineId,
    Config,
    Systemd,
}

static CURRENT: AtomicUsize = AtomicUsize::new(0);

impl Step {
    const NAMES: [&str; 11] = [
        "mounts",
        "options",
        "modules",
        "slot",
        "verity",
        "root",
        "partitions",
        "etc",
        "machine-id",
        "config",
        "systemd",
    ];

    /// The name of the running step, readable from any thread and from signal handlers.
    pub(crate) fn current() -> &'static str {
        Step::NAMES[CURRENT.load(Ordering::Relaxed)]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    Normal,
    Debug,
}

#[derive(Debug)]
pub(crate) struct Timeline {
    started: Duration,
    verbosity: Verbosity,
    steps: Vec<Record>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Record {
    name: Step,
    start_us: u64,
    end_us: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    version: &'a str,
    root_hash: String,
    slot: Slot,
    steps: &'a [Record],
    warnings: &'a [String],
}

impl Timeline {
    pub(crate) fn start() -> Timeline {
        Timeline {
            started: since_boot(),
            verbosity: Verbosity::Normal,
            steps: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn started(&self) -> Duration {
        self.started
    }

    /// `strake.debug` has to be seen, so it also undoes `quiet`.
    pub(crate) fn set_verbosity(&mut self, verbosity: Verbosity) -> Result<()> {
        self.verbosity = verbosity;
        if verbosity == Verbosity::Debug {
            fs::write("/proc/sys/kernel/printk", "7").context("raising the console's log level")?;
        }
        Ok(())
    }

    pub(crate) fn run<T>(
        &mut self,
        step: Step,
        work: impl FnOnce(&mut Timeline) -> Result<T>,
    ) -> Result<T> {
        CURRENT.store(step as usize, Ordering::Relaxed);
        let start = since_boot();
        let index = self.steps.len();
        let (start_us, end_us) = (micros(start), micros(start));
        self.steps.push(Record {
            name: step,
            start_us,
            end_us,
        });
        let done = work(self)?;
        let end = since_boot();
        self.steps[index].end_us = micros(end);
        self.debug(format_args!(
            "{} took {} us",
            Step::current(),
            micros(end - start)
        ));
        Ok(done)
    }

    pub(crate) fn warn(&mut self, text: impl fmt::Display) {
        console::log(
            Level::Warning,
            format_args!("warning: {}: {text}", Step::current()),
        );
        self.warnings.push(text.to_string());
    }

    pub(crate) fn debug(&self, text: fmt::Arguments<'_>) {
        if self.verbosity == Verbosity::Debug {
            console::log(Level::Debug, text);
        }
    }

    /// Called in the last step, whose end is therefore the moment of writing.
    pub(crate) fn write(&mut self, root_hash: &RootHash, slot: Slot) -> Result<()> {
        let now = since_boot();
        if let Some(last) = self.steps.last_mut() {
            last.end_us = micros(now);
        }
        let os_release =
            fs::read_to_string("/usr/lib/os-release").context("reading /usr/lib/os-release")?;
        let report = Report {
            version: release_version(&os_release).context("no VERSION_ID in os-release")?,
            root_hash: root_hash.to_string(),
            slot,
            steps: &self.steps,
            warnings: &self.warnings,
        };
        let text = serde_json::to_vec(&report).context("writing the report as JSON")?;
        fs::write(REPORT, text).with_context(|| format!("writing {REPORT}"))?;
        let total = micros(now - self.started);
        self.debug(format_args!("handing over to systemd after {total} us"));
        Ok(())
    }
}

/// A moment on the monotonic clock, as time since boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Duration,
}

impl Deadline {
    pub(crate) fn after_boot(at: Duration) -> Deadline {
        Deadline { at }
    }

    pub(crate) fn within(time: Duration) -> Deadline {
        Deadline {
            at: since_boot() + time,
        }
    }

    pub(crate) fn left(self) -> Duration {
        self.at.saturating_sub(since_boot())
    }
}

fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux always has this clock");
    Duration::from(now)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn release_version(os_release: &str) -> Option<&str> {
    let value = |key: &str| {
        let line = os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim().trim_matches(['"', '\'']))
    };
    value("IMAGE_VERSION").or_else(|| value("VERSION_ID"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_called_the_same_on_the_console_and_in_the_report() {
        for index in 0..Step::NAMES.len() {
            CURRENT.store(index, Ordering::Relaxed);
            let step = [
                Step::Mounts,
                Step::Options,
                Step::Modules,
                Step::Slot,
                Step::Verity,
                Step::Root,
                Step::Partitions,
                Step::Etc,
                Step::MachineId,
                Step::Config,
                Step::Systemd,
            ][index];
            assert_eq!(serde_json::to_value(step).unwrap(), Step::current());
        }
    }

    #[test]
    fn the_image_version_wins_over_the_release() {
        let text = "ID=strake\nVERSION_ID=\"1.2.3\"\nIMAGE_VERSION='1.2.3+4'\n";
        assert_eq!(release_version(text), Some("1.2.3+4"));
        assert_eq!(release_version("VERSION_ID=7\n"), Some("7"));
        assert_eq!(release_version("MY_VERSION_ID=7\n"), None);
    }
}

//! PID 1 of the initrd and its only program: finds the slot that belongs to `usrhash=`, opens it
//! under dm-verity, builds the root out of memory, has the cloud-config applied and hands over to
//! systemd.
//!
//! It asks nothing and offers no shell. Whatever goes wrong becomes one line on the console and a
//! reboot, so that the boot loader counts the try and falls back to the other slot. Started as
//! anything but PID 1 it refuses, because the first thing it would do to a running system is mount
//! over it.

use std::convert::Infallible;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cmdline::Options;
use crate::timeline::{Deadline, Step, Timeline};

mod apply;
mod block;
mod cmdline;
mod console;
mod device_mapper;
mod device_nodes;
mod failure;
mod machine_id;
mod modules;
mod mounts;
mod root;
mod signals;
mod slot;
mod timeline;
mod verity;

const SYSTEMD: &str = "/usr/lib/systemd/systemd";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("strake-init: this is the first program of the initrd; it runs only as PID 1");
        return ExitCode::from(2);
    }
    std::panic::set_hook(Box::new(|panic| {
        failure::fail(format_args!("bug: {panic}"))
    }));
    signals::fail_on_faults();
    match boot() {
        Err(error) => failure::fail(format_args!("{error:#}")),
    }
}

fn boot() -> Result<Infallible> {
    let mut timeline = Timeline::start();
    timeline.run(Step::Mounts, |_| mounts::kernel_filesystems())?;
    let options = timeline.run(Step::Options, |timeline| {
        let line = fs::read("/proc/cmdline").context("reading /proc/cmdline")?;
        let (options, warnings) = Options::parse(&String::from_utf8_lossy(&line))?;
        timeline.set_verbosity(options.verbosity)?;
        warnings.iter().for_each(|warning| timeline.warn(warning));
        Ok(options)
    })?;
    let deadline = Deadline::after_boot(timeline.started() + options.limit);
    failure::watch(deadline, options.limit)?;

    // Open before the drivers are loaded, so that no disk can appear unnoticed.
    let uevents = block::Uevents::open()?;
    timeline.run(Step::Modules, modules::load_listed)?;
    let found = timeline.run(Step::Slot, |timeline| {
        slot::find(&options.root_hash, &uevents, deadline, timeline)
    })?;
    drop(uevents);
    let usr = timeline.run(Step::Verity, |_| {
        found
            .open_verity(&options.root_hash)
            .with_context(|| found.to_string())
    })?;
    timeline.run(Step::Root, |timeline| {
        root::build_and_enter(&usr).with_context(|| found.to_string())?;
        device_nodes::make(timeline);
        Ok(())
    })?;
    timeline.run(Step::Partitions, |timeline| {
        mounts::partitions(&found, timeline)
    })?;
    timeline.run(Step::Etc, |_| mounts::etc())?;
    timeline.run(Step::MachineId, |timeline| {
        machine_id::settle(
            "/state".as_ref(),
            "/etc".as_ref(),
            options.machine_id,
            timeline,
        )
    })?;
    timeline.run(Step::Config, |_| apply::config(deadline))?;
    timeline.run(Step::Systemd, |timeline| {
        timeline.write(&options.root_hash, found.slot)?;
        Err(Command::new(SYSTEMD).exec()).with_context(|| format!("starting {SYSTEMD}"))
    })
}

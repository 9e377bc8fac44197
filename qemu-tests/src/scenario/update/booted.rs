//! Power cuts of whole installations, and the disks they leave really booted.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::cuts::{Span, Summary, examine, spread};
use super::node::{install, reboot_into, user_data};
use super::releases::{GOOD, LATER, STABLE};
use crate::blocklog::{Log, write_out};
use crate::machine::Machine;
use crate::publisher::Built;
use crate::scenario::runner::BOOT_LIMIT;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::tools::run;
use crate::wait::Deadline;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "power cuts",
    extent: Extent::Full,
    start,
    checks: &[
        Check {
            name: "a slot is filled for the first time and none of the cuts loses both releases",
            how: How::Now(first_fill),
        },
        Check {
            name: "a slot is filled again, and the disks after at least 20 cuts boot",
            how: How::Now(second_fill),
        },
    ],
};

/// A slot that is filled is 600 MB of writes: of those one in so many is looked at, of the writes to
/// the boot entries each.
const COARSE: usize = 50;
const BOOTS: usize = 20;

fn start(stage: &Stage) -> Result<Machine> {
    stage.start(
        stage
            .spec("power-cuts")
            .config_drive(&user_data(stage, "")?)
            .recorded(),
    )
}

fn first_fill(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let old = Built::open(&stage.image.directory)?;
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    let new = stage
        .releases()?
        .publish(GOOD, STABLE, &["--deltas", "0"])?;
    let span = recorded(machine, &new, COARSE)?;
    let summary = examine(&stage.image.disk, machine.recording(), (&old, &new), span)?;
    println!("        each {COARSE}th of the writes: {summary}");
    Ok(())
}

fn second_fill(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let releases = stage.releases()?;
    let old = releases.built(GOOD)?;
    let new = releases.publish(LATER, STABLE, &["--deltas", "1"])?;
    let span = recorded(machine, &new, 1)?;
    let recording = machine.recording().to_owned();
    let summary = examine(&stage.image.disk, &recording, (&old, &new), span)?;
    println!("        {summary}");
    let last = Log::open(&recording)?.entries.len();
    machine.power_cut()?;
    let booted = boot_spread(stage, &recording, &summary, span, last)?;
    println!("        {booted} disks booted, each into the release that the model says");
    ensure!(booted >= BOOTS, "only {booted} disks were booted");
    machine.power_on()?;
    machine.wait_for_ssh(Deadline::seconds(BOOT_LIMIT))
}

/// Updates the machine to a release and says which part of the recording that was.
fn recorded(machine: &mut Machine, new: &Built, step: usize) -> Result<Span> {
    let version = &new.release.version;
    machine.ask("sync")?;
    let entries = |machine: &Machine| Log::open(machine.recording()).map(|log| log.entries.len());
    let from = entries(machine)?;
    install(machine, version)?;
    let rebooted = entries(machine)?;
    reboot_into(machine, version)?;
    machine.ask("sync")?;
    Ok(Span {
        from,
        rebooted,
        step,
    })
}

fn boot_spread(
    stage: &Stage,
    recording: &Path,
    summary: &Summary,
    span: Span,
    last: usize,
) -> Result<usize> {
    let log = Log::open(recording)?;
    let replayed = stage.directory("replayed.raw");
    let mut copy = Command::new("cp");
    copy.args(["--reflink=auto", "--sparse=always"]);
    run(copy.arg(&stage.image.disk).arg(&replayed))?;
    let image = File::options().write(true).open(&replayed)?;
    image.set_len(u64::from(stage.spec("size").disk_gib) << 30)?;
    let prefixes = spread(summary, span, last, BOOTS);
    let mut done = 0;
    for prefix in &prefixes {
        write_out(&log, done..*prefix, &image).context("replaying the recording")?;
        done = *prefix;
        boot(
            stage,
            &replayed,
            [GOOD, LATER][summary.release_after(*prefix)],
        )
        .with_context(|| format!("booting the disk after {prefix} entries"))?;
    }
    Ok(prefixes.len())
}

fn boot(stage: &Stage, disk: &Path, expected: &str) -> Result<()> {
    let mut spec = stage.spec("cut").config_drive(&user_data(stage, "")?);
    spec.image = disk.to_owned();
    let mut machine = stage.start(spec)?;
    let status = machine.status()?.context("strake status says nothing")?;
    ensure!(
        status["release"] == expected,
        "{} runs, the model says {expected}",
        status["release"]
    );
    Ok(())
}

//! One update of one machine, with every write recorded; then one that must be given up.

use anyhow::{Context, Result, ensure};

use super::cuts::{Span, examine};
use super::node::{install, reboot_into, refusal, runs_blessed, used_image, user_data};
use super::releases::{BROKEN, GOOD, STABLE};
use crate::blocklog::Log;
use crate::machine::Machine;
use crate::publisher::Built;
use crate::scenario::runner::BOOT_LIMIT;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::wait::Deadline;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "update",
    extent: Extent::Full,
    start,
    checks: &[
        Check {
            name: "a release is installed, booted by the next reboot and blessed; and a power cut \
                   at any write of that leaves the old or the new one",
            how: How::Now(updated),
        },
        Check {
            name: "a release whose required unit fails is given up for the one before and refused",
            how: How::Now(given_up),
        },
    ],
};

/// The tries of an entry.
const TRIES: usize = 3;

fn start(stage: &Stage) -> Result<Machine> {
    let releases = stage.releases()?;
    let mut spec = stage
        .spec("update")
        .config_drive(&user_data(stage, "")?)
        .recorded();
    spec.image = used_image(stage, releases)?;
    stage.start(spec)
}

fn updated(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let releases = stage.releases()?;
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    machine.ask("sync")?;
    let entries =
        |machine: &Machine| -> Result<usize> { Ok(Log::open(machine.recording())?.entries.len()) };
    let old = Built::open(&stage.image.directory)?;
    let new = releases.publish(GOOD, STABLE, &["--deltas", "0"])?;
    let from = entries(machine)?;
    install(machine, GOOD)?;
    let rebooted = entries(machine)?;
    reboot_into(machine, GOOD)?;
    let status = machine.status()?.context("strake status says nothing")?;
    ensure!(
        status["slot"] == "B",
        "it runs from slot {}",
        status["slot"]
    );
    machine.ask("sync")?;

    let span = Span {
        from,
        rebooted,
        step: 1,
    };
    let base = stage.directory("used.raw");
    let summary = examine(&base, machine.recording(), (&old, &new), span)?;
    println!("        {summary}");
    for (prefix, entries) in &summary.turns {
        println!("        from {prefix}: {}", entries.join(" "));
    }
    ensure!(
        summary.old > 0 && summary.new > 0,
        "the recording shows no update: {summary}"
    );
    Ok(())
}

fn given_up(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let broken = stage
        .releases()?
        .publish(BROKEN, STABLE, &["--deltas", "0"])?;
    install(machine, BROKEN)?;
    let before = machine.resets();
    machine.ssh("sudo systemctl reboot")?;
    // The reboot itself, and one for each try.
    machine.wait_for_reset(before + TRIES, Deadline::seconds(2 * BOOT_LIMIT))?;
    machine.wait_for_ssh(Deadline::seconds(BOOT_LIMIT))?;
    runs_blessed(machine, GOOD)?;
    let again = machine.ssh("sudo strake update install")?;
    ensure!(
        again.status.code() == Some(3),
        "it is installed again: {again:?}"
    );
    let refused = refusal(machine, &broken)?;
    println!("        {}", refused["cause"]);
    let cause = refused["cause"].as_str().unwrap_or_default();
    ensure!(
        cause.contains(super::breaker::REQUIRED),
        "it is refused for {refused}"
    );
    Ok(())
}

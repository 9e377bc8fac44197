//! One good update and one that must be given up: what every run of the tests proves. The long
//! matrices are in the scenarios beside this one.

use anyhow::{Result, ensure};

use super::fall_back::{TRIES, told};
use super::node::{install, reboot_into, refusal, runs_blessed, used_image, user_data_of};
use super::releases::{BROKEN, GOOD, SHORT};
use crate::machine::Machine;
use crate::scenario::runner::BOOT_LIMIT;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::wait::Deadline;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "release",
    extent: Extent::Usual,
    start,
    checks: &[
        Check {
            name: "a release is installed, booted by the next reboot from the other slot, and blessed",
            how: How::Now(updated),
        },
        Check {
            name: "a release that panics is given up for the one before, which says why",
            how: How::Now(given_up),
        },
    ],
};

/// What the broken release does; the others do not look at it.
const PANIC: &str = "  - path: /etc/breaker\n    content: panic\n";

fn start(stage: &Stage) -> Result<Machine> {
    let releases = stage.releases()?;
    let mut spec = stage
        .spec("release")
        .config_drive(&user_data_of(stage, SHORT, "", PANIC)?);
    spec.image = used_image(stage, releases)?;
    stage.start(spec)
}

fn updated(machine: &mut Machine, stage: &Stage) -> Result<()> {
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    stage.releases()?.publish(GOOD, SHORT, &["--deltas", "0"])?;
    install(machine, GOOD)?;
    reboot_into(machine, GOOD)?;
    let status = machine.status()?.unwrap_or_default();
    ensure!(
        status["slot"] == "B",
        "it runs from slot {}",
        status["slot"]
    );
    Ok(())
}

fn given_up(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let broken = stage
        .releases()?
        .publish(BROKEN, SHORT, &["--deltas", "0"])?;
    install(machine, BROKEN)?;
    machine.expect_losses();
    let before = machine.resets();
    machine.ssh("sudo systemctl reboot")?;
    // The reboot itself, and one for each try.
    machine.wait_for_reset(before + TRIES, Deadline::seconds(2 * BOOT_LIMIT))?;
    machine.wait_for_ssh(Deadline::seconds(BOOT_LIMIT))?;
    runs_blessed(machine, GOOD)?;
    let boots = machine.resets() - before - 1;
    ensure!(boots == TRIES, "{boots} boots of the broken release");
    let refused = refusal(machine, &broken)?;
    println!("        {}", refused["cause"]);
    let cause = refused["cause"].as_str().unwrap_or_default();
    ensure!(
        cause.contains("Kernel panic"),
        "it is refused for {refused}"
    );
    told(machine, stage, &broken)
}

//! A cloud-config on the CONFIG partition, and a bad one after it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::runner::BOOT_LIMIT;
use super::{Check, Extent, How, Scenario, Stage};
use crate::machine::Machine;
use crate::wait::Deadline;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "config",
    extent: Extent::Usual,
    start,
    checks: &[
        Check {
            name: "a cloud-config on the CONFIG partition is in force",
            how: How::Now(in_force),
        },
        Check {
            name: "a bad cloud-config is reported with line and column, the last good one is used",
            how: How::Now(bad_one_is_reported),
        },
    ],
};

const GOOD: &str = "\
#cloud-config
hostname: steady
ssh_authorized_keys:
  - {{key}}
strake:
  health:
    for: 1s
";

/// `write_files` must be a list: line 3, column 14.
const BAD: &str = "\
#cloud-config
hostname: broken
write_files: nonsense
";
const PLACE: (u64, u64) = (3, 14);

const POWER_OFF_LIMIT: Duration = Duration::from_secs(120);

fn start(stage: &Stage) -> Result<Machine> {
    let good = GOOD.replace("{{key}}", &stage.key.public()?);
    stage.start(stage.spec("config").config_partition(&good))
}

fn in_force(machine: &mut Machine, _: &Stage) -> Result<()> {
    let hostname = machine.ask("hostname")?;
    ensure!(hostname.trim() == "steady", "the host name is {hostname}");
    // Only a boot that was healthy makes its config the last good one.
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    let status = machine.status()?.context("strake status says nothing")?;
    let config = &status["config"];
    ensure!(
        config["outcome"] == "applied",
        "strake status says of the config: {config}"
    );
    Ok(())
}

fn bad_one_is_reported(machine: &mut Machine, _: &Stage) -> Result<()> {
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    machine.power_off(POWER_OFF_LIMIT)?;
    machine.replace_user_data(BAD)?;
    machine.power_on()?;
    let deadline = Deadline::seconds(BOOT_LIMIT);
    let (line, column) = PLACE;
    let said = machine.wait_for_line(&format!(":{line}:{column}:"), deadline)?;
    ensure!(said.contains("error"), "the console says {said:?}");
    machine.wait_for_ssh(deadline)?;

    let hostname = machine.ask("hostname")?;
    ensure!(hostname.trim() == "steady", "the host name is {hostname}");
    let status = machine.status()?.context("strake status says nothing")?;
    let config = &status["config"];
    ensure!(
        config["outcome"] == "last-good",
        "strake status says of the config: {config}"
    );
    let problems = config["problems"]
        .as_array()
        .context("no problems in strake status")?;
    let reported = problems
        .iter()
        .any(|problem| problem["line"] == line && problem["column"] == column);
    ensure!(
        reported,
        "strake status has no problem at {line}:{column}: {config}"
    );
    Ok(())
}

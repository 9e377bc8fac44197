//! A cloud-config on the CONFIG partition, and a bad one after it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::runner::BOOT_LIMIT;
use super::{Check, Extent, How, Scenario, Stage, source};
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
        Check {
            name: "a cloud-config whose boot is not healthy gives way to the last good one",
            how: How::Now(unhealthy_one_gives_way),
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

/// Nothing is wrong with it but what it does.
const UNHEALTHY: &str = "\
#cloud-config
hostname: shaky
ssh_authorized_keys:
  - {{key}}
coreos:
  units:
    - name: hopeless.service
      enable: true
      content: |
        [Service]
        Type=oneshot
        ExecStart=/bin/false
        [Install]
        WantedBy=multi-user.target
strake:
  health:
    require: [hopeless.service]
    for: 1s
    deadline: 45s
";

const SOURCE: &str = "/config/user_data";
const POWER_OFF_LIMIT: Duration = Duration::from_secs(120);

fn start(stage: &Stage) -> Result<Machine> {
    let good = GOOD.replace("{{key}}", &stage.key.public()?);
    stage.start(stage.spec("config").config_partition(&good))
}

fn in_force(machine: &mut Machine, _: &Stage) -> Result<()> {
    // Only a boot that was healthy makes its config the last good one.
    source::in_force(machine, SOURCE)?;
    source::answers(machine, &[("hostname", "steady")])
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

fn unhealthy_one_gives_way(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let deadline = || Deadline::seconds(BOOT_LIMIT);
    machine.power_off(POWER_OFF_LIMIT)?;
    machine.replace_user_data(&UNHEALTHY.replace("{{key}}", &stage.key.public()?))?;
    machine.power_on()?;
    machine.wait_for_ssh(deadline())?;
    machine.wait_until("the end of the trial", deadline(), |machine| {
        let status = machine.status()?;
        Ok(status.filter(|status| status["health"]["state"] == "unhealthy"))
    })?;
    source::answers(machine, &[("hostname", "shaky")])?;

    // The release was blessed, so the machine stays up for whoever wants to look.
    machine.reboot(deadline())?;
    machine.wait_until("a healthy boot", deadline(), |machine| {
        let status = machine.status()?;
        Ok(status.filter(|status| status["health"]["state"] == "healthy"))
    })?;
    source::answers(machine, &[("hostname", "steady")])?;
    let config = source::config(machine)?;
    ensure!(
        config["outcome"] == "last-good"
            && source::tells(&config, "the last boot with it was not healthy"),
        "strake status says of the config: {config}"
    );
    let table = machine.ask("strake status")?;
    ensure!(
        table.contains("not healthy"),
        "strake status does not tell of it:\n{table}"
    );
    source::nothing_failed(machine)
}

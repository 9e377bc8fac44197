//! Power cuts, at moments that hurt.

use anyhow::{Context, Result, ensure};

use super::runner::BOOT_LIMIT;
use super::{Check, Extent, How, Scenario, Stage};
use crate::machine::Machine;
use crate::wait::Deadline;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "power",
    extent: Extent::Full,
    start,
    checks: &[
        Check {
            name: "a power cut while the machine boots for the first time leaves it able to boot",
            how: How::Now(cut_in_first_boot),
        },
        Check {
            name: "a power cut under writes loses no identity and fails no unit",
            how: How::Now(cut_under_writes),
        },
    ],
};

const USER_DATA: &str = "\
#cloud-config
hostname: hardy
ssh_authorized_keys:
  - {{key}}
strake:
  health:
    for: 1s
";

/// Console lines of a first boot. Each boot is cut at the next one.
const MOMENTS: [&str; 3] = ["BdsDxe: starting", "cloud-config", "(ttyS0)"];
const CUTS: usize = 3;

fn start(stage: &Stage) -> Result<Machine> {
    let user_data = USER_DATA.replace("{{key}}", &stage.key.public()?);
    let spec = stage.spec("power").config_drive(&user_data);
    let directory = stage.directory("power");
    Machine::start(spec, &directory, &stage.tools)
}

fn cut_in_first_boot(machine: &mut Machine, _: &Stage) -> Result<()> {
    for moment in MOMENTS {
        machine
            .wait_for_line(moment, Deadline::seconds(BOOT_LIMIT))
            .with_context(|| format!("waiting for the moment {moment:?}"))?;
        machine.power_cut()?;
        machine.power_on()?;
    }
    machine.wait_for_ssh(Deadline::seconds(BOOT_LIMIT))?;
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    whole(machine)
}

fn cut_under_writes(machine: &mut Machine, _: &Stage) -> Result<()> {
    let deadline = || Deadline::seconds(BOOT_LIMIT);
    machine.wait_for_ssh(deadline())?;
    machine.wait_until_blessed(deadline())?;
    let before = identity(machine)?;
    for cut in 1..=CUTS {
        machine.ask(
            "sudo systemd-run -q sh -c 'while :; do head -c 100000 /dev/urandom > /var/noise; \
             sync /var/noise; done'",
        )?;
        machine.power_cut()?;
        machine.power_on()?;
        machine
            .wait_for_ssh(deadline())
            .with_context(|| format!("after cut {cut}"))?;
        let now = identity(machine)?;
        ensure!(
            now == before,
            "before the cuts:\n{before}after cut {cut}:\n{now}"
        );
        whole(machine).with_context(|| format!("after cut {cut}"))?;
    }
    Ok(())
}

fn identity(machine: &mut Machine) -> Result<String> {
    machine.ask("cat /etc/machine-id; sudo cat /state/ssh/ssh_host_ed25519_key.pub; id core")
}

fn whole(machine: &mut Machine) -> Result<()> {
    let state = machine.ask("systemctl is-system-running --wait || true")?;
    let failed = machine.ask("systemctl --failed --no-legend --plain")?;
    ensure!(
        failed.is_empty() && state.trim() == "running",
        "the system is {state}{failed}"
    );
    let mounted = machine.ask("findmnt -n -o FSTYPE /var")?;
    ensure!(mounted.trim() == "ext4", "/var is {mounted:?}");
    Ok(())
}

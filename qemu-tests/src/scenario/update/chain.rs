//! One release after the other, back and forward again, on a machine that is full, from a server
//! that dies.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::node::{begin_install, install, reboot_into, staged, update_status, user_data_of};
use super::releases::{CHAIN, GOOD, LAST, LATER};
use crate::machine::Machine;
use crate::scenario::runner::BOOT_LIMIT;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::wait::Deadline;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "update chain",
    extent: Extent::Full,
    start,
    checks: &[
        Check {
            name: "a machine two releases behind passes the barrier between them, slot by slot",
            how: How::Now(passes_the_barrier),
        },
        Check {
            name: "a rollback boots the release before and stays there; unpinned it goes forward",
            how: How::Now(back_and_forward),
        },
        Check {
            name: "a full ESP stops an update before anything is written, and is told",
            how: How::Now(full_esp),
        },
        Check {
            name: "an update needs no room on DATA, and goes on when its server comes back",
            how: How::Now(full_data_and_dying_server),
        },
    ],
};

fn start(stage: &Stage) -> Result<Machine> {
    // Slow enough that a server can die while it serves.
    let limits = "  update:\n    bandwidth: 2M\n";
    let user_data = user_data_of(stage, CHAIN, limits, "")?;
    stage.start(stage.spec("update-chain").config_drive(&user_data))
}

fn slot(machine: &mut Machine) -> Result<String> {
    let status = machine.status()?.context("strake status says nothing")?;
    Ok(status["slot"].as_str().unwrap_or_default().to_owned())
}

fn passes_the_barrier(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let releases = stage.releases()?;
    releases.publish(GOOD, CHAIN, &["--deltas", "0"])?;
    releases.publish(LATER, CHAIN, &["--deltas", "1", "--min-from", GOOD])?;
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    for (version, expected) in [(GOOD, "B"), (LATER, "A")] {
        install(machine, version)?;
        reboot_into(machine, version)?;
        let slot = slot(machine)?;
        ensure!(slot == expected, "{version} runs from slot {slot}");
    }
    Ok(())
}

fn back_and_forward(machine: &mut Machine, _: &Stage) -> Result<()> {
    machine.ask("sudo strake update rollback")?;
    reboot_into(machine, GOOD)?;
    let status = update_status(machine)?;
    ensure!(status["pinned"] == GOOD, "after the rollback: {status}");
    let install_now = machine.ssh("sudo strake update install")?;
    ensure!(
        install_now.status.code() == Some(3),
        "it goes forward: {install_now:?}"
    );
    machine.ask("sudo strake update unpin")?;
    install(machine, LATER)?;
    reboot_into(machine, LATER)
}

fn full_esp(machine: &mut Machine, stage: &Stage) -> Result<()> {
    stage.releases()?.publish(LAST, CHAIN, &["--deltas", "0"])?;
    let entries = "sudo ls /efi/EFI/Linux; cat /proc/sys/kernel/random/boot_id";
    let before = machine.ask(entries)?;
    machine.ask("sudo dd if=/dev/zero of=/efi/fill bs=1M 2>/dev/null; sync")?;
    let refused = machine.ssh("sudo strake update install")?;
    let said = format!("{}{}", refused.stdout, refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && said.contains("ESP"),
        "on a full ESP: {refused:?}"
    );
    let after = machine.ask(entries)?;
    ensure!(after == before, "before: {before}after: {after}");
    machine.ask("sudo rm /efi/fill; sync")?;
    Ok(())
}

fn full_data_and_dying_server(machine: &mut Machine, stage: &Stage) -> Result<()> {
    machine.ask(
        "sudo sh -c 'fallocate -l $(df --block-size=1 --output=avail /var | tail -n 1) /var/fill; \
         cat /dev/zero > /var/rest'; sync; df /var >&2",
    )
    .or_else(|_| machine.ask("test -e /var/fill"))?;
    begin_install(machine)?;
    machine.wait_until("the download", Deadline::seconds(300), |machine| {
        let entries = machine.ask("sudo ls /efi/EFI/Linux")?;
        Ok(entries.contains(".part").then_some(()))
    })?;
    let releases = stage.releases()?;
    releases.publisher().stop()?;
    let silence = Deadline::after(Duration::from_secs(5));
    machine.wait_until("the end of the silence", Deadline::seconds(60), |_| {
        Ok(silence.is_over().then_some(()))
    })?;
    releases.publisher().serve()?;
    if staged(machine, LAST).is_err() {
        // It may also give up and leave the rest to the next run.
        install(machine, LAST)?;
    }
    machine.ask("sudo rm /var/fill /var/rest; sync")?;
    reboot_into(machine, LAST)
}

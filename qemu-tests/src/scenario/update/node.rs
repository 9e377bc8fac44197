//! A machine that follows a channel of the test's repository, and questions to it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::breaker::REQUIRED;
use super::releases::{BEFORE, Releases, STABLE};
use crate::machine::{Machine, find_partition};
use crate::publisher::Built;
use crate::scenario::Stage;
use crate::scenario::runner::BOOT_LIMIT;
use crate::tools::run;
use crate::wait::Deadline;

/// Time an installation may take under emulation, with everything copied.
pub(super) const INSTALL_LIMIT: u64 = 600;

/// The cloud-config of a machine that follows [`STABLE`].
pub(super) fn user_data(stage: &Stage, extra: &str) -> Result<String> {
    user_data_of(stage, STABLE, "", extra)
}

/// `limits` are keys below `strake`, `extra` more files of it, as items of `write_files`.
pub(super) fn user_data_of(
    stage: &Stage,
    channel: &str,
    limits: &str,
    extra: &str,
) -> Result<String> {
    let releases = stage.releases()?;
    let publisher = releases.publisher();
    let root = publisher
        .root()?
        .lines()
        .map(|line| format!("      {line}\n"))
        .collect::<String>();
    let (key, server) = (stage.key.public()?, publisher.address()?);
    Ok(format!(
        "\
#cloud-config
hostname: follower
ssh_authorized_keys:
  - {key}
coreos:
  update:
    group: {channel}
    server: {server}
    reboot_strategy: off
strake:
{limits}  health:
    require: [{REQUIRED}]
    for: 1s
    deadline: 2m
write_files:
  - path: /etc/strake/update/root.json
    content: |
{root}{extra}"
    ))
}

/// The image with an older release in the passive slot, as on a machine that was updated before.
pub(super) fn used_image(stage: &Stage, releases: &Releases) -> Result<PathBuf> {
    let image = stage.directory("used.raw");
    if !image.exists() {
        let mut copy = Command::new("cp");
        copy.args(["--reflink=auto", "--sparse=always"]);
        run(copy.arg(&stage.image.disk).arg(&image))?;
        let before = releases.built(BEFORE)?;
        put(&image, "USR-B", &before.directory.join("usr.erofs"))?;
        put(&image, "USR-B-VERITY", &before.directory.join("usr.verity"))?;
    }
    Ok(image)
}

fn put(image: &Path, label: &str, content: &Path) -> Result<()> {
    let target = File::options().read(true).write(true).open(image)?;
    let start = find_partition(&mut &target, label)?.start;
    let source = File::open(content)?;
    let (mut piece, mut at) = (vec![0; 1 << 20], 0);
    loop {
        match source.read_at(&mut piece, at)? {
            0 => return Ok(()),
            length => target.write_all_at(&piece[..length], start + at)?,
        }
        at += 1 << 20;
    }
}

/// `strake update status`.
pub(super) fn update_status(machine: &mut Machine) -> Result<Value> {
    let text = machine.ask("sudo strake update status -o json")?;
    serde_json::from_str(&text).with_context(|| format!("strake update status says {text}"))
}

/// Installs what the channel offers.
pub(super) fn install(machine: &mut Machine, expected: &str) -> Result<()> {
    begin_install(machine)?;
    staged(machine, expected)
}

pub(super) fn begin_install(machine: &mut Machine) -> Result<()> {
    // The service would do the same, but when it likes.
    let command = "sudo systemctl stop strake-update.timer strake-update.service; sudo systemd-run --quiet --collect --unit=install-now \
                   sh -c 'exec strake update install > /run/install-now 2>&1'";
    machine.ask(command).map(drop)
}

/// Waits for the end of what was begun.
pub(super) fn staged(machine: &mut Machine, expected: &str) -> Result<()> {
    let deadline = Deadline::seconds(INSTALL_LIMIT);
    machine.wait_until("the end of the installation", deadline, |machine| {
        let active = machine.ssh("systemctl is-active --quiet install-now.service")?;
        Ok((!active.status.success()).then_some(()))
    })?;
    let (status, said) = (
        update_status(machine)?,
        machine.ask("cat /run/install-now")?,
    );
    ensure!(
        status["staged"] == expected,
        "{expected} is not staged: {status}\nit said {said}"
    );
    // What it reported as done is on the disk; the rest of the recording may settle as well.
    machine.ask("sync").map(drop)
}

/// Reboots and waits until the release runs and is blessed.
pub(super) fn reboot_into(machine: &mut Machine, expected: &str) -> Result<()> {
    machine.reboot(Deadline::seconds(BOOT_LIMIT))?;
    runs_blessed(machine, expected)
}

pub(super) fn runs_blessed(machine: &mut Machine, expected: &str) -> Result<()> {
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    let status = machine.status()?.context("strake status says nothing")?;
    ensure!(
        status["release"] == expected,
        "{} runs, not {expected}",
        status["release"]
    );
    Ok(())
}

/// What is remembered of a release that was given up.
pub(super) fn refusal(machine: &mut Machine, release: &Built) -> Result<Value> {
    let version = &release.release.version;
    let deadline = Deadline::seconds(BOOT_LIMIT);
    machine.wait_until("the refusal of the release", deadline, |machine| {
        let status = update_status(machine)?;
        let refused = status["refused"].as_array().cloned().unwrap_or_default();
        Ok(refused.into_iter().find(|one| one["version"] == **version))
    })
}

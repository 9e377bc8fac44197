//! The boot matrix: each way in which a release may fail to come up ends in a blessed boot of the
//! release before it, which says why and takes the failed one no more.
//!
//! The broken release is installed once, from the repository. Its disk is kept, and for each cause
//! the machine is switched on from there: into the broken release.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::breaker::REQUIRED;
use super::node::{install, refusal, runs_blessed, used_image, user_data_of};
use super::releases::{BREAKING, BROKEN};
use crate::machine::{Machine, find_partition};
use crate::publisher::Built;
use crate::scenario::runner::BOOT_LIMIT;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::wait::Deadline;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "fall back",
    extent: Extent::Full,
    start,
    checks: &[
        Check {
            name: "after a kernel panic",
            how: How::Now(|machine, stage| {
                broken(
                    machine,
                    stage,
                    &in_release("panic", "Kernel panic - not syncing"),
                )
            }),
        },
        Check {
            name: "after a failed start in the initrd",
            how: How::Now(|machine, stage| {
                broken(
                    machine,
                    stage,
                    &on_disk("USR-B-VERITY", 0, "no slot has root hash"),
                )
            }),
        },
        Check {
            name: "after a corrupted block of /usr",
            how: How::Now(corrupted),
        },
        Check {
            name: "after a crash of PID 1",
            how: How::Now(|machine, stage| {
                broken(
                    machine,
                    stage,
                    &in_release("pid1", "no journal and no panic"),
                )
            }),
        },
        Check {
            name: "after a failed required unit",
            how: How::Now(|machine, stage| broken(machine, stage, &REQUIRED_UNIT)),
        },
        Check {
            name: "after crashes of the agent, over and over",
            how: How::Now(|machine, stage| {
                broken(
                    machine,
                    stage,
                    &in_release("agent", "Main process exited, code="),
                )
            }),
        },
        Check {
            name: "after a hang, by the watchdog",
            how: How::Now(|machine, stage| {
                broken(
                    machine,
                    stage,
                    &in_release("hang", "the hardware watchdog ended it"),
                )
            }),
        },
    ],
};

/// Boots of a broken release at most; the next one is of the release before.
pub(super) const TRIES: usize = 3;
const KEPT: &str = "installed";
/// A hang costs a minute of the watchdog's for each try.
const FALL_BACK_LIMIT: u64 = 900;

#[derive(Debug, Default)]
struct Cause {
    /// The word in `/etc/breaker`.
    word: Option<&'static str>,
    /// Where a block of the machine's disk is overwritten.
    place: Option<u64>,
    label: &'static str,
    /// What has to be told of it.
    told: &'static str,
}

/// What the release does without a word.
const REQUIRED_UNIT: Cause = Cause {
    word: None,
    place: None,
    label: "",
    told: REQUIRED,
};

fn in_release(word: &'static str, told: &'static str) -> Cause {
    Cause {
        word: Some(word),
        told,
        ..Cause::default()
    }
}

fn on_disk(label: &'static str, place: u64, told: &'static str) -> Cause {
    Cause {
        told,
        // Whatever else is broken in the release is not what fails.
        word: Some("nothing"),
        place: Some(place),
        label,
    }
}

fn start(stage: &Stage) -> Result<Machine> {
    let releases = stage.releases()?;
    let mut spec = stage
        .spec("fall-back")
        .config_drive(&user_data_of(stage, BREAKING, "", "")?)
        .watchdog();
    spec.image = used_image(stage, releases)?;
    let mut machine = stage.start(spec)?;
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    releases.publish(BROKEN, BREAKING, &["--deltas", "0"])?;
    install(&mut machine, BROKEN)?;
    machine.power_off(std::time::Duration::from_secs(120))?;
    machine.keep_disk(KEPT)?;
    machine.expect_losses();
    Ok(machine)
}

fn broken(machine: &mut Machine, stage: &Stage, cause: &Cause) -> Result<()> {
    machine.power_cut()?;
    machine.restore_disk(KEPT)?;
    let word = cause
        .word
        .map(|word| format!("  - path: /etc/breaker\n    content: {word}\n"));
    machine.replace_user_data(&user_data_of(
        stage,
        BREAKING,
        "",
        &word.unwrap_or_default(),
    )?)?;
    if let Some(place) = cause.place {
        let start = find_partition(&mut File::open(&stage.image.disk)?, cause.label)?.start;
        machine.overwrite_disk(start + place, 4096)?;
    }
    let before = machine.resets();
    machine.power_on()?;
    let deadline = Deadline::seconds(FALL_BACK_LIMIT);
    machine.wait_for_reset(before + TRIES - 1, deadline)?;
    machine.wait_for_ssh(deadline)?;
    let old = &stage.image.release.version;
    runs_blessed(machine, old)?;
    let boots = machine.resets() - before;
    ensure!(boots == TRIES, "{boots} resets until {old} ran again");

    let again = machine.ssh("sudo strake update install")?;
    ensure!(
        again.status.code() == Some(3),
        "it is installed again: {again:?}"
    );
    let release = stage.releases()?.built(BROKEN)?;
    let refused = refusal(machine, &release)?;
    println!("        {}", refused["cause"]);
    ensure!(refused["boots"] == TRIES, "it is refused so: {refused}");
    let told_cause = refused["cause"].as_str().unwrap_or_default();
    ensure!(
        told_cause.contains(cause.told),
        "{:?} is not told: {refused}",
        cause.told
    );
    told(machine, stage, &release)
}

/// The server knows of it.
pub(super) fn told(machine: &mut Machine, stage: &Stage, release: &Built) -> Result<()> {
    let releases = stage.releases()?;
    let version = release.release.version.clone();
    machine.wait_until("the server's word of it", Deadline::seconds(60), |_| {
        let metrics = releases.publisher().page("/metrics")?.unwrap_or_default();
        let line = metrics
            .lines()
            .any(|line| line.contains("fell_back") && line.contains(&version));
        Ok(line.then_some(()))
    })
}

/// A block of the program that every boot reads first.
fn corrupted(machine: &mut Machine, stage: &Stage) -> Result<()> {
    let image = stage.releases()?.built(BROKEN)?.directory.join("usr.erofs");
    let place = place_in(stage, &image, "/lib/systemd/systemd")?;
    broken(machine, stage, &on_disk("USR-B", place, "is corrupted"))
}

/// Where a file's content begins in a file system, in bytes.
fn place_in(stage: &Stage, image: &Path, path: &str) -> Result<u64> {
    let image = image.to_str().context("a path that is not UTF-8")?;
    let path = format!("--path={path}");
    let said = stage.tools.run("dump.erofs", ["-e", &path, image])?;
    // ` 0:        0..   98304 |   98304 :   12345344..  12443648 |   98304`
    let first = said
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("0:"));
    let physical = first.and_then(|extent| extent.split(':').nth(1)?.split("..").next());
    let physical = physical.and_then(|place| place.trim().parse::<u64>().ok());
    physical.with_context(|| format!("dump.erofs said {said}"))
}

//! A release that does not come up healthy stops at the first machine of a cluster.

use anyhow::{Context, Result, ensure};

use super::members::{LIMIT, told};
use super::reboots::boot_of;
use super::rolling::{all_back, install_soon, runs};
use crate::machine::Machine;
use crate::scenario::Stage;
use crate::scenario::update::releases::{BROKEN, GOOD, ROLLING};
use crate::wait::Deadline;

/// An installation on three machines at once, three boots that wait for their verdict, and one of
/// the release before.
const REFUSE_LIMIT: u64 = 1800;

pub(super) fn stops_at_the_first(one: &mut Machine, stage: &Stage) -> Result<()> {
    stage
        .releases()?
        .publish(BROKEN, ROLLING, &["--deltas", "0"])?;
    let mut members = stage.members();
    let mut before = vec![boot_of(one)?];
    install_soon(one)?;
    for machine in members.values_mut() {
        before.push(boot_of(machine)?);
        install_soon(machine)?;
    }
    let standing = one.wait_until(
        "the cluster's refusal",
        Deadline::seconds(REFUSE_LIMIT),
        |one| {
            let standings = told(one, "update status --cluster").ok().flatten();
            let all = standings.as_ref().and_then(|all| all.as_array());
            let refused = all
                .into_iter()
                .flatten()
                .find(|standing| standing["version"] == BROKEN && !standing["refused"].is_null());
            Ok(refused.cloned())
        },
    )?;
    let fell_back = standing["fallbacks"].as_array();
    let fell_back = fell_back.context("no machine is named")?;
    let [fall_back] = fell_back.as_slice() else {
        anyhow::bail!("not one machine fell back: {standing}");
    };
    println!("        {}: {}", fall_back["machine"], fall_back["cause"]);
    let cause = fall_back["cause"].as_str().unwrap_or_default();
    // Which part of the verdict comes first depends on how busy the host is.
    ensure!(cause.contains("not healthy: "), "the cause is {cause:?}");
    ensure!(
        fall_back["journal"]
            .as_array()
            .is_some_and(|lines| !lines.is_empty()),
        "no line of its journal is told"
    );
    let mut after = Vec::new();
    for machine in [&mut *one].into_iter().chain(members.values_mut()) {
        machine.wait_until("the release before", Deadline::seconds(LIMIT), |machine| {
            Ok(runs(machine, GOOD).then_some(()))
        })?;
        let again = machine.ssh("sudo strake update install")?;
        ensure!(
            again.status.code() == Some(3),
            "{} installs it again: {again:?}",
            machine.name()
        );
        after.push(boot_of(machine)?);
    }
    let changed = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after);
    let changed = changed.count();
    ensure!(
        changed == 1,
        "{changed} machines rebooted: {before:?}, {after:?}"
    );
    all_back(one, &mut members)
}

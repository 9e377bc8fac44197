//! What three machines do together: etcd from one cloud-config, units on whatever machine is
//! there, and each kind of loss.

mod asker;
mod broken;
mod capture;
mod client;
mod encrypted;
mod members;
mod names;
mod networks;
mod overlay;
mod overlay_faults;
mod overlay_ipip;
mod page;
mod reboots;
mod replaced;
mod rolling;
mod told;
mod units;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub(super) use self::encrypted::SCENARIO as OVERLAY_WIREGUARD;
pub(super) use self::members::Members;
use self::members::{
    Extra, LIMIT, NUMBERS, address, begin, control, number_of, places, start, told,
};
pub(super) use self::overlay::SCENARIO as OVERLAY;
pub(super) use self::overlay_faults::SCENARIO as OVERLAY_FAULTS;
pub(super) use self::overlay_ipip::SCENARIO as OVERLAY_IPIP;
pub(super) use self::reboots::SCENARIO as REBOOTS;
pub(super) use self::rolling::SCENARIO as ROLLING;
pub(super) use self::units::SCENARIO as UNITS;
use super::runner::BOOT_LIMIT;
use super::{Check, Extent, How, Scenario, Stage};
use crate::machine::Machine;
use crate::switch::Request;
use crate::wait::Deadline;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cluster",
    extent: Extent::Usual,
    start,
    checks: &[
        FORMED,
        Check {
            name: "units started on one machine run on the machine they fit",
            how: How::Now(units_run),
        },
        Check {
            name: "what a unit says is told on any machine, without ssh",
            how: How::Now(told::told_anywhere),
        },
        Check {
            name: "units of a lost machine start elsewhere, and the machine comes back",
            how: How::Now(machine_lost),
        },
    ],
};

pub(super) const FAULTS: Scenario = Scenario {
    name: "cluster faults",
    extent: Extent::Full,
    start,
    checks: &[
        FORMED,
        Check {
            name: "an etcd that is silent for a minute stops no unit",
            how: How::Now(silent_store),
        },
        Check {
            name: "a machine cut off by the switch loses its units to others and gets back in",
            how: How::Now(cut_off),
        },
        Check {
            name: "a member with an empty disk is a member again by itself",
            how: How::Now(new_disk),
        },
    ],
};

const SLEEPER: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";

/// Submits and starts on the machine that is asked; returns when it runs.
fn start_unit(machine: &mut Machine, name: &str, options: &str) -> Result<()> {
    let text = format!("{SLEEPER}{options}");
    machine.ask(&format!("cat >/tmp/{name} <<'END'\n{text}\nEND"))?;
    machine.ask(&format!("cd /tmp && sudo strake unit start {name}"))?;
    Ok(())
}

fn on(machine: &mut Machine, unit: &str) -> Result<String> {
    let places = places(machine, unit)?;
    let [place] = places.as_slice() else {
        anyhow::bail!("{unit} is active on {places:?}");
    };
    Ok(place.clone())
}

/// What each scenario of a cluster begins with.
const FORMED: Check = Check {
    name: "three machines with one cloud-config are an etcd cluster behind TLS",
    how: How::Now(formed),
};

fn formed(one: &mut Machine, stage: &Stage) -> Result<()> {
    let begin = Instant::now();
    one.wait_until(
        "three members with a leader",
        Deadline::seconds(LIMIT),
        |one| Ok(told(one, "cluster status")?.filter(is_formed)),
    )?;
    println!(
        "        formed {:.0} s after all had ssh",
        begin.elapsed().as_secs_f64()
    );
    let plain = one.ssh("curl -sS --max-time 20 -k https://10.9.0.2:2379/version")?;
    // 35 and 56: it was reached, and ended the handshake.
    ensure!(
        matches!(plain.status.code(), Some(35 | 56)),
        "etcd does not refuse who shows no certificate: {plain:?}"
    );
    one.wait_until_blessed(Deadline::seconds(LIMIT))?;
    for machine in stage.members().values_mut() {
        machine.wait_until_blessed(Deadline::seconds(LIMIT))?;
    }
    registered(one, NUMBERS.len())
}

fn is_formed(status: &Value) -> bool {
    let members = status["members"].as_array().map(Vec::as_slice);
    let up = |member: &Value| matches!(member["standing"].as_str(), Some("leader" | "follower"));
    let members = members.unwrap_or_default();
    members.len() == NUMBERS.len() && members.iter().all(up)
}

fn registered(one: &mut Machine, count: usize) -> Result<()> {
    let what = format!("{count} registered machines");
    one.wait_until(&what, Deadline::seconds(LIMIT), |one| {
        let machines = told(one, "machine list")?;
        let machines = machines.as_ref().and_then(Value::as_array);
        Ok(machines.filter(|all| all.len() == count).map(drop))
    })
}

fn units_run(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    start_unit(one, "plain.service", "")?;
    start_unit(one, "apart.service", "[X-Fleet]\nConflicts=plain.service")?;
    let (plain, apart) = (on(one, "plain.service")?, on(one, "apart.service")?);
    ensure!(plain != apart, "both are on {plain}");
    let two = members.get_mut(&2).context("no second machine")?;
    start_unit(two, "everywhere.service", "[X-Fleet]\nGlobal=yes")?;
    two.wait_until("a global unit on all", Deadline::seconds(LIMIT), |two| {
        let everywhere = places(two, "everywhere.service")?.len() == NUMBERS.len();
        Ok(everywhere.then_some(()))
    })?;
    // Any machine is told the same, and the machine itself has a real unit.
    ensure!(
        on(two, "plain.service")? == plain,
        "two machines tell two places"
    );
    let holder = match number_of(&plain)? {
        1 => one,
        number => members.get_mut(&number).context("no such machine")?,
    };
    holder.ask("systemctl is-active --quiet plain.service")?;
    holder.ask("sudo strake unit stop plain.service")?;
    let gone = holder.ssh("systemctl is-active --quiet plain.service")?;
    ensure!(!gone.status.success(), "it still runs after stop");
    let refused = holder.ssh("printf '[X-Fleet]\\nMachineMetdata=a=b\\n' >/tmp/bad.service && cd /tmp && sudo strake unit submit bad.service")?;
    ensure!(
        refused.status.code() == Some(2) && refused.stderr.contains("MachineMetadata"),
        "an unknown option is not refused with the nearest name: {refused:?}"
    );
    Ok(())
}

/// Starts a unit while only this machine takes any.
fn start_on(one: &mut Machine, number: u8, name: &str, options: &str) -> Result<()> {
    let others = NUMBERS.map(|other| (other != number).then(|| address(other)));
    let others: Vec<String> = others.into_iter().flatten().collect();
    for other in &others {
        let id = id_at(one, other)?;
        one.ask(&format!("sudo strake machine drain {id}"))?;
    }
    start_unit(one, name, options)?;
    ensure!(
        on(one, name)? == address(number),
        "{name} is not on {number}"
    );
    for other in &others {
        let id = id_at(one, other)?;
        one.ask(&format!("sudo strake machine undrain {id}"))?;
    }
    Ok(())
}

fn id_at(one: &mut Machine, address: &str) -> Result<String> {
    let machines = told(one, "machine list")?.context("no list of machines")?;
    let mut machines = machines.as_array().into_iter().flatten();
    let found = machines.find(|machine| machine["address"] == address);
    let id = found.and_then(|machine| machine["id"].as_str());
    Ok(id
        .with_context(|| format!("no machine at {address}"))?
        .to_owned())
}

fn machine_lost(one: &mut Machine, stage: &Stage) -> Result<()> {
    let name = "mover.service";
    start_on(one, 3, name, "")?;
    let mut third = stage.members().remove(&3).context("no third machine")?;
    third.power_cut()?;
    let lost = Instant::now();
    one.wait_until("its unit elsewhere", Deadline::seconds(LIMIT), |one| {
        let places = places(one, name)?;
        Ok((!places.is_empty() && !places.contains(&address(3))).then_some(()))
    })?;
    println!(
        "        {name} ran elsewhere {:.1} s after the power was cut",
        lost.elapsed().as_secs_f64()
    );
    third.power_on()?;
    third.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    registered(one, NUMBERS.len())?;
    ensure!(places(one, name)?.len() == 1, "{name} runs more than once");
    let twice = third.ssh(&format!("systemctl is-active --quiet {name}"))?;
    ensure!(
        !twice.status.success(),
        "{name} runs on the lost machine too"
    );
    stage.members().insert(3, third);
    Ok(())
}

/// All members' etcd stand still; what runs keeps its process.
fn silent_store(one: &mut Machine, stage: &Stage) -> Result<()> {
    start_unit(one, "steady.service", "[X-Fleet]\nGlobal=yes")?;
    let mut members = stage.members();
    one.wait_until("a global unit on all", Deadline::seconds(LIMIT), |one| {
        let everywhere = places(one, "steady.service")?.len() == NUMBERS.len();
        Ok(everywhere.then_some(()))
    })?;
    let process = "systemctl show --property MainPID steady.service";
    let mut before = vec![one.ask(process)?];
    for machine in members.values_mut() {
        before.push(machine.ask(process)?);
    }
    let signal = |machine: &mut Machine, signal: &str| {
        machine.ask(&format!(
            "sudo systemctl kill --signal {signal} etcd.service"
        ))
    };
    signal(one, "STOP")?;
    for machine in members.values_mut() {
        signal(machine, "STOP")?;
    }
    // Longer than the machines' leases.
    let silence = Instant::now();
    one.wait_until("a minute of silence", Deadline::seconds(LIMIT), |_| {
        Ok((silence.elapsed().as_secs() >= 65).then_some(()))
    })?;
    let asked = one.ssh("sudo strake machine list")?;
    ensure!(
        !asked.status.success(),
        "the store was not silent: {asked:?}"
    );
    signal(one, "CONT")?;
    for machine in members.values_mut() {
        signal(machine, "CONT")?;
    }
    registered(one, NUMBERS.len())?;
    let mut after = vec![one.ask(process)?];
    for machine in members.values_mut() {
        after.push(machine.ask(process)?);
    }
    ensure!(
        before == after,
        "processes were {before:?} and are {after:?}"
    );
    Ok(())
}

fn cut_off(one: &mut Machine, stage: &Stage) -> Result<()> {
    let unit = "cut.service";
    start_on(one, 3, unit, "")?;
    control(stage)?.send(&Request::Partition("1,2:3".parse()?))?;
    one.wait_until("its unit elsewhere", Deadline::seconds(LIMIT), |one| {
        let places = places(one, unit)?;
        Ok((!places.is_empty() && !places.contains(&address(3))).then_some(()))
    })?;
    let mut members = stage.members();
    let third = members.get_mut(&3).context("no third machine")?;
    // Nobody can tell it to stop, and a silent store stops nothing.
    third.ask(&format!("systemctl is-active --quiet {unit}"))?;
    control(stage)?.send(&Request::Heal)?;
    registered(one, NUMBERS.len())?;
    third.wait_until("its end on the third", Deadline::seconds(LIMIT), |third| {
        let active = third.ssh(&format!("systemctl is-active --quiet {unit}"))?;
        Ok((!active.status.success()).then_some(()))
    })?;
    ensure!(on(one, unit)? != address(3), "it moved back");
    Ok(())
}

fn new_disk(one: &mut Machine, stage: &Stage) -> Result<()> {
    let first = told(one, "cluster status")?.context("no status")?;
    one.ask("cd /tmp && printf '[Service]\\nExecStart=/bin/true\\n' >kept.service && sudo strake unit submit kept.service")?;
    let mut third = stage.members().remove(&3).context("no third machine")?;
    third.power_cut()?;
    drop(third);
    let mut third = begin(stage, "member3-new-disk", 3, &Extra::default())?;
    third.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    let lost = id_of(&first, &address(3));
    one.wait_until("another third member", Deadline::seconds(LIMIT), |one| {
        let now = told(one, "cluster status")?;
        Ok(now.filter(|now| is_formed(now) && id_of(now, &address(3)) != lost))
    })?;
    third.ask("sudo strake unit cat kept.service")?;
    third.wait_until_blessed(Deadline::seconds(LIMIT))?;
    stage.members().insert(3, third);
    Ok(())
}

fn id_of(status: &Value, name: &str) -> Option<String> {
    let members = status["members"].as_array()?;
    let member = members.iter().find(|member| member["name"] == name)?;
    member["id"].as_str().map(str::to_owned)
}

//! What the scheduler does with units on real machines: where they go and why, how they are replaced,
//! how they end, and how they leave a machine.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::members::{LIMIT, NUMBERS, address, control, number_of, places, start, told};
use super::{FORMED, id_at, on, registered, start_on, start_unit};
use crate::machine::Machine;
use crate::scenario::runner::BOOT_LIMIT;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::switch::Request;
use crate::wait::Deadline;

pub(in crate::scenario) const SCENARIO: Scenario = Scenario {
    name: "cluster units",
    extent: Extent::Full,
    start,
    checks: &[
        FORMED,
        Check {
            name: "metadata, conditions and conflicts choose the machine, and explain says why not",
            how: How::Now(chosen),
        },
        Check {
            name: "a unit gets another text, and another one pushes it off its machine",
            how: How::Now(replaced),
        },
        Check {
            name: "a unit that ends is run once, and any machine tells how it ended",
            how: How::Now(ended),
        },
        Check {
            name: "a fenced unit is down on a machine that is cut off before it runs elsewhere",
            how: How::Now(fenced),
        },
        Check {
            name: "a machine that is shut down hands over its units before its lease is over",
            how: How::Now(handed_over),
        },
        Check {
            name: "rebalance fills the machine that came back",
            how: How::Now(rebalanced),
        },
    ],
};

/// Of the machines, by number.
const ZONES: [&str; 3] = ["a", "b", "c"];
/// Orderly, under emulation.
const POWER_OFF: Duration = Duration::from_secs(180);
/// More than two machines are content with, and all small.
const CROWD: [&str; 4] = ["one", "two", "three", "four"];

fn put(machine: &mut Machine, name: &str, text: &str) -> Result<()> {
    machine.ask(&format!("cat >/tmp/{name} <<'END'\n{text}\nEND"))?;
    Ok(())
}

fn chosen(one: &mut Machine, _stage: &Stage) -> Result<()> {
    for (number, zone) in NUMBERS.into_iter().zip(ZONES) {
        let id = id_at(one, &address(number))?;
        one.ask(&format!("sudo strake machine tag {id} zone={zone}"))?;
    }
    start_unit(one, "metadata.service", "[X-Fleet]\nMachineMetadata=zone=b")?;
    let condition = "[X-Strake]\nRequire=zone =~ ^[c-z]\nRequire=memory_free >= 64M";
    start_unit(one, "condition.service", condition)?;
    let found = ["metadata.service", "condition.service"].map(|unit| on(one, unit));
    let [metadata, condition] = found;
    ensure!(number_of(&metadata?)? == 2, "zone=b is not 2");
    ensure!(number_of(&condition?)? == 3, "zone c is not 3");

    let text = "[Service]\nExecStart=/usr/bin/sleep infinity\n[X-Fleet]\nConflicts=apart@*";
    put(one, "apart@.service", text)?;
    one.ask("sudo strake unit submit /tmp/apart@.service")?;
    one.ask("sudo strake unit start apart@1 apart@2 apart@3")?;
    let mut where_they_are = Vec::new();
    for number in NUMBERS {
        where_they_are.push(on(one, &format!("apart@{number}.service"))?);
    }
    where_they_are.sort();
    where_they_are.dedup();
    ensure!(
        where_they_are.len() == NUMBERS.len(),
        "they are on {where_they_are:?}"
    );
    one.ask("sudo strake unit start --no-block apart@4")?;
    let why = told(one, "unit explain apart@4.service")?.context("no explanation")?;
    let rows = why.as_array().cloned().unwrap_or_default();
    let kept_away = |row: &&serde_json::Value| {
        let reason = row["reason"].as_str().unwrap_or_default();
        row["verdict"] == "may not" && reason.contains("apart@") && reason.contains("is there")
    };
    ensure!(
        rows.len() == NUMBERS.len() && rows.iter().all(|row| kept_away(&row)),
        "explained so: {why}"
    );
    ensure!(
        places(one, "apart@4.service")?.is_empty(),
        "it runs all the same"
    );
    one.ask(
        "sudo strake unit destroy metadata condition apart@1 apart@2 apart@3 apart@4 apart@.service",
    )?;
    Ok(())
}

fn replaced(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let two = members.get_mut(&2).context("no second machine")?;
    start_on(one, 3, "former.service", "")?;
    // Given to another machine than the first text.
    put(
        two,
        "former.service",
        "[Service]\nExecStart=/usr/bin/sleep 86399",
    )?;
    let refused = two.ssh("cd /tmp && sudo strake unit start former.service")?;
    ensure!(
        refused.status.code() == Some(2) && refused.stderr.contains("another content"),
        "another text under a known name: {refused:?}"
    );
    two.ask("cd /tmp && sudo strake unit start --replace former.service")?;
    let place = on(two, "former.service")?;
    let holder = match number_of(&place)? {
        1 => &mut *one,
        number => members.get_mut(&number).context("no such machine")?,
    };
    holder.wait_until("the new text", Deadline::seconds(LIMIT), |holder| {
        let runs = holder.ssh("pgrep --full --exact '/usr/bin/sleep 86399'")?;
        Ok(runs.status.success().then_some(()))
    })?;
    // To the very same machine: the former one has to make room.
    let zone = ZONES[usize::from(number_of(&place)?) - 1];
    let options = format!("[X-Fleet]\nReplaces=former.service\nMachineMetadata=zone={zone}");
    start_unit(one, "latter.service", &options)?;
    ensure!(on(one, "latter.service")? == place, "it is not there");
    one.wait_until(
        "the former one elsewhere",
        Deadline::seconds(LIMIT),
        |one| {
            let places = places(one, "former.service")?;
            Ok((!places.is_empty() && !places.contains(&place)).then_some(()))
        },
    )?;
    one.ask("sudo strake unit destroy former latter")?;
    Ok(())
}

fn ended(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let two = members.get_mut(&2).context("no second machine")?;
    let cases = [
        (
            "well.service",
            "/usr/bin/echo the job is done",
            0,
            "the job is done",
        ),
        (
            "badly.service",
            "/usr/bin/sh -c 'echo no luck; exit 7'",
            1,
            "no luck",
        ),
    ];
    for (name, command, code, line) in cases {
        let text = format!("[Service]\nType=oneshot\nExecStart={command}\n[X-Strake]\nBatch=yes");
        put(one, name, &text)?;
        one.ask(&format!(
            "cd /tmp && sudo strake unit start --no-block {name}"
        ))?;
        let what = format!("the end of {name}");
        let said = two.wait_until(&what, Deadline::seconds(LIMIT), |two| {
            let said = two.ssh(&format!("sudo strake unit status {name}"))?;
            Ok(said.stdout.contains(line).then_some(said))
        })?;
        ensure!(said.status.code() == Some(code), "{name}: {said:?}");
        ensure!(places(two, name)?.is_empty(), "{name} is still somewhere");
    }
    one.ask("sudo strake unit destroy well badly")?;
    Ok(())
}

fn fenced(one: &mut Machine, stage: &Stage) -> Result<()> {
    let unit = "fenced.service";
    start_on(one, 3, unit, "[X-Strake]\nFence=yes")?;
    let mut members = stage.members();
    let third = members.get_mut(&3).context("no third machine")?;
    control(stage)?.send(&Request::Partition("1,2:3".parse()?))?;
    one.wait_until("it elsewhere", Deadline::seconds(LIMIT), |one| {
        let places = places(one, unit)?;
        let elsewhere = !places.is_empty() && !places.contains(&address(3));
        // Asked after that: what is down now may have been up then, and not the other way round.
        let up = third.ssh(&format!("systemctl is-active --quiet {unit}"))?;
        ensure!(
            !(elsewhere && up.status.success()),
            "it runs on two machines"
        );
        Ok(elsewhere.then_some(()))
    })?;
    let log = third.ask("sudo journalctl --no-pager --unit strake-scheduler")?;
    ensure!(
        log.contains("fenced.service is stopped: the machine's lease may be over soon"),
        "it was stopped for another reason: {log}"
    );
    control(stage)?.send(&Request::Heal)?;
    registered(one, NUMBERS.len())?;
    ensure!(on(one, unit)? != address(3), "it moved back");
    one.ask(&format!("sudo strake unit destroy {unit}"))?;
    Ok(())
}

fn handed_over(one: &mut Machine, stage: &Stage) -> Result<()> {
    let unit = "handed.service";
    start_on(one, 3, unit, "")?;
    let mut third = stage.members().remove(&3).context("no third machine")?;
    third.power_off(POWER_OFF)?;
    let off = Instant::now();
    one.wait_until("it elsewhere", Deadline::seconds(LIMIT), |one| {
        let places = places(one, unit)?;
        let elsewhere = !places.is_empty() && !places.contains(&address(3));
        // Asked after that: the lease was not what decided.
        let machines = told(one, "machine list")?.unwrap_or_default();
        let count = machines.as_array().map_or(0, Vec::len);
        ensure!(
            count == NUMBERS.len(),
            "its lease is over, and {unit} is on {places:?}"
        );
        Ok(elsewhere.then_some(()))
    })?;
    println!(
        "        seen elsewhere {:.1} s after the machine was off",
        off.elapsed().as_secs_f64()
    );
    for name in CROWD {
        start_unit(one, &format!("{name}.service"), "")?;
        ensure!(
            on(one, &format!("{name}.service"))? != address(3),
            "{name} is on a machine that is off"
        );
    }
    third.power_on()?;
    third.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    one.wait_until("the machine open again", Deadline::seconds(LIMIT), |one| {
        let machines = told(one, "machine list")?.unwrap_or_default();
        let mut machines = machines.as_array().into_iter().flatten();
        let found = machines.find(|machine| machine["address"] == address(3));
        Ok(found.filter(|machine| machine["duty"] == "open").map(drop))
    })?;
    stage.members().insert(3, third);
    Ok(())
}

fn rebalanced(one: &mut Machine, stage: &Stage) -> Result<()> {
    let on_third = |one: &mut Machine| -> Result<usize> {
        let mut count = 0;
        for name in CROWD {
            count += usize::from(on(one, &format!("{name}.service"))? == address(3));
        }
        Ok(count)
    };
    ensure!(on_third(one)? == 0, "units moved before somebody asked");
    let told = one.ask("sudo strake machine rebalance --gain 5 --dry-run")?;
    ensure!(told.contains("->") || told.lines().count() > 1, "{told}");
    ensure!(on_third(one)? == 0, "a dry run moved units");
    let mut members = stage.members();
    let two = members.get_mut(&2).context("no second machine")?;
    two.ask("sudo strake machine rebalance --gain 5")?;
    let there = on_third(one)?;
    println!("        {there} of {} units moved", CROWD.len());
    ensure!(there > 0, "nothing moved to the third machine");
    Ok(())
}

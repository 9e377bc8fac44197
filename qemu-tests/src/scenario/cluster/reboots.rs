//! When a machine of a cluster may reboot, and what becomes of the lock when its holder has no
//! power or no network.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::members::{Extra, LIMIT, control, start_with, told};
use super::{FORMED, id_at};
use crate::machine::{Machine, SSH_PORT};
use crate::scenario::runner::BOOT_LIMIT;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::ssh;
use crate::switch::Request;
use crate::wait::Deadline;

pub(in crate::scenario) const SCENARIO: Scenario = Scenario {
    name: "reboots",
    extent: Extent::Full,
    start,
    checks: &[
        FORMED,
        Check {
            name: "outside its window a machine neither reboots nor takes the lock",
            how: How::Now(window),
        },
        Check {
            name: "with the strategy off it does not reboot by itself",
            how: How::Now(off),
        },
        Check {
            name: "a user who is logged in is warned and waited for, and then it reboots",
            how: How::Now(user),
        },
        Check {
            name: "a holder without power keeps the lock until it is healthy again",
            how: How::Now(power_cut),
        },
        Check {
            name: "a holder that is cut off does not reboot, and nobody else does meanwhile",
            how: How::Now(cut_off),
        },
    ],
};

const SETTINGS: &str = "/etc/strake/reboot.json";
const USERS: u64 = 40;
/// Long enough that the service, which looks every 30 s, has looked.
const QUIET: u64 = 40;
const GO: &str = "/run/go";

fn start(stage: &Stage) -> Result<Machine> {
    let extra = Extra {
        sections: "coreos:\n  update: {reboot_strategy: etcd-lock}\n".to_owned(),
        files: format!(
            "  - path: /etc/strake/reboot.d/10-wait\n    permissions: '0755'\n    content: |\n      \
             #!/bin/sh\n      test ! -e /etc/wait || until test -e {GO}; do sleep 1; done\n"
        ),
        strake: Some(format!(
            "  health: {{for: 1s, deadline: 5m}}\n  reboot: {{users: {USERS}s}}\n"
        )),
        ..Extra::default()
    };
    start_with(stage, &extra)
}

pub(super) fn boot_of(machine: &mut Machine) -> Result<String> {
    let boot = machine.ask("cat /proc/sys/kernel/random/boot_id")?;
    Ok(boot.trim().to_owned())
}

/// What the service says of itself; nothing while it does not.
fn when(machine: &mut Machine) -> Result<Option<Value>> {
    told(machine, "reboot when")
}

fn wait_for_word(
    machine: &mut Machine,
    what: &str,
    is_it: impl Fn(&Value) -> bool,
) -> Result<Value> {
    machine.wait_until(what, Deadline::seconds(LIMIT), |machine| {
        Ok(when(machine)?.filter(&is_it))
    })
}

fn holders(one: &mut Machine) -> Result<Vec<String>> {
    let lock = told(one, "lock status")?.context("the lock is not told")?;
    let holders = lock["holders"].as_array().cloned().unwrap_or_default();
    let ids = holders.iter().filter_map(|holder| holder["id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

fn is_wanted(told: &Value) -> bool {
    !told["wanted"].is_null()
}

/// The boot is still the same one after a while, and nobody has the lock.
fn stays(machine: &mut Machine, one: &mut Machine, boot: &str) -> Result<()> {
    machine.ask(&format!("sleep {QUIET}"))?;
    ensure!(boot_of(machine)? == boot, "it rebooted");
    let held = holders(one)?;
    ensure!(held.is_empty(), "the lock is held by {held:?}");
    Ok(())
}

fn cancel(machine: &mut Machine) -> Result<()> {
    machine.ask("sudo strake reboot cancel")?;
    machine.ask("sudo systemctl restart strake-reboot")?;
    wait_for_word(machine, "nothing wanted", |told| !is_wanted(told)).map(drop)
}

fn window(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let two = members.get_mut(&2).context("no second machine")?;
    let boot = boot_of(two)?;
    two.ask(&format!("sudo cp {SETTINGS} /tmp/reboot.json"))?;
    two.ask(&format!(
        "printf '{{\"windows\":[{{\"start\":\"%s\",\"length_seconds\":60}}]}}' $(date -d '+6 hours' +%H:%M) | sudo tee \
         {SETTINGS} && sudo systemctl restart strake-reboot"
    ))?;
    wait_for_word(two, "the service with its window", |told| {
        !told["window_opens"].is_null()
    })?;
    two.ask("sudo locksmithctl send-need-reboot")?;
    let told = wait_for_word(two, "a wanted reboot", is_wanted)?;
    println!("        {}", told["doing"]);
    ensure!(told["holds_lock"] == false, "it holds the lock: {told}");
    stays(two, one, &boot)?;
    two.ask(&format!("sudo cp /tmp/reboot.json {SETTINGS}"))?;
    cancel(two)
}

fn off(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let two = members.get_mut(&2).context("no second machine")?;
    let boot = boot_of(two)?;
    let conf = "/etc/coreos/update.conf";
    two.ask(&format!(
        "sudo sed -i s/=etcd-lock/=off/ {conf} && grep -q REBOOT_STRATEGY=off {conf}"
    ))?;
    two.ask("sudo systemctl restart strake-reboot")?;
    two.wait_until("the service's end", Deadline::seconds(LIMIT), |two| {
        let said =
            two.ask("journalctl --boot --unit strake-reboot --grep 'strategy is off' | tail -1")?;
        Ok(said.contains("strategy is off").then_some(()))
    })?;
    // Nobody may be there to hear it.
    two.ssh("sudo locksmithctl send-need-reboot")?;
    stays(two, one, &boot)?;
    two.ask(&format!("sudo sed -i s/=off/=etcd-lock/ {conf}"))?;
    two.ask("sudo systemctl restart strake-reboot")?;
    wait_for_word(two, "the service again", |told| !is_wanted(told)).map(drop)
}

/// Somebody at a terminal, until the value is dropped.
struct LoggedIn {
    client: Child,
}

impl LoggedIn {
    fn begin(machine: &Machine, stage: &Stage, terminal: File) -> Result<LoggedIn> {
        let mut command = ssh::command(&stage.tools, &stage.key, "core", machine.port(SSH_PORT)?);
        // Twice: although this program has no terminal itself.
        command.args(["-tt", "exec sleep 600"]);
        let client = command
            .stdin(Stdio::null())
            .stdout(terminal)
            .stderr(Stdio::null())
            .spawn()
            .context("running ssh")?;
        Ok(LoggedIn { client })
    }
}

impl Drop for LoggedIn {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// Until the machine is up in another boot than this one, and the lock is free again.
fn comes_back(machine: &mut Machine, one: &mut Machine, boot: &str) -> Result<()> {
    let deadline = Deadline::seconds(3 * BOOT_LIMIT);
    machine.wait_until("another boot", deadline, |machine| {
        let now = machine.ssh("cat /proc/sys/kernel/random/boot_id")?;
        Ok((now.status.success() && now.stdout.trim() != boot).then_some(()))
    })?;
    machine.wait_until_blessed(Deadline::seconds(2 * BOOT_LIMIT))?;
    one.wait_until("a free lock", Deadline::seconds(LIMIT), |one| {
        Ok(holders(one)?.is_empty().then_some(()))
    })
}

fn user(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let two = members.get_mut(&2).context("no second machine")?;
    let boot = boot_of(two)?;
    let seen = stage.directory("terminal");
    let _user = LoggedIn::begin(two, stage, File::create(&seen)?)?;
    two.expect_losses();
    two.wait_until(
        "a session with a terminal",
        Deadline::seconds(LIMIT),
        |two| {
            let terminals = two.ask("ls /dev/pts")?;
            Ok(terminals.lines().any(|line| line == "0").then_some(()))
        },
    )?;
    two.ask("sudo locksmithctl send-need-reboot")?;
    let told = wait_for_word(two, "users who are waited for", |told| {
        told["doing"]
            .as_str()
            .is_some_and(|doing| doing.contains("waits for users"))
    })?;
    let begin = Instant::now();
    println!("        {}", told["doing"]);
    comes_back(two, one, &boot)?;
    let waited = begin.elapsed();
    // It was asked within some seconds of the warning.
    ensure!(
        waited > Duration::from_secs(USERS / 2),
        "it was back {waited:?} after the warning"
    );
    let text = String::from_utf8_lossy(&fs::read(&seen)?).into_owned();
    ensure!(
        text.contains("This machine reboots in"),
        "the terminal has {text:?}"
    );
    Ok(())
}

/// What `strake lock status` calls the machine.
fn name_of(machine: &mut Machine) -> Result<String> {
    Ok(machine.ask("cat /etc/machine-id")?.trim().to_owned())
}

fn wants_now(machine: &mut Machine, reason: &str) -> Result<()> {
    machine.ask(&format!("sudo strake reboot now --reason '{reason}'"))?;
    Ok(())
}

fn wait_until_held_by(one: &mut Machine, id: &str) -> Result<()> {
    one.wait_until("the lock's holder", Deadline::seconds(LIMIT), |one| {
        Ok((holders(one)? == [id]).then_some(()))
    })
}

fn power_cut(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut third = stage.members().remove(&3).context("no third machine")?;
    let mut second = stage.members().remove(&2).context("no second machine")?;
    let (id, boot) = (name_of(&mut third)?, boot_of(&mut second)?);
    third.expect_losses();
    second.expect_losses();
    let resets = third.resets();
    wants_now(&mut third, "a cut")?;
    third.wait_for_reset(resets, Deadline::seconds(2 * LIMIT))?;
    third.power_cut()?;
    wants_now(&mut second, "after the cut")?;
    second.ask(&format!("sleep {QUIET}"))?;
    ensure!(
        holders(one)? == [id.clone()],
        "others hold the lock: {:?}",
        holders(one)?
    );
    ensure!(
        boot_of(&mut second)? == boot,
        "the second machine rebooted, too"
    );
    third.power_on()?;
    third.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    third.wait_until_blessed(Deadline::seconds(2 * BOOT_LIMIT))?;
    // Its turn has come.
    comes_back(&mut second, one, &boot)?;
    let mut members = stage.members();
    members.insert(2, second);
    members.insert(3, third);
    Ok(())
}

fn cut_off(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut third = stage.members().remove(&3).context("no third machine")?;
    let mut second = stage.members().remove(&2).context("no second machine")?;
    let id = name_of(&mut third)?;
    let (boot, other) = (boot_of(&mut third)?, boot_of(&mut second)?);
    third.ask("sudo touch /etc/wait")?;
    wants_now(&mut third, "a partition")?;
    wait_until_held_by(one, &id)?;
    wait_for_word(&mut third, "its hooks", |told| {
        told["doing"]
            .as_str()
            .is_some_and(|doing| doing.contains("reboot.d"))
    })?;
    control(stage)?.send(&Request::Partition("1,2:3".parse()?))?;
    third.ask(&format!("sudo touch {GO}"))?;
    wants_now(&mut second, "meanwhile")?;
    second.ask(&format!("sleep {QUIET}"))?;
    third.ask(&format!("sleep {QUIET}"))?;
    ensure!(
        boot_of(&mut third)? == boot,
        "it rebooted without the store's word"
    );
    ensure!(
        boot_of(&mut second)? == other,
        "the second machine rebooted, too"
    );
    ensure!(
        holders(one)? == [id],
        "others hold the lock: {:?}",
        holders(one)?
    );
    control(stage)?.send(&Request::Heal)?;
    comes_back(&mut second, one, &other)?;
    comes_back(&mut third, one, &boot)?;
    let machine = id_at(one, "10.9.0.3")?;
    ensure!(!machine.is_empty(), "the third machine is not registered");
    let mut members = stage.members();
    members.insert(2, second);
    members.insert(3, third);
    Ok(())
}

//! Two machines on the lab's switch.

use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};

use super::runner::BOOT_LIMIT;
use super::{Check, Extent, How, Scenario, Stage};
use crate::machine::{Machine, MachineSpec, make_private};
use crate::switch::{self, Control, Request, port_socket};
use crate::wait::Deadline;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "network",
    extent: Extent::Usual,
    start,
    checks: &[
        Check {
            name: "two machines reach each other over the switch unless it is cut",
            how: How::Now(reach_each_other),
        },
        Check {
            name: "a snapshot brings disk and memory back",
            how: How::Now(snapshot_brings_back),
        },
    ],
};

const SEED: u64 = 1;

const USER_DATA: &str = "\
#cloud-config
hostname: peer{{number}}
ssh_authorized_keys:
  - {{key}}
write_files:
  - path: /etc/systemd/network/10-lab.network
    content: |
      [Match]
      MACAddress={{mac}}
      [Network]
      Address=10.9.0.{{number}}/24
strake:
  health:
    for: 1s
";

fn spec(stage: &Stage, number: u8) -> Result<MachineSpec> {
    let sockets = stage.switch_sockets();
    let mac = format!("52:54:00:09:01:{number:02x}");
    let user_data = USER_DATA
        .replace("{{number}}", &number.to_string())
        .replace("{{key}}", &stage.key.public()?)
        .replace("{{mac}}", &mac);
    let mut spec = stage
        .spec(&format!("peer{number}"))
        .config_drive(&user_data);
    spec.memory_mib = 1024;
    Ok(spec.lan(&port_socket(&sockets, number), &mac))
}

fn start(stage: &Stage) -> Result<Machine> {
    let sockets = stage.switch_sockets();
    make_private(&sockets)?;
    serve(&sockets);
    stage.start(spec(stage, 1)?)
}

/// Ends with the test run.
fn serve(sockets: &Path) {
    let sockets = sockets.to_owned();
    thread::spawn(move || switch::serve(&sockets, SEED));
}

fn reach_each_other(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut two = stage.start(spec(stage, 2)?)?;
    let sockets = stage.switch_sockets();
    let mut control = Control::connect(&sockets).context("reaching the switch")?;
    let deadline = Deadline::seconds(BOOT_LIMIT);

    let ping = "sudo ping -c 1 -W 2 10.9.0.2";
    one.wait_until("an answer of the other machine", deadline, |one| {
        Ok(one.ssh(ping)?.status.success().then_some(()))
    })?;
    control.send(&Request::Partition("1:2".parse()?))?;
    ensure!(!one.ssh(ping)?.status.success(), "a frame crossed the cut");
    control.send(&Request::Heal)?;
    one.wait_until("an answer after the cut", deadline, |one| {
        Ok(one.ssh(ping)?.status.success().then_some(()))
    })?;
    ensure!(
        two.ask("hostname")?.trim() == "peer2",
        "the second machine has another name"
    );
    Ok(())
}

fn snapshot_brings_back(one: &mut Machine, _: &Stage) -> Result<()> {
    one.snapshot("before")?;
    one.ask("sudo touch /run/in-memory /var/on-disk && sync")?;
    one.restore("before")?;
    one.wait_for_ssh(Deadline::seconds(BOOT_LIMIT))?;
    let left = one.ask("ls /run/in-memory /var/on-disk 2>/dev/null || true")?;
    ensure!(
        left.is_empty(),
        "the snapshot was taken before these were made: {left}"
    );
    Ok(())
}

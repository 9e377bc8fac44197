//! Two machines on the lab's switch.

use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};

use super::runner::BOOT_LIMIT;
use super::{Check, Extent, How, Scenario, Stage, source};
use crate::machine::{Machine, MachineSpec, make_private};
use crate::switch::{self, Control, Request, port_socket};
use crate::wait::Deadline;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "network",
    extent: Extent::Usual,
    start,
    checks: &[
        Check {
            name: "a NoCloud drive (ISO 9660) is in force, with addresses by the usual rule",
            how: How::Now(from_iso),
        },
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

/// The network in a file, the address variables by their usual rule.
const FIRST: &str = "\
#cloud-config
hostname: peer1
ssh_authorized_keys:
  - {{key}}
write_files:
  - path: /etc/systemd/network/10-lab.network
    content: |
      [Match]
      MACAddress={{mac}}
      [Network]
      Address=10.9.0.1/24
  - path: /etc/strake-test/addresses
    content: $public_ipv4 $private_ipv4
coreos:
  units:
    - name: subject.service
      enable: true
      content: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/bin/sh -c 'echo ran at $private_ipv4 > /run/subject'
        [Install]
        WantedBy=multi-user.target
strake:
  health:
    for: 1s
";

/// The network in a unit; which address is which is said, and is not the usual.
const SECOND: &str = "\
#cloud-config
hostname: peer2
ssh_authorized_keys:
  - {{key}}
write_files:
  - path: /etc/strake-test/addresses
    content: $public_ipv4 $private_ipv4
coreos:
  units:
    - name: 10-lab.network
      content: |
        [Match]
        MACAddress={{mac}}
        [Network]
        Address=10.9.0.2/24
strake:
  addresses:
    public: 10.9.0.0/24
    private: 10.0.2.0/24
  health:
    for: 1s
";

fn spec(stage: &Stage, number: u8, user_data: &str) -> Result<MachineSpec> {
    let sockets = stage.switch_sockets();
    let mac = format!("52:54:00:09:01:{number:02x}");
    let user_data = user_data
        .replace("{{key}}", &stage.key.public()?)
        .replace("{{mac}}", &mac);
    let mut spec = stage.spec(&format!("peer{number}")).no_cloud(&user_data);
    spec.memory_mib = 1024;
    Ok(spec.lan(&port_socket(&sockets, number), &mac))
}

fn start(stage: &Stage) -> Result<Machine> {
    let sockets = stage.switch_sockets();
    make_private(&sockets)?;
    serve(&sockets);
    stage.start(spec(stage, 1, FIRST)?.iso())
}

/// Ends with the test run.
fn serve(sockets: &Path) {
    let sockets = sockets.to_owned();
    thread::spawn(move || switch::serve(&sockets, SEED));
}

/// The other one has a NoCloud drive with vfat and names its addresses.
fn reach_each_other(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut two = stage.start(spec(stage, 2, SECOND)?)?;
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
    is_configured(&mut two, "peer2", "10.9.0.2 10.0.2.15")
}

fn is_configured(machine: &mut Machine, name: &str, addresses: &str) -> Result<()> {
    source::in_force(machine, "cidata:user-data")?;
    let expected = [
        ("hostname", name),
        ("cat /etc/strake-test/addresses", addresses),
    ];
    source::answers(machine, &expected)
}

fn from_iso(one: &mut Machine, _: &Stage) -> Result<()> {
    is_configured(one, "peer1", "10.0.2.15 10.9.0.1")?;
    source::answers(one, &[("cat /run/subject", "ran at 10.9.0.1")])
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

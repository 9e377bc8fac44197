//! Three machines that boot from one cloud-config, word for word, and are an etcd cluster.

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::runner::BOOT_LIMIT;
use super::{Check, Extent, How, Scenario, Stage};
use crate::machine::{Machine, MachineSpec, make_private};
use crate::switch::{self, port_socket};
use crate::tools::run;
use crate::wait::Deadline;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cluster",
    extent: Extent::Full,
    start,
    checks: &[Check {
        name: "three machines with one cloud-config are a cluster, also after one lost its disk",
        how: How::Now(cluster),
    }],
};

const SEED: u64 = 2;
const MEMBERS: [u8; 3] = [1, 2, 3];
/// A restart of etcd, an election and more, on machines that share two processors.
const FORM_LIMIT: u64 = 300;

const HEAD: &str = "\
#cloud-config
ssh_authorized_keys:
  - {{key}}
write_files:
";

const NETWORK: &str = "\
  - path: /etc/systemd/network/10-lab{{number}}.network
    content: |
      [Match]
      MACAddress={{mac}}
      [Network]
      Address=10.9.0.{{number}}/24
";

const HEALTH: &str = "  health: {for: 1s}\n";

fn mac(number: u8) -> String {
    format!("52:54:00:09:02:{number:02x}")
}

/// Each machine finds its own address in it.
fn user_data(stage: &Stage) -> Result<String> {
    let made = stage.directory("cluster-init.yaml");
    let part = match fs::read_to_string(&made) {
        Ok(part) => part,
        Err(_) => {
            let seeds = MEMBERS.map(|number| format!("10.9.0.{number}")).join(",");
            let mut init = stage.tools.strake();
            init.args(["cluster", "init", "--name", "lab", "--seeds", &seeds]);
            let part = run(&mut init)?;
            fs::write(&made, &part).context("keeping the cluster's part")?;
            part
        }
    };
    let networks = MEMBERS.map(|number| {
        NETWORK
            .replace("{{number}}", &number.to_string())
            .replace("{{mac}}", &mac(number))
    });
    let head = HEAD.replace("{{key}}", &stage.key.public()?);
    Ok(head + &networks.concat() + &part + HEALTH)
}

fn sockets(stage: &Stage) -> PathBuf {
    stage.switch_sockets().join("members")
}

fn spec(stage: &Stage, name: &str, number: u8) -> Result<MachineSpec> {
    let mut spec = stage.spec(name).config_drive(&user_data(stage)?);
    spec.memory_mib = 1024;
    Ok(spec.lan(&port_socket(&sockets(stage), number), &mac(number)))
}

fn begin(stage: &Stage, name: &str, number: u8) -> Result<Machine> {
    let directory = stage.directory(name);
    Machine::start(spec(stage, name, number)?, &directory, &stage.tools)
}

fn start(stage: &Stage) -> Result<Machine> {
    make_private(&stage.switch_sockets())?;
    let sockets = sockets(stage);
    make_private(&sockets)?;
    // Ends with the test run.
    thread::spawn(move || switch::serve(&sockets, SEED));
    stage.start(spec(stage, "member1", 1)?)
}

fn cluster(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut two = begin(stage, "member2", 2)?;
    let mut three = begin(stage, "member3", 3)?;
    two.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    three.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    let first = wait_until_formed(one)?;
    one.ask(&etcdctl(2, "put kept yes"))?;
    let plain = one.ssh("curl -sS --max-time 5 -k https://10.9.0.2:2379/version")?;
    ensure!(
        !plain.status.success(),
        "etcd answers who shows no certificate"
    );

    three.power_cut()?;
    drop(three);
    let mut three = begin(stage, "member3-new-disk", 3)?;
    three.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    let deadline = Deadline::seconds(FORM_LIMIT);
    let lost = id_of(&first, "10.9.0.3");
    one.wait_until("another third member", deadline, |one| {
        let now = status(one)?;
        Ok(now.filter(|now| is_formed(now) && id_of(now, "10.9.0.3") != lost))
    })?;
    let kept = three.ask(&etcdctl(3, "get kept --print-value-only --consistency=s"))?;
    ensure!(
        kept.trim() == "yes",
        "the new disk does not hold the data: {kept:?}"
    );
    three.wait_until_blessed(Deadline::seconds(FORM_LIMIT))?;
    Ok(())
}

fn etcdctl(member: u8, command: &str) -> String {
    format!(
        "sudo etcdctl --endpoints https://10.9.0.{member}:2379 --cacert /state/cluster/ca.pem \
         --cert /state/cluster/cert.pem --key /state/cluster/key.pem {command}"
    )
}

fn wait_until_formed(machine: &mut Machine) -> Result<Value> {
    machine.wait_until(
        "three members with a leader",
        Deadline::seconds(FORM_LIMIT),
        |machine| Ok(status(machine)?.filter(is_formed)),
    )
}

fn status(machine: &mut Machine) -> Result<Option<Value>> {
    let output = machine.ssh("sudo strake cluster status -o json")?;
    Ok(serde_json::from_str(&output.stdout).ok())
}

fn is_formed(status: &Value) -> bool {
    let members = status["members"].as_array().map(Vec::as_slice);
    let up = |member: &Value| matches!(member["standing"].as_str(), Some("leader" | "follower"));
    let members = members.unwrap_or_default();
    members.len() == MEMBERS.len() && members.iter().all(up)
}

fn id_of(status: &Value, name: &str) -> Option<String> {
    let members = status["members"].as_array()?;
    let member = members.iter().find(|member| member["name"] == name)?;
    member["id"].as_str().map(str::to_owned)
}

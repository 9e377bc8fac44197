//! What goes wrong around an overlay: a network that loses packets, one that loses large packets, a
//! subnet that is somebody else's, a machine with an empty disk. And containers without docker.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::members::{LIMIT, NUMBERS, address, control, told};
use super::networks::CONFIG;
use super::overlay::{
    NETWORK, SUBNETS_LEASED, addresses, both_ways, extra, reaches, routes, start_with_overlay,
    subnet_of,
};
use super::{FORMED, begin, is_formed, registered};
use crate::machine::Machine;
use crate::scenario::runner::BOOT_LIMIT;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::switch::{Fault, Request};
use crate::wait::Deadline;

pub(in crate::scenario) const SCENARIO: Scenario = Scenario {
    name: "overlay faults",
    extent: Extent::Full,
    start: |stage| start_with_overlay(stage, CONFIG),
    checks: &[
        FORMED,
        SUBNETS_LEASED,
        Check {
            name: "with every twentieth packet lost traffic goes on, and nothing is removed",
            how: How::Now(losses),
        },
        Check {
            name: "a black hole of MTU is found by the check in each network, with its size and way",
            how: How::Now(black_hole),
        },
        Check {
            name: "a container of containerd, by CNI's list, is reached from another machine",
            how: How::Now(containerd),
        },
        Check {
            name: "a machine whose subnet was taken while it was away moves, and docker with it",
            how: How::Now(moved),
        },
        Check {
            name: "a machine with an empty disk is reached, and its old lease leaves no route",
            how: How::Now(replaced),
        },
    ],
};

/// The lease of a machine that is not there, in flannel's form.
const STRANGER: &str = r#"{"PublicIP":"10.9.0.99","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:63"}}"#;
const SUBNETS: &str = "/coreos.com/network/subnets/";
/// What the switch lets pass of a packet on the uplink, which may have 1500 bytes.
const PATH_MTU: usize = 1400;
const ETHERNET: usize = 14;
const VXLAN: usize = 50;
const ASKED: usize = 20;

/// Between all machines, in both directions.
fn between_all(stage: &Stage, fault: Fault) -> Result<()> {
    let mut switch = control(stage)?;
    for from in NUMBERS {
        for to in NUMBERS.into_iter().filter(|to| *to != from) {
            switch.send(&Request::Fault { from, to, fault })?;
        }
    }
    Ok(())
}

fn losses(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let (first, third) = addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    both_ways(one, other, &first, &third)?;
    let before = (routes(one)?, routes(other)?);
    let lossy = Fault {
        drop_per_mille: 50,
        ..Fault::default()
    };
    between_all(stage, lossy)?;
    let mut answered = 0;
    for _ in 0..ASKED {
        answered += usize::from(reaches(one, &third)?);
    }
    let during = (routes(one)?, routes(other)?);
    control(stage)?.send(&Request::Heal)?;
    println!("        {answered} of {ASKED} answers with 5 % of the packets lost");
    ensure!(answered >= ASKED - 1, "{answered} of {ASKED} answers");
    ensure!(during == before, "routes were {before:?}, are {during:?}");
    both_ways(one, other, &first, &third)
}

/// Of a check's findings those of one peer.
fn of_peer(all: &Value, number: u8) -> Vec<Value> {
    let is_it = |one: &&Value| one["public_addresses"][0] == address(number);
    let all = all.as_array().into_iter().flatten();
    all.filter(is_it).cloned().collect()
}

fn black_hole(one: &mut Machine, stage: &Stage) -> Result<()> {
    let deadline = Deadline::seconds(LIMIT);
    one.wait_until("a check with nothing wrong", deadline, |one| {
        let checked = one.ssh("sudo strake overlay check")?;
        Ok(checked.status.success().then_some(()))
    })?;
    // Only what comes from the third machine to the first.
    control(stage)?.send(&Request::Fault {
        from: 3,
        to: 1,
        fault: Fault {
            largest: Some(PATH_MTU + ETHERNET),
            ..Fault::default()
        },
    })?;
    let checked = one.ssh("sudo strake overlay check")?;
    let all = told(one, "overlay check")?.context("the check told nothing")?;
    let (well, ill) = (of_peer(&all, 2), of_peer(&all, 3));
    control(stage)?.send(&Request::Heal)?;
    println!("{}", checked.stdout.trim_end());
    ensure!(checked.status.code() == Some(1), "{checked:?}");
    let names: Vec<&str> = ill
        .iter()
        .filter_map(|one| one["network"].as_str())
        .collect();
    ensure!(names == ["default", "db", "web"], "{ill:?}");
    ensure!(well.iter().all(|one| one["fault"].is_null()), "{well:?}");
    for one in &ill {
        let fault = &one["fault"];
        let is_right = fault["kind"] == "size"
            && fault["out"] == 1500 - VXLAN
            && fault["back"] == PATH_MTU - VXLAN;
        ensure!(is_right, "{one}");
    }
    let verdict = format!(
        "packets over {} bytes are lost on the way back only: the path's MTU is about {PATH_MTU}",
        PATH_MTU - VXLAN
    );
    ensure!(checked.stdout.contains(&verdict), "{}", checked.stdout);
    one.ask("sudo strake overlay check")?;
    Ok(())
}

/// The address of a container that CNI's list gave one, once it is there.
fn without_docker(machine: &mut Machine, stage: &Stage, name: &str) -> Result<String> {
    let image = stage.registry()?.image();
    // Where containerd's own client looks for CNI's programs.
    machine.ask("sudo mkdir -p /opt/cni && sudo ln -sfn /usr/lib/cni /opt/cni/bin")?;
    machine.ask(&format!("sudo ctr image pull --plain-http {image}"))?;
    machine.ask(&format!("sudo ctr run --detach --cni {image} {name}"))?;
    let pid = format!("$(sudo ctr task list | awk '$1 == \"{name}\" {{print $2}}')");
    let listed = machine.ask(&format!(
        "sudo nsenter --net --target {pid} ip -4 -brief address show eth0"
    ))?;
    let address = listed.split_whitespace().nth(2);
    let address = address.and_then(|address| address.split('/').next());
    Ok(address.context("it has no address")?.to_owned())
}

/// The first three parts of an address: of a subnet of /24.
fn first_parts(address: &str) -> &str {
    address.rsplit_once('.').map_or(address, |(first, _)| first)
}

fn until_reached(machine: &mut Machine, address: &str) -> Result<()> {
    let what = format!("the answer of {address} on {}", machine.name());
    machine.wait_until(&what, Deadline::seconds(LIMIT), |machine| {
        Ok(reaches(machine, address)?.then_some(()))
    })
}

fn containerd(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    let subnet = subnet_of(other)?;
    let found = without_docker(other, stage, "plain")?;
    ensure!(
        first_parts(&found) == first_parts(&subnet),
        "its address is {found}, the subnet is {subnet}"
    );
    until_reached(one, &found)?;
    // Both share a bridge: docker's container on the same machine is reached too.
    until_reached(other, &found)
}

/// As the machine itself reaches the store.
fn etcdctl(machine: &mut Machine, arguments: &str) -> Result<String> {
    let settings = machine.ask("sudo cat /etc/strake/etcd.json")?;
    let settings: Value = serde_json::from_str(&settings).context("the store's settings")?;
    let endpoints = settings["endpoints"].as_array().into_iter().flatten();
    let endpoints: Vec<&str> = endpoints.filter_map(Value::as_str).collect();
    let mut command = format!("sudo etcdctl --endpoints {}", endpoints.join(","));
    for (option, key) in [("cacert", "ca"), ("cert", "cert"), ("key", "key")] {
        let path = settings[key].as_str().context("no certificate")?;
        command += &format!(" --{option} {path}");
    }
    machine.ask(&format!("{command} {arguments}"))
}

fn moved(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    let before = subnet_of(other)?;
    let key = format!("{SUBNETS}{}.0-24", first_parts(&before));
    other.ask("sudo systemctl stop strake-overlay.service")?;
    etcdctl(one, &format!("del {key}"))?;
    etcdctl(one, &format!("put {key} '{STRANGER}'"))?;
    other.ask("sudo systemctl start strake-overlay.service")?;
    let after = other.wait_until("another subnet", Deadline::seconds(LIMIT), |other| {
        let now = subnet_of(other)?;
        Ok((now != before).then_some(now))
    })?;
    let journal = other.ask("sudo journalctl --no-pager -u strake-overlay.service -n 50")?;
    ensure!(journal.contains("moving to "), "{journal}");
    let gateway =
        "sudo docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}'";
    other.wait_until(
        "docker in the new subnet",
        Deadline::seconds(LIMIT),
        |other| {
            let bridge = other.ssh(gateway)?.stdout;
            Ok((after.split('/').next() == Some(bridge.trim())).then_some(()))
        },
    )?;
    let list = other.ask("cat /etc/cni/net.d/10-strake.conflist")?;
    ensure!(
        list.contains(&format!("{}.", first_parts(&after))),
        "{list}"
    );
    // docker was begun anew, and its container with it ended.
    other.ask("sudo docker start greeter")?;
    let runs =
        "sudo docker inspect greeter --format '{{.NetworkSettings.Networks.bridge.IPAddress}}'";
    let docker = other.ask(runs)?.trim().to_owned();
    let plain = without_docker(other, stage, "moved")?;
    for address in [&docker, &plain] {
        ensure!(
            first_parts(address) == first_parts(&after),
            "{address} is not of {after}"
        );
        until_reached(one, address)?;
    }
    etcdctl(one, &format!("del {key}"))?;
    let stale = format!("{}.0/24 ", first_parts(&before));
    one.wait_until("no way to the stranger", Deadline::seconds(LIMIT), |one| {
        let has_one = routes(one)?.iter().any(|route| route.starts_with(&stale));
        Ok((!has_one).then_some(()))
    })
}

fn replaced(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut third = stage.members().remove(&3).context("no third machine")?;
    let before = subnet_of(&mut third)?;
    third.power_cut()?;
    drop(third);
    let mut third = begin(stage, "member3-new-disk", 3, &extra(stage, CONFIG)?)?;
    third.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    let deadline = Deadline::seconds(2 * LIMIT);
    one.wait_until("three members", deadline, |one| {
        Ok(told(one, "cluster status")?.filter(is_formed))
    })?;
    registered(one, NUMBERS.len())?;
    let after = subnet_of(&mut third)?;
    println!("        its subnet was {before}, is {after} of {NETWORK}");
    let mut wanted = Vec::new();
    for machine in stage.members().values_mut().chain([&mut third]) {
        wanted.push(first_parts(&subnet_of(machine)?).to_owned());
    }
    wanted.sort();
    one.wait_until("routes to the machines there are", deadline, |one| {
        let now = routes(one)?;
        let to = now
            .iter()
            .filter_map(|route| route.split_whitespace().next());
        let mut to: Vec<String> = to.map(|to| first_parts(to).to_owned()).collect();
        to.sort();
        Ok((to == wanted).then_some(()))
    })?;
    stage.members().insert(3, third);
    let mut members = stage.members();
    let (first, there) = addresses(one, &mut members, stage)?;
    let third = members.get_mut(&3).context("no third machine")?;
    both_ways(one, third, &first, &there)
}

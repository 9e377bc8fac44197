//! Containers of different machines talk to each other over the overlay, set up by the same
//! cloud-config on the first boot.

use anyhow::{Context, Result, ensure};

use super::members::{Extra, LIMIT, Members, NUMBERS, control, start_with};
use super::names::by_name;
use super::networks::{self, CONFIG};
use super::{FORMED, registered};
use crate::machine::Machine;
use crate::registry::{GREETER_PORT, GREETING};
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::switch::Request;
use crate::wait::Deadline;

pub(in crate::scenario) const SCENARIO: Scenario = Scenario {
    name: "overlay",
    extent: Extent::Full,
    start,
    checks: &[
        FORMED,
        SUBNETS_LEASED,
        Check {
            name: "a container answers another one on another machine, over vxlan",
            how: How::Now(answers),
        },
        Check {
            name: "units are found by name from containers and machines, wherever they run",
            how: How::Now(names),
        },
        Check {
            name: "networks with names are apart but for the pair that is allowed",
            how: How::Now(named_networks),
        },
        Check {
            name: "a unit joins a network by name, and is told when it cannot",
            how: How::Now(networks_of_units),
        },
        Check {
            name: "a machine that was cut off is reached again, and nothing was removed",
            how: How::Now(cut_off),
        },
    ],
};

pub(super) const SUBNETS_LEASED: Check = Check {
    name: "each machine has a subnet of its own, and docker gives addresses from it",
    how: How::Now(subnets),
};

pub(super) const NETWORK: &str = "10.77.0.0/16";
/// Left for containers by the addresses that a lab's other networks have.
const PREFIX: &str = "10.77.";

fn start(stage: &Stage) -> Result<Machine> {
    start_with_overlay(stage, CONFIG)
}

pub(super) fn start_with_overlay(stage: &Stage, more: &str) -> Result<Machine> {
    start_with(stage, &extra(stage, more)?)
}

/// `more`: keys of `strake.overlay`, indented by four.
pub(super) fn extra(stage: &Stage, more: &str) -> Result<Extra> {
    let registry = stage.registry()?.address();
    Ok(Extra {
        files: format!(
            "  - path: /etc/docker/daemon.json\n    content: |\n      {{\"storage-driver\": \"overlay2\", \
             \"insecure-registries\": [\"{registry}\"]}}\n"
        ),
        strake: Some(format!(
            "  health: {{for: 1s}}\n  overlay:\n    network: {NETWORK}\n{more}"
        )),
        ..Extra::default()
    })
}

/// The subnet that flannel's own file tells.
pub(super) fn subnet_of(machine: &mut Machine) -> Result<String> {
    let what = format!("a subnet of {}", machine.name());
    machine.wait_until(&what, Deadline::seconds(LIMIT), |machine| {
        let text = machine.ssh("cat /run/flannel/subnet.env")?.stdout;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("FLANNEL_SUBNET="));
        Ok(line.map(str::to_owned))
    })
}

fn subnets(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let mut all = Vec::new();
    for machine in [&mut *one].into_iter().chain(members.values_mut()) {
        let subnet = subnet_of(machine)?;
        ensure!(subnet.starts_with(PREFIX), "{subnet} is not of {NETWORK}");
        let bridge = machine.ask(
            "sudo docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}'",
        )?;
        ensure!(
            subnet.split('/').next() == Some(bridge.trim()),
            "docker's bridge has {bridge}, the subnet is {subnet}"
        );
        all.push(subnet);
    }
    all.sort();
    all.dedup();
    ensure!(
        all.len() == NUMBERS.len(),
        "two machines have one subnet: {all:?}"
    );
    registered(one, NUMBERS.len())
}

/// The address of a container that serves, once it does.
fn serve(machine: &mut Machine, stage: &Stage) -> Result<String> {
    let registry = stage.registry()?.address();
    let runs =
        "sudo docker inspect greeter --format '{{.NetworkSettings.Networks.bridge.IPAddress}}'";
    let known = machine.ssh(runs)?;
    if !known.status.success() {
        machine.ask(&format!(
            "sudo docker run --detach --name greeter {registry}/greeter:1"
        ))?;
    }
    let address = machine.ask(runs)?.trim().to_owned();
    ensure!(address.starts_with(PREFIX), "its address is {address:?}");
    let url = format!("http://{address}:{GREETER_PORT}/");
    machine.wait_until(
        "its answer on its own machine",
        Deadline::seconds(LIMIT),
        |machine| {
            let answer = machine.ssh(&format!("curl -sS --max-time 5 {url}"))?;
            Ok(answer.stdout.contains(GREETING).then_some(()))
        },
    )?;
    Ok(address)
}

/// Asks from within the network of this machine's own container.
pub(super) fn reaches(machine: &mut Machine, address: &str) -> Result<bool> {
    let inside =
        "sudo nsenter --net --target $(sudo docker inspect greeter --format '{{.State.Pid}}')";
    let asked = machine.ssh(&format!(
        "{inside} curl -sS --max-time 10 http://{address}:{GREETER_PORT}/"
    ))?;
    Ok(asked.stdout.contains(GREETING))
}

pub(super) fn addresses(
    one: &mut Machine,
    members: &mut Members,
    stage: &Stage,
) -> Result<(String, String)> {
    let third = members.get_mut(&3).context("no third machine")?;
    Ok((serve(one, stage)?, serve(third, stage)?))
}

/// Those of the first and the third machine, each from the other's.
pub(super) fn containers_answer(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let (first, third) = addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    both_ways(one, other, &first, &third)
}

fn answers(one: &mut Machine, stage: &Stage) -> Result<()> {
    containers_answer(one, stage)?;
    let device = one.ask("ip -details link show flannel.1")?;
    ensure!(device.contains("vxlan id 1"), "{device}");
    Ok(())
}

fn names(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    by_name(one, other, stage)
}

fn named_networks(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    networks::apart(one, other, stage)
}

fn networks_of_units(one: &mut Machine, stage: &Stage) -> Result<()> {
    networks::of_units(one, stage)
}

pub(super) fn both_ways(
    one: &mut Machine,
    other: &mut Machine,
    first: &str,
    third: &str,
) -> Result<()> {
    let deadline = Deadline::seconds(LIMIT);
    one.wait_until(
        "the answer of the third machine's container",
        deadline,
        |one| Ok(reaches(one, third)?.then_some(())),
    )?;
    other.wait_until(
        "the answer of the first machine's container",
        deadline,
        |other| Ok(reaches(other, first)?.then_some(())),
    )
}

pub(super) fn routes(machine: &mut Machine) -> Result<Vec<String>> {
    let text = machine.ask("ip route show dev flannel.1")?;
    let mut routes: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    routes.sort();
    Ok(routes)
}

fn cut_off(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let (first, third) = addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    let before = (routes(one)?, routes(other)?);
    ensure!(
        before.0.len() == NUMBERS.len() - 1,
        "the first machine's routes are {:?}",
        before.0
    );
    control(stage)?.send(&Request::Partition("1,2:3".parse()?))?;
    ensure!(!reaches(one, &third)?, "the switch lets it through");
    ensure!(
        (routes(one)?, routes(other)?) == before,
        "routes changed while the store was silent for the third machine"
    );
    control(stage)?.send(&Request::Heal)?;
    both_ways(one, other, &first, &third)
}

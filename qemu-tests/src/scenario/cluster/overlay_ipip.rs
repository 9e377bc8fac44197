//! The overlay with ipip: the image's kernel has what hosts of tests may not have.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::FORMED;
use super::capture::{frames, holds};
use super::members::{LIMIT, NUMBERS, control, told};
use super::overlay::{
    SUBNETS_LEASED, addresses, both_ways, containers_answer, reaches, start_with_overlay,
};
use crate::machine::Machine;
use crate::registry::GREETING;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::switch::Request;
use crate::wait::Deadline;

pub(in crate::scenario) const SCENARIO: Scenario = Scenario {
    name: "overlay ipip",
    extent: Extent::Full,
    start,
    checks: &[
        FORMED,
        SUBNETS_LEASED,
        Check {
            name: "a container answers another one on another machine, over ipip",
            how: How::Now(answers),
        },
        Check {
            name: "the answer goes between the machines as packets in packets, and as plain text",
            how: How::Now(wrapped),
        },
        Check {
            name: "a restart of the service mends what was spoilt meanwhile, and leaves foreign routes",
            how: How::Now(restarted),
        },
    ],
};

const DEVICE: &str = "flannel.ipip";
const FOREIGN: &str = "192.0.2.0/24";

fn start(stage: &Stage) -> Result<Machine> {
    start_with_overlay(stage, "    backend: ipip\n")
}

fn answers(one: &mut Machine, stage: &Stage) -> Result<()> {
    containers_answer(one, stage)?;
    let device = one.ask(&format!("ip -details link show {DEVICE}"))?;
    ensure!(
        device.contains("ipip") && device.contains("mtu 1480"),
        "{device}"
    );
    let status = told(one, "overlay status")?.context("no status")?;
    let peers = status["peers"].as_array().context("no peers")?;
    let is_right = peers.len() == NUMBERS.len() - 1
        && peers.iter().all(|peer| peer["way"] == "tunnel")
        && status["problems"]
            .as_object()
            .is_some_and(|all| all.is_empty());
    ensure!(is_right, "{status}");
    let checked = one.ask("sudo strake overlay check")?;
    ensure!(checked.matches(" 1480 ").count() >= 2, "{checked}");
    Ok(())
}

fn wrapped(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let (_, third) = addresses(one, &mut members, stage)?;
    let capture = stage.directory("ipip.pcap");
    control(stage)?.send(&Request::Capture(capture.clone()))?;
    one.wait_until(
        "the answer in the capture, in packets of ipip",
        Deadline::seconds(LIMIT),
        |one| {
            ensure!(reaches(one, &third)?, "no answer while it is captured");
            let bytes = fs::read(&capture).context("reading the capture")?;
            let mut wrapped = frames(&bytes).filter(|frame| is_ipip(frame));
            let says = wrapped.any(|frame| holds(frame, GREETING));
            Ok(says.then_some(()))
        },
    )
}

/// IPv4 without options, in it protocol 4 with IPv4.
fn is_ipip(frame: &[u8]) -> bool {
    frame.get(12..15) == Some(&[8, 0, 0x45])
        && frame.get(23) == Some(&4)
        && frame.get(34) == Some(&0x45)
}

fn routes(machine: &mut Machine) -> Result<Vec<String>> {
    let text = machine.ask(&format!("ip route show dev {DEVICE}"))?;
    let mut routes: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    routes.sort();
    Ok(routes)
}

fn restarted(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let (first, third) = addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    let before = routes(one)?;
    ensure!(before.len() == NUMBERS.len() - 1, "{before:?}");
    let index = format!("cat /sys/class/net/{DEVICE}/ifindex");
    let device = one.ask(&index)?;
    one.ask("sudo systemctl stop strake-overlay.service")?;
    let lost = before[0].split_whitespace().next().context("no route")?;
    one.ask(&format!("sudo ip route del {lost}"))?;
    one.ask(&format!("sudo ip route add 10.77.250.0/24 dev {DEVICE}"))?;
    one.ask(&format!("sudo ip route add {FOREIGN} dev lo"))?;
    one.ask("sudo systemctl start strake-overlay.service")?;
    one.wait_until(
        "exactly the routes of before",
        Deadline::seconds(LIMIT),
        |one| Ok((routes(one)? == before).then_some(())),
    )?;
    ensure!(one.ask(&index)? == device, "the device was made anew");
    let foreign = one.ask(&format!("ip route show {FOREIGN}"))?;
    ensure!(foreign.contains(FOREIGN), "the foreign route is gone");
    both_ways(one, other, &first, &third)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_in_packets_are_told_from_others() {
        let packet = |protocol: u8, inner: u8| {
            let mut frame = vec![0; 40];
            frame[12..15].copy_from_slice(&[8, 0, 0x45]);
            frame[23] = protocol;
            frame[34] = inner;
            frame
        };
        let all = [packet(4, 0x45), packet(17, 0x45), packet(4, 0x60)];
        let found = all.each_ref().map(|frame| is_ipip(frame));
        assert_eq!(found, [true, false, false]);
    }
}

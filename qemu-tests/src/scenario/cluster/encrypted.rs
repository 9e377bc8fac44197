//! The overlay with wireguard: what one container answers another one on another machine is not
//! to be read on the network between them.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::capture::{frames, holds};
use super::members::{LIMIT, NUMBERS, control, told};
use super::overlay::{
    SUBNETS_LEASED, addresses, both_ways, containers_answer, reaches, start_with_overlay,
};
use super::{FORMED, address};
use crate::machine::Machine;
use crate::registry::GREETING;
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::switch::Request;
use crate::wait::Deadline;

pub(in crate::scenario) const SCENARIO: Scenario = Scenario {
    name: "overlay wireguard",
    extent: Extent::Full,
    start,
    checks: &[
        FORMED,
        SUBNETS_LEASED,
        Check {
            name: "a container answers another one on another machine, over wireguard",
            how: How::Now(answers),
        },
        Check {
            name: "the answer is not to be read on the network between the machines",
            how: How::Now(unreadable),
        },
        Check {
            name: "a restart of the service keeps key and connections, and a removed peer comes back",
            how: How::Now(restarted),
        },
    ],
};

/// Of packets of wireguard, by UDP.
const PORT: u16 = 51820;
/// By which the other capture shows that plain text is seen where there is some.
const PLAIN: &str = "strake-plain-text-on-the-lan";

fn start(stage: &Stage) -> Result<Machine> {
    start_with_overlay(stage, "    backend: wireguard\n    keepalive: 25\n")
}

fn answers(one: &mut Machine, stage: &Stage) -> Result<()> {
    containers_answer(one, stage)?;
    let device = one.ask("ip -details link show flannel-wg")?;
    ensure!(
        device.contains("wireguard") && device.contains("mtu 1420"),
        "{device}"
    );
    let mode = one.ask("sudo stat --format %a /state/overlay/wireguard.key")?;
    ensure!(mode.trim() == "600", "others may read the key: {mode}");
    let status = told(one, "overlay status")?.context("no status")?;
    let connections = status["wireguard"].as_array().context("no connections")?;
    ensure!(connections.len() == NUMBERS.len() - 1, "{status}");
    let met = |one: &&Value| {
        one["last_handshake"].is_u64()
            && one["endpoint"] == format!("{}:{PORT}", address(3))
            && one["received_bytes"].as_u64() > Some(0)
    };
    ensure!(connections.iter().any(|one| met(&one)), "{status}");
    let table = one.ask("sudo strake overlay status")?;
    ensure!(table.contains(" s ago"), "{table}");
    one.ask("sudo strake overlay check")?;
    Ok(())
}

/// The same capture has a text that goes past the tunnel, so that its silence means something.
fn unreadable(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let (_, third) = addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    let capture = stage.directory("wireguard.pcap");
    control(stage)?.send(&Request::Capture(capture.clone()))?;
    ensure!(reaches(one, &third)?, "no answer while it is captured");
    other.ask(&format!(
        "echo {PLAIN} >/dev/udp/{}/9 || bash -c 'echo {PLAIN} >/dev/udp/{}/9'",
        address(1),
        address(1)
    ))?;
    one.wait_until(
        "the plain text in the capture",
        Deadline::seconds(LIMIT),
        |_| Ok(holds(&fs::read(&capture)?, PLAIN).then_some(())),
    )?;
    let bytes = fs::read(&capture).context("reading the capture")?;
    ensure!(
        !holds(&bytes, GREETING),
        "the answer is in {}",
        capture.display()
    );
    let packets = frames(&bytes).filter(|frame| is_data(frame)).count();
    ensure!(
        packets > 0,
        "no packet of wireguard is in {}",
        capture.display()
    );
    println!(
        "        {packets} packets of wireguard in {} bytes of capture",
        bytes.len()
    );
    Ok(())
}

/// With data: IPv4, UDP to or from wireguard's port, and a message of the fourth kind.
fn is_data(frame: &[u8]) -> bool {
    /// Ethernet, IPv4 without options.
    const UDP: usize = 14 + 20;
    let is_ipv4_udp = frame.get(12..15) == Some(&[8, 0, 0x45]) && frame.get(23) == Some(&17);
    let port = PORT.to_be_bytes();
    let ports = [frame.get(UDP..UDP + 2), frame.get(UDP + 2..UDP + 4)];
    let is_fourth = frame.get(UDP + 8..UDP + 12) == Some(&[4, 0, 0, 0]);
    is_ipv4_udp && ports.contains(&Some(&port)) && is_fourth
}

fn peers(machine: &mut Machine) -> Result<Vec<String>> {
    let text = machine.ask("sudo wg show flannel-wg allowed-ips")?;
    let mut peers: Vec<String> = text.lines().map(str::to_owned).collect();
    peers.sort();
    Ok(peers)
}

fn restarted(one: &mut Machine, stage: &Stage) -> Result<()> {
    let mut members = stage.members();
    let (first, third) = addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    let before = peers(one)?;
    ensure!(before.len() == NUMBERS.len() - 1, "{before:?}");
    let key = one.ask("sudo wg show flannel-wg public-key")?;
    // While nobody looks, one peer goes and a stranger comes.
    one.ask("sudo systemctl stop strake-overlay.service")?;
    let gone = before[0].split_whitespace().next().context("no key")?;
    one.ask(&format!("sudo wg set flannel-wg peer {gone} remove"))?;
    one.ask("sudo wg set flannel-wg peer $(wg genkey | wg pubkey) allowed-ips 10.77.250.0/24")?;
    one.ask("sudo systemctl start strake-overlay.service")?;
    one.wait_until(
        "exactly the peers of before",
        Deadline::seconds(LIMIT),
        |one| Ok((peers(one)? == before).then_some(())),
    )?;
    let after = one.ask("sudo wg show flannel-wg public-key")?;
    ensure!(after == key, "the key is another one: {key} then {after}");
    both_ways(one, other, &first, &third)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_wireguard_is_told_from_everything_else() {
        let frame = |protocol: u8, port: u16, kind: u8| {
            let mut frame = vec![0; 60];
            frame[12..15].copy_from_slice(&[8, 0, 0x45]);
            frame[23] = protocol;
            frame[36..38].copy_from_slice(&port.to_be_bytes());
            frame[42] = kind;
            frame
        };
        let cases = [
            (frame(17, PORT, 4), true),
            (frame(17, PORT, 1), false),
            (frame(6, PORT, 4), false),
            (frame(17, 8472, 4), false),
            (vec![1, 2, 3], false),
        ];
        for (frame, expected) in cases {
            assert_eq!(is_data(&frame), expected, "{frame:?}");
        }
    }
}

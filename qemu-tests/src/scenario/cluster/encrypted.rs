//! The overlay with wireguard: what one container answers another one on another machine is not
//! to be read on the network between them.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::members::{LIMIT, NUMBERS, control, told};
use super::overlay::{addresses, both_ways, reaches, start_with_overlay, subnets};
use super::{address, formed};
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
        Check {
            name: "three machines with one cloud-config are an etcd cluster behind TLS",
            how: How::Now(formed),
        },
        Check {
            name: "each machine has a subnet of its own, and docker gives addresses from it",
            how: How::Now(subnets),
        },
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
    let mut members = stage.members();
    let (first, third) = addresses(one, &mut members, stage)?;
    let other = members.get_mut(&3).context("no third machine")?;
    both_ways(one, other, &first, &third)?;
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
    let packets = wireguard_packets(&bytes);
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

fn holds(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    bytes.windows(text.len()).any(|part| part == text)
}

/// Of data: IPv4, UDP to or from wireguard's port, and a message of the fourth kind.
fn wireguard_packets(capture: &[u8]) -> usize {
    const FILE_HEADER: usize = 24;
    const RECORD_HEADER: usize = 16;
    /// Ethernet, IPv4 without options.
    const UDP: usize = 14 + 20;
    let mut rest = capture.get(FILE_HEADER..).unwrap_or_default();
    let mut count = 0;
    while let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) {
        let length = [header[8], header[9], header[10], header[11]];
        let length = u32::from_le_bytes(length) as usize;
        let Some((frame, after)) = after.split_at_checked(length) else {
            break;
        };
        rest = after;
        let is_ipv4_udp = frame.get(12..15) == Some(&[8, 0, 0x45]) && frame.get(23) == Some(&17);
        let port = PORT.to_be_bytes();
        let ports = [frame.get(UDP..UDP + 2), frame.get(UDP + 2..UDP + 4)];
        let is_data = frame.get(UDP + 8..UDP + 12) == Some(&[4, 0, 0, 0]);
        if is_ipv4_udp && ports.contains(&Some(&port)) && is_data {
            count += 1;
        }
    }
    count
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

    /// One record of a capture.
    fn record(frame: &[u8]) -> Vec<u8> {
        let length = (frame.len() as u32).to_le_bytes();
        [&[0; 8], &length[..], &length[..], frame].concat()
    }

    #[test]
    fn data_of_wireguard_is_counted_and_nothing_else() {
        let frame = |protocol: u8, port: u16, kind: u8| {
            let mut frame = vec![0; 60];
            frame[12..15].copy_from_slice(&[8, 0, 0x45]);
            frame[23] = protocol;
            frame[36..38].copy_from_slice(&port.to_be_bytes());
            frame[42] = kind;
            record(&frame)
        };
        let parts = [
            vec![0; 24],
            frame(17, PORT, 4),
            frame(17, PORT, 1),
            frame(6, PORT, 4),
            frame(17, 8472, 4),
            record(&[1, 2, 3]),
            frame(17, PORT, 4),
            vec![0; 7],
        ];
        assert_eq!(wireguard_packets(&parts.concat()), 2);
        assert!(holds(b"a plain text", "plain") && !holds(b"a pl", "plain"));
    }
}

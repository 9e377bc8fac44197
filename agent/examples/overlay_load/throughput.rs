//! Bytes a second between containers of two machines, and the same through a vxlan made by hand
//! between two others, with the same MTU.
//!
//! Both are the kernel's, and nothing of ours is on the way: what differs between two runs is what
//! else the host does meanwhile. So the programs go before all others, runs are short and many, the
//! two take turns in who is first, and each is compared with the run right beside it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::Site;
use crate::net::{Net, Node, Process, ip};

const LIMIT: Duration = Duration::from_secs(30);
const PAIRS: usize = 41;
/// Before everything else that wants a processor.
const FIRST: [&str; 3] = ["-n", "-20", "iperf3"];

pub(crate) fn run(site: &Site) -> Result<Value> {
    let net = Net::new(site)?;
    let nodes = (0..4).map(|number| net.node(number));
    let nodes: Vec<Node> = nodes.collect::<Result<_>>()?;
    let [one, two, left, right] = nodes.as_slice() else {
        anyhow::bail!("four machines were made");
    };
    let _services = [one.start(86_400)?, two.start(86_400)?];
    let own = [one.subnet()?, two.subnet()?];
    for (node, address) in [one, two].iter().zip(&own) {
        ip(&format!("-n {} address add {address}/32 dev lo", node.name))?;
    }
    by_hand(left, right, "10.6.1.1", "10.6.2.1")?;
    by_hand(right, left, "10.6.2.1", "10.6.1.1")?;
    let through_overlay = || measure(one, two, &own[0], &own[1], site.seconds);
    let through_hand = || measure(left, right, "10.6.1.1", "10.6.2.1", site.seconds);
    let (mut overlay, mut hand, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (own, other) = match pair % 2 {
            0 => {
                let own = through_overlay()?;
                (own, through_hand()?)
            }
            _ => {
                let other = through_hand()?;
                (through_overlay()?, other)
            }
        };
        overlay.push(own);
        hand.push(other);
        ratios.push(own / other);
    }
    Ok(json!({
        "overlay_gbits": part(&mut overlay, 0.5),
        "by_hand_gbits": part(&mut hand, 0.5),
        "ratio": {
            "lower_quartile": part(&mut ratios, 0.25),
            "median": part(&mut ratios, 0.5),
            "upper_quartile": part(&mut ratios, 0.75),
        },
        "pairs": PAIRS,
    }))
}

/// As a person would set it up, with the overlay's MTU.
fn by_hand(node: &Node, peer: &Node, own: &str, theirs: &str) -> Result<()> {
    let (name, local, remote) = (&node.name, node.address(), peer.address());
    ip(&format!(
        "-n {name} link add vx0 mtu 1450 type vxlan id 9 dev eth0 dstport 8472 local {local} \
         remote {remote} nolearning"
    ))?;
    ip(&format!("-n {name} link set vx0 up"))?;
    ip(&format!("-n {name} address add {own}/32 dev lo"))?;
    ip(&format!(
        "-n {name} route add {theirs}/32 dev vx0 src {own}"
    ))
}

/// Gigabits a second.
fn measure(from: &Node, to: &Node, own: &str, there: &str, seconds: u64) -> Result<f64> {
    let server = Process::start(
        to.command("nice")
            .args(FIRST)
            .args(["--server", "--one-off", "--bind", there])
            .stdout(Stdio::null()),
    )?;
    let start = Instant::now();
    let bits = loop {
        let mut client: Command = from.command("nice");
        client
            .args(FIRST)
            .args(["--client", there, "--bind", own, "--json", "--time"]);
        let done = client.arg(seconds.to_string()).output()?;
        let told: Value = serde_json::from_slice(&done.stdout).context("understanding iperf3")?;
        // While the server is not there yet it says so instead.
        if let Some(bits) = told["end"]["sum_received"]["bits_per_second"].as_f64() {
            break bits;
        }
        ensure!(start.elapsed() < LIMIT, "iperf3: {}", told["error"]);
    };
    drop(server);
    Ok(bits / 1e9)
}

/// The value below which that share of all lies.
fn part(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() as f64 * share) as usize]
}

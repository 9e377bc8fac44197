//! The overlay with IPv6: beside IPv4, and on machines that have nothing else.

mod overlay_net;
mod real_etcd;

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use overlay_net::{
    Net, Node, SWITCH_V6, all_know_all, answers, containers, has_nft, seen_from, until,
};
use serde_json::{Value, json};
use strake_agent::overlay::cidr::Cidr;
use strake_agent::overlay::lease::Lease;

fn alone(backend: &str) -> Value {
    json!({
        "EnableIPv4": false,
        "EnableIPv6": true,
        "IPv6Network": "fd00:5::/48",
        "Backend": {"Type": backend},
    })
}

fn v6(lease: &Lease) -> Cidr {
    lease.subnets.v6.expect("IPv6")
}

/// One socket in each machine's subnet.
fn six(nodes: &[Node], leases: &[Lease]) -> Vec<UdpSocket> {
    let pairs = nodes.iter().zip(leases);
    pairs
        .map(|(node, lease)| node.container_in(v6(lease)))
        .collect()
}

/// Waits until the first machine has exactly these ways to subnets of IPv6.
async fn ways(nodes: &[Node], what: &str, mut wanted: Vec<String>) {
    wanted.sort();
    until(what, nodes, async || {
        let has = nodes[0].routes("-6");
        let is_right = has.len() == wanted.len()
            && has
                .iter()
                .zip(&wanted)
                .all(|(has, wanted)| has.starts_with(wanted));
        is_right
            .then_some(())
            .ok_or(format!("{has:#?}, wanted {wanted:#?}"))
    })
    .await;
}

/// Over the tunnel of vxlan, whose neighbours' addresses are the first of their subnets.
fn tunnelled(lease: &Lease) -> String {
    let subnet = v6(lease);
    format!("{subnet} via {} dev flannel-v6.1 ", subnet.address())
}

async fn is_well(nodes: &[Node]) {
    until("all is well", nodes, async || {
        let (code, faults) = nodes[0].check();
        let status = nodes[0].status();
        let is_well = code == Some(0)
            // Of each peer one for each family.
            && faults.len() >= nodes.len() - 1
            && faults.iter().all(Value::is_null)
            && status["problems"] == json!({});
        is_well
            .then_some(())
            .ok_or(format!("{code:?} {faults:?} {status}"))
    })
    .await;
}

#[tokio::test]
async fn both_families_have_a_tunnel_of_their_own() {
    let config = json!({
        "EnableIPv6": true,
        "Network": "10.5.0.0/16",
        "IPv6Network": "fd00:5::/48",
        "Backend": {"Type": "vxlan"},
    });
    let Some(net) = Net::new(config).await else {
        return;
    };
    let (nodes, leases) = net.running(2).await;
    all_know_all(&nodes, &leases).await;
    let (four, six) = (containers(&nodes, &leases), six(&nodes, &leases));
    until("containers reach each other in both", &nodes, async || {
        answers(&four[0], &four[1])?;
        answers(&six[0], &six[1])
    })
    .await;
    ways(&nodes, "the tunnel of IPv6", vec![tunnelled(&leases[1])]).await;
    let env = fs::read_to_string(nodes[0].path("run/flannel/subnet.env")).expect("subnet.env");
    assert!(env.contains("FLANNEL_MTU=1430\n"), "{env}");
    is_well(&nodes).await;
}

#[tokio::test]
async fn machines_with_ipv6_alone_reach_each_other_through_the_tunnel() {
    let Some(net) = Net::new(alone("vxlan")).await else {
        return;
    };
    let (mut nodes, leases) = net.running(3).await;
    let sockets = six(&nodes, &leases);
    until("containers reach each other", &nodes, async || {
        answers(&sockets[0], &sockets[1])?;
        answers(&sockets[1], &sockets[2])?;
        answers(&sockets[2], &sockets[0])
    })
    .await;
    let others = leases[1..].iter().map(tunnelled).collect();
    ways(&nodes, "a way to each", others).await;
    is_well(&nodes).await;
    let links = nodes[0].must("-brief link show type vxlan");
    assert_eq!(links.lines().count(), 1, "{links}");
    let own = v6(&leases[0]);
    let env = fs::read_to_string(nodes[0].path("run/flannel/subnet.env")).expect("subnet.env");
    let expected = format!(
        "FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET={}/64\nFLANNEL_MTU=1430\n\
         FLANNEL_IPMASQ={}\n",
        own.host(1),
        has_nft()
    );
    assert_eq!(env, expected);

    // Begun anew, with a foreign route and without a peer that went meanwhile.
    nodes[0].kill();
    nodes[2].kill();
    net.end(&leases[2]).await;
    nodes[0].must("-6 route add fd99::/64 via fd77::fffe");
    nodes[0].start();
    ways(&nodes, "no stale way", vec![tunnelled(&leases[1])]).await;
    let foreign = nodes[0].must("-6 route show fd99::/64");
    assert!(foreign.contains("via fd77::fffe"), "{foreign}");
    answers(&sockets[0], &sockets[1]).expect("an answer");
}

#[tokio::test]
async fn machines_with_ipv6_alone_need_no_tunnel_on_one_link() {
    let Some(net) = Net::new(alone("host-gw")).await else {
        return;
    };
    let (nodes, leases) = net.running(2).await;
    let way = format!("{} via fd77::2 dev eth0 ", v6(&leases[1]));
    ways(&nodes, "a way over the link", vec![way]).await;
    let sockets = six(&nodes, &leases);
    until("containers reach each other", &nodes, async || {
        answers(&sockets[0], &sockets[1])
    })
    .await;
    is_well(&nodes).await;
}

#[tokio::test]
async fn what_leaves_a_network_of_ipv6_is_masqueraded() {
    if !has_nft() {
        eprintln!("SKIPPED: no nft on this host");
        return;
    }
    let Some(net) = Net::new(alone("vxlan")).await else {
        return;
    };
    let (nodes, leases) = net.running(2).await;
    let outside = UdpSocket::bind((SWITCH_V6, 0)).expect("a socket");
    let limit = Some(Duration::from_millis(500));
    outside.set_read_timeout(limit).expect("a limit");
    let machine: IpAddr = "fd77::1".parse().expect("an address");
    let two = nodes[1].container_in(v6(&leases[1]));
    until("sources are right", &nodes, async || {
        // The kernel remembers what it did with packets of a socket.
        let one = nodes[0].container_in(v6(&leases[0]));
        let own = one.local_addr().map_err(|error| error.to_string())?.ip();
        let (seen, within) = (seen_from(&one, &outside)?, seen_from(&one, &two)?);
        let is_right = seen == machine && within == own;
        is_right.then_some(()).ok_or(format!("{seen} and {within}"))
    })
    .await;
}

//! The ways of packets through the overlay: without a tunnel, out of the network,
//! and what `strake overlay check` says of ways that are blocked.

mod overlay_net;
mod real_etcd;

use std::net::{IpAddr, UdpSocket};

use overlay_net::{Net, Node, all_know_all, answers, containers, has_nft, seen_from, until, vxlan};
use serde_json::{Value, json};

#[tokio::test]
async fn machines_on_one_link_need_no_tunnel() {
    let config = json!({"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}});
    let Some(net) = Net::new(config).await else {
        return;
    };
    let (mut nodes, leases) = net.running(3).await;
    let wanted = |own: usize, there: &[usize]| {
        let others = there.iter().filter(|other| **other != own);
        let mut lines: Vec<String> = others
            .map(|other| {
                let subnet = leases[*other].subnets.v4.expect("IPv4");
                format!("{subnet} via {} dev eth0", nodes_address(*other))
            })
            .collect();
        lines.sort();
        lines
    };
    let all: Vec<&Node> = nodes.iter().collect();
    for own in 0..3 {
        until("there is a route to each", &all, async || {
            let has = all[own].routes("-4");
            (has == wanted(own, &[0, 1, 2]))
                .then_some(())
                .ok_or(format!("{has:#?}"))
        })
        .await;
    }
    let sockets = containers(&nodes, &leases);
    answers(&sockets[0], &sockets[1]).expect("an answer");
    // Gone while nobody looked.
    nodes[0].kill();
    nodes[2].kill();
    net.end(&leases[2]).await;
    nodes[0].start();
    until("the stale route goes", &[&nodes[0]], async || {
        let has = nodes[0].routes("-4");
        (has == wanted(0, &[0, 1]))
            .then_some(())
            .ok_or(format!("{has:#?}"))
    })
    .await;
}

fn nodes_address(index: usize) -> String {
    format!("192.168.77.{}", index + 1)
}

#[tokio::test]
async fn what_leaves_the_network_is_masqueraded_and_what_stays_is_not() {
    if !has_nft() {
        eprintln!("SKIPPED: no nft on this host");
        return;
    }
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (nodes, leases) = net.running(2).await;
    all_know_all(&nodes, &leases).await;
    let [one, two] = [0, 1].map(|index| nodes[index].container(&leases[index]));
    let outside = UdpSocket::bind((overlay_net::SWITCH, 0)).expect("a socket");
    let limit = Some(std::time::Duration::from_millis(500));
    outside.set_read_timeout(limit).expect("a limit");
    let own = one.local_addr().expect("address").ip();
    let is_right = async || {
        // The kernel remembers what it did with packets of a socket.
        let one = nodes[0].container(&leases[0]);
        let outside = seen_from(&one, &outside)?;
        let inside = seen_from(&one, &two)?;
        let machine: IpAddr = nodes[0].address().parse().expect("address");
        let is_right = outside == machine && inside == own;
        is_right
            .then_some(())
            .ok_or(format!("{outside} and {inside}"))
    };
    until("sources are right", &nodes, is_right).await;
    // Somebody else's firewall starts anew and throws everything away.
    nodes[0].exec("nft", "flush ruleset");
    nodes[0].exec("nft", "add table inet somebodys");
    until("the rules are there again", &nodes, is_right).await;
    let rules = nodes[0].exec("nft", "list ruleset");
    assert!(rules.contains("table inet somebodys"), "{rules}");
    assert_eq!(rules.matches("strake_overlay").count(), 1, "{rules}");
    // Nobody changes anything now: the table stays the one that it is.
    compared(&nodes[0], 1).await;
    let table = || nodes[0].exec("nft", "-a list table inet strake_overlay");
    let before = table();
    assert!(before.contains("# handle"), "{before}");
    compared(&nodes[0], 2).await;
    assert_eq!(table(), before);
}

/// Waits until the kernel was compared with the leases so many times more.
async fn compared(node: &Node, times: u64) {
    let count = || {
        let told = node.figures();
        let line = "strake_overlay_compare_seconds_count{network=\"default\"} ";
        let found = told.lines().find_map(|one| one.strip_prefix(line));
        found.and_then(|count| count.parse::<u64>().ok())
    };
    let start = count().expect("a figure");
    until("more comparisons", &[node], async || {
        let now = count();
        (now >= Some(start + times))
            .then_some(())
            .ok_or(format!("{now:?}"))
    })
    .await;
}

/// What the first machine finds, when it finds that: all else is tried again.
async fn finds(nodes: &[&Node], what: &str, code: i32, wanted: impl Fn(&[Value]) -> bool) {
    until(what, nodes, async || {
        let (told, faults) = nodes[0].check();
        let is_right = told == Some(code) && faults.len() == nodes.len() - 1 && wanted(&faults);
        is_right
            .then_some(())
            .ok_or(format!("{told:?}: {faults:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_check_names_what_is_wrong_with_the_way_to_a_peer() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (mut nodes, leases) = net.running(3).await;
    let all: Vec<&Node> = nodes.iter().collect();
    all_know_all(&all, &leases).await;
    let second = nodes[0].status()["peers"][0]["public_addresses"][0] == "192.168.77.2";
    let (two, three) = if second { (0, 1) } else { (1, 0) };
    let is = |faults: &[Value], kind: Option<&str>| {
        faults[three].is_null() && faults[two]["kind"].as_str() == kind
    };
    finds(&all, "all is well", 0, |faults| is(faults, None)).await;

    // What the second machine sends through its port of the switch vanishes without a word when it
    // is large. The kernel lets four bytes more pass, for a VLAN's tag.
    overlay_net::must("link set p2 mtu 1300");
    finds(&all, "a black hole", 1, |faults| {
        let fault = &faults[two];
        is(faults, Some("size")) && fault["out"] == 1450 && fault["back"] == 1254
    })
    .await;
    let table = nodes[0].check_table();
    let told =
        "packets over 1254 bytes are lost on the way back only: the path's MTU is about 1304";
    assert!(table.contains(told), "{table}");
    overlay_net::must("link set p2 mtu 1500");

    if has_nft() {
        let drop = |node: &Node, hook: &str, side: &str| {
            node.exec("nft", "add table inet f");
            let chain = format!("add chain inet f c {{ type filter hook {hook} priority 0 ; }}");
            node.exec("nft", &chain);
            let rule = format!("add rule inet f c {side} udp dport 8472 drop");
            node.exec("nft", &rule);
        };
        drop(&nodes[1], "input", "ip saddr 192.168.77.1");
        finds(&all, "a firewall", 1, |faults| {
            is(faults, Some("never-heard"))
        })
        .await;
        nodes[1].exec("nft", "delete table inet f");
        drop(&nodes[0], "input", "ip saddr 192.168.77.2");
        finds(&all, "lost answers", 1, |faults| {
            is(faults, Some("answers-lost"))
        })
        .await;
        nodes[0].exec("nft", "delete table inet f");
    } else {
        eprintln!("SKIPPED: firewalls: no nft on this host");
    }
    nodes[1].kill();
    let all: Vec<&Node> = nodes.iter().collect();
    finds(&all, "a silent one", 1, |faults| {
        is(faults, Some("silent-to-all"))
    })
    .await;
}

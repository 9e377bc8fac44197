//! The overlay network with the kernel's own vxlan, a real etcd and the built program, machines
//! being network namespaces.

mod overlay_net;
mod real_etcd;

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::Signal;
use overlay_net::{Net, Node, all_know_all, answers, containers, expected, lease_of, until, vxlan};
use serde_json::json;

#[tokio::test]
async fn machines_join_and_their_containers_reach_each_other() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (nodes, leases) = net.running(3).await;
    all_know_all(&nodes, &leases).await;
    let sockets = containers(&nodes, &leases);
    until("containers reach each other", &nodes, async || {
        answers(&sockets[0], &sockets[1])?;
        answers(&sockets[1], &sockets[2])?;
        answers(&sockets[2], &sockets[0])
    })
    .await;
    let subnet = leases[0].subnets.v4.expect("IPv4");
    let env = fs::read_to_string(nodes[0].path("run/flannel/subnet.env")).expect("subnet.env");
    assert_eq!(
        env,
        format!(
            "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET={}/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
            subnet.host(1)
        )
    );
    until("the status tells it", &nodes, async || {
        let status = nodes[0].status();
        let is_right = status["state"] == "joined"
            && status["mtu"] == 1450
            && status["subnets"]["v4"] == json!(subnet)
            && status["peers"].as_array().map(Vec::len) == Some(2)
            && status["problems"] == json!({})
            && status["counters"][0][1]["sent_packets"].as_u64() > Some(0);
        is_right.then_some(()).ok_or(status.to_string())
    })
    .await;
    let table = nodes[0].table();
    assert!(
        table.contains("10.5.0.0/16") && table.contains("tunnel"),
        "{table}"
    );
}

#[tokio::test]
async fn a_restart_keeps_subnet_address_and_lease_object_and_mends_what_changed_meanwhile() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (mut nodes, leases) = net.running(3).await;
    all_know_all(&nodes, &leases).await;
    let entries = net.leases().await;

    // While its service is down, a peer goes, and somebody spoils an entry of the other.
    nodes[0].kill();
    nodes[2].kill();
    net.end(&leases[2]).await;
    let own = leases[1].subnets.v4.expect("IPv4").address();
    nodes[0].must(&format!(
        "neigh replace {own} lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent"
    ));
    // Of no concern to the overlay: outside of its network, or another way into it.
    nodes[0].must("route add 10.99.0.0/24 via 192.168.77.254");
    nodes[0].must("route add 10.5.250.0/24 via 192.168.77.254 proto static");
    let mac = nodes[0].must("-o link show flannel.1");

    nodes[0].start();
    let pair = [&nodes[0], &nodes[1]];
    all_know_all(&pair, &leases[..2]).await;
    assert_eq!(nodes[0].must("-o link show flannel.1"), mac);
    let routes = nodes[0].must("route show");
    for foreign in ["10.99.0.0/24 via", "10.5.250.0/24 via"] {
        assert!(routes.contains(foreign), "{routes}");
    }
    let own_entry = |entries: &[strake_agent::store::Entry]| {
        let mut all = entries.iter();
        let own = all.find(|entry| entry.key.ends_with(&leases[0].subnets.to_key()));
        own.map(|entry| (entry.lease, entry.modified))
    };
    assert_eq!(own_entry(&net.leases().await), own_entry(&entries));
    until(
        "the foreign route into the network is told",
        &pair,
        async || {
            let status = nodes[0].status();
            let told = status["problems"]["routes"].to_string();
            told.contains("10.5.250.0/24")
                .then_some(())
                .ok_or(status.to_string())
        },
    )
    .await;
}

#[tokio::test]
async fn a_store_that_does_not_answer_changes_nothing_and_is_followed_again() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (mut nodes, leases) = net.running(2).await;
    all_know_all(&nodes, &leases).await;
    let sockets = containers(&nodes, &leases);

    net.etcd.signal(Signal::SIGSTOP);
    // Begun anew without a store, the machine has its subnet and its peers all the same.
    nodes[0].kill();
    fs::remove_dir_all(nodes[0].path("run")).expect("removed");
    nodes[0].start();
    let pair = [&nodes[0], &nodes[1]];
    until("the subnet is there without the store", &pair, async || {
        let status = nodes[0].status();
        let is_right = status["state"] == "remembered"
            && status["problems"]["joining"].is_string()
            && nodes[0].path("run/flannel/subnet.env").exists();
        is_right.then_some(()).ok_or(status.to_string())
    })
    .await;
    all_know_all(&pair, &leases).await;
    until("containers reach each other", &pair, async || {
        answers(&sockets[0], &sockets[1])
    })
    .await;

    net.etcd.signal(Signal::SIGCONT);
    let mut third = net.node(3);
    third.start();
    let all = [&nodes[0], &nodes[1], &third];
    let leases = net.joined(&all).await;
    all_know_all(&all, &leases).await;
    until("all is well again", &all, async || {
        let status = nodes[0].status();
        let is_right = status["state"] == "joined" && status["problems"] == json!({});
        is_right.then_some(()).ok_or(status.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_comes_back_with_another_address_is_found_there() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (mut nodes, before) = net.running(2).await;
    all_know_all(&nodes, &before).await;

    nodes[1].kill();
    nodes[1].must("address flush dev eth0");
    nodes[1].must("address add 192.168.77.99/24 dev eth0");
    nodes[1].start();
    let pair = [&nodes[0], &nodes[1]];
    let after = until("the lease tells the address", &pair, async || {
        let leases = net.joined(&pair).await;
        let address = leases[1].public_v4.map(|address| address.to_string());
        let is_new = address.as_deref() == Some("192.168.77.99");
        is_new.then_some(leases).ok_or(format!("{address:?}"))
    })
    .await;
    assert_eq!(after[1].subnets, before[1].subnets);
    assert_eq!(after[1].v4, before[1].v4);
    all_know_all(&pair, &after).await;
    let sockets = [nodes[0].container(&after[0]), nodes[1].container(&after[1])];
    until("containers reach each other", &pair, async || {
        answers(&sockets[0], &sockets[1])
    })
    .await;
    // And without a restart of its service, as with another lease of DHCP.
    nodes[1].must("address flush dev eth0");
    nodes[1].must("address add 192.168.77.98/24 dev eth0");
    until(
        "the peer is found at its newest address",
        &pair,
        async || {
            let has = nodes[0].kernel();
            let found = has.iter().any(|line| line.contains("dst 192.168.77.98 "));
            found.then_some(()).ok_or(format!("{has:#?}"))
        },
    )
    .await;
}

#[tokio::test]
async fn a_machine_that_is_gone_is_forgotten_when_its_lease_runs_out() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let mut nodes: Vec<Node> = (1..=2).map(|number| net.node(number)).collect();
    nodes[1].ttl = 5;
    nodes.iter_mut().for_each(Node::start);
    let leases = net.joined(&nodes).await;
    all_know_all(&nodes, &leases).await;
    nodes[1].kill();
    all_know_all(&[&nodes[0]], &leases[..1]).await;
    // Its subnet is kept for it while nobody else wants it.
    nodes[1].start();
    let again = net.joined(&nodes).await;
    assert_eq!(again, leases);
    all_know_all(&nodes, &again).await;
}

#[tokio::test]
async fn what_cannot_be_served_is_told_and_harms_no_peer() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let store = net.etcd.store().await;
    let put = async |key: &str, value: &str| {
        let write = strake_agent::store::Write::Put {
            key: match key.strip_prefix('/') {
                Some(_) => key.to_string(),
                None => format!("{}{key}", overlay_net::SUBNETS),
            },
            value: value.as_bytes().to_vec(),
            lease: None,
        };
        let transaction = strake_agent::store::Transaction {
            compares: Vec::new(),
            writes: vec![write],
        };
        let outcome = strake_agent::store::Store::commit(&store, &transaction).await;
        outcome.expect("written");
    };
    // Beside the leases, and none of the network's.
    put("/coreos.com/network/notes", "ours").await;
    put("no-subnet", "{}").await;
    put("10.5.203.1-24", r#"{"PublicIP":"192.168.77.203"}"#).await;
    put("10.5.200.0-24", "not JSON").await;
    put(
        "10.5.201.0-24",
        r#"{"PublicIP":"192.168.77.201","BackendType":"udp"}"#,
    )
    .await;
    // A machine of flannel's, as it writes it.
    put(
        "10.5.202.0-24",
        r#"{"PublicIP":"192.168.77.202","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"ea:31:8d:00:fb:02"}}"#,
    )
    .await;
    // Two at one address, each with a subnet of its own.
    for (nth, mac) in [(204, "04"), (205, "05")] {
        let value = format!(
            r#"{{"PublicIP":"192.168.77.204","BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"02:00:00:00:00:{mac}"}}}}"#
        );
        put(&format!("10.5.{nth}.0-24"), &value).await;
    }
    let (nodes, mut leases) = net.running(2).await;
    let flannels = net.leases().await;
    let flannels = flannels.iter().filter_map(lease_of);
    let served = ["10.5.202.0-24", "10.5.204.0-24", "10.5.205.0-24"];
    leases.extend(flannels.filter(|lease| served.contains(&lease.subnets.to_key().as_str())));
    all_know_all(&nodes, &leases).await;
    until("the others are told", &nodes, async || {
        let told = nodes[0].status()["problems"]["peers"].to_string();
        let all = [
            "no-subnet (the key is not a subnet",
            "10.5.203.1-24 (the key is not a subnet",
            "10.5.200.0-24",
            "its backend is udp",
        ];
        let is_told = all.iter().all(|part| told.contains(part)) && !told.contains("notes");
        is_told.then_some(()).ok_or(told)
    })
    .await;
    until("two at one address are told", &nodes, async || {
        let told = nodes[0].status()["problems"]["addresses"].to_string();
        let expected = "192.168.77.204 is the public address of 10.5.204.0-24 and 10.5.205.0-24";
        told.contains(expected).then_some(()).ok_or(told)
    })
    .await;
}

#[tokio::test]
async fn fifty_machines_join_at_once() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (nodes, leases) = net.running(50).await;
    let subnets: BTreeSet<_> = leases.iter().map(|lease| lease.subnets).collect();
    assert_eq!(subnets.len(), 50);
    all_know_all(&nodes, &leases).await;
    let others: Vec<_> = leases[1..].iter().collect();
    assert_eq!(nodes[0].kernel(), expected(&others));
}

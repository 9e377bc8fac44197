//! What somebody else does to the overlay: takes a machine's subnet, spoils the network's config,
//! leases what a machine's own link needs; and a machine that was installed anew.

mod overlay_net;
mod real_etcd;

use std::fs;

use overlay_net::{
    Net, Node, SUBNETS, all_know_all, answers, containers, expected, lease_of, until, vxlan,
};
use serde_json::{Value, json};
use strake_agent::overlay::lease::Lease;
use strake_agent::store::{Store, Transaction, Write};

const CONFIG: &str = "/coreos.com/network/config";

async fn commit(net: &Net, write: Write) {
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![write],
    };
    let done = net.etcd.store().await.commit(&transaction).await;
    done.expect("written");
}

async fn put(net: &Net, key: &str, value: &str) {
    let write = Write::Put {
        key: key.to_string(),
        value: value.as_bytes().to_vec(),
        lease: None,
    };
    commit(net, write).await;
}

async fn delete(net: &Net, key: &str) {
    let key = key.to_string();
    commit(net, Write::Delete { key }).await;
}

fn stranger(last: u8) -> String {
    json!({
        "PublicIP": format!("192.168.77.{last}"),
        "BackendType": "vxlan",
        "BackendData": {"VNI": 1, "VtepMAC": format!("02:00:00:00:00:{last:02x}")},
    })
    .to_string()
}

async fn told(node: &Node, subject: &str, expected: &[&str]) {
    until(&format!("{subject} is told"), &[node], async || {
        let told = node.status()["problems"][subject].to_string();
        let is_told = expected.iter().all(|part| told.contains(part));
        is_told.then_some(()).ok_or(told)
    })
    .await;
}

async fn well(node: &Node) {
    until("all is well", &[node], async || {
        let status = node.status();
        let is_well = status["problems"] == json!({});
        is_well.then_some(()).ok_or(status.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_machine_whose_subnet_was_taken_while_it_was_away_moves_with_all_its_files() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (mut nodes, before) = net.running(2).await;
    all_know_all(&nodes, &before).await;
    nodes[0].kill();
    let old = before[0].subnets;
    let key = format!("{SUBNETS}{}", old.to_key());
    delete(&net, &key).await;
    put(&net, &key, &stranger(99)).await;
    nodes[0].start();
    let all: Vec<&Node> = nodes.iter().collect();
    let after = net.joined(&all).await;
    let (old, new) = (old.v4.expect("IPv4"), after[0].subnets.v4.expect("IPv4"));
    assert_ne!(old, new);
    let (gateway, taken) = (new.host(1).to_string(), old.host(1).to_string());
    let files = [
        "run/flannel/subnet.env",
        "run/flannel/docker.env",
        "etc/cni/net.d/10-strake.conflist",
    ];
    until("every file has the new subnet", &all, async || {
        for file in files {
            let text = fs::read_to_string(all[0].path(file)).unwrap_or_default();
            if !text.contains(&gateway) || text.contains(&format!("{taken}/")) {
                return Err(format!("{file}: {text}"));
            }
        }
        Ok(())
    })
    .await;
    let log = all[0].log();
    let line = format!("moving to {new}: {old} was given to another machine meanwhile");
    assert!(log.contains(&line), "{log}");
    let device = all[0].must("-4 -brief address show flannel.1");
    assert!(device.contains(&new.address().to_string()), "{device}");
    // The other machine has ways to both, and nothing else.
    let leases = net.leases().await;
    let leases: Vec<Lease> = leases.iter().filter_map(lease_of).collect();
    assert_eq!(leases.len(), 3, "{leases:?}");
    all_know_all(&all, &leases).await;
}

#[tokio::test]
async fn a_config_that_is_spoilt_or_removed_is_told_and_changes_nothing() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (nodes, leases) = net.running(2).await;
    all_know_all(&nodes, &leases).await;
    let sockets = containers(&nodes, &leases);
    let spoilt: [(&str, &[&str]); 4] = [
        (
            "{",
            &["it is not JSON", "going on with what it said before"],
        ),
        (
            r#"{"Network":"10.5.1.0/16","SubnetLen":"24"}"#,
            &["10.5.0.0/16?", "going on with what it said before"],
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":"one","Port":70000}}"#,
            &["Backend.VNI is", "Backend.Port is 70000"],
        ),
        ("", &["it is not JSON"]),
    ];
    for (text, expected) in spoilt {
        put(&net, CONFIG, text).await;
        told(&nodes[0], "config", expected).await;
        answers(&sockets[0], &sockets[1]).expect("an answer");
    }
    delete(&net, CONFIG).await;
    told(&nodes[0], "config", &["was removed"]).await;
    answers(&sockets[0], &sockets[1]).expect("an answer");
    all_know_all(&nodes, &leases).await;
    put(&net, CONFIG, &vxlan().to_string()).await;
    well(&nodes[0]).await;
    assert_eq!(net.joined(&nodes).await, leases);
}

#[tokio::test]
async fn no_subnet_takes_a_machines_own_link_away() {
    // Two to give, and the uplinks are on one of them.
    let config = json!({
        "Network": "192.168.76.0/22",
        "SubnetLen": 24,
        "SubnetMin": "192.168.77.0",
        "SubnetMax": "192.168.78.0",
        "Backend": {"Type": "vxlan"},
    });
    let Some(net) = Net::new(config).await else {
        return;
    };
    let mut nodes: Vec<Node> = (1..=2).map(|number| net.node(number)).collect();
    nodes[0].start();
    let first = net.joined(&[&nodes[0]]).await;
    assert_eq!(first[0].subnets.to_key(), "192.168.78.0-24");
    nodes[1].start();
    told(&nodes[1], "joining", &["192.168.76.0/22 is too small"]).await;
    told(&nodes[0], "routes", &["192.168.77.0/24"]).await;
    // Somebody leases it all the same.
    put(&net, &format!("{SUBNETS}192.168.77.0-24"), &stranger(99)).await;
    let why = "192.168.77.0/24 holds 192.168.77.0/24, to which the way would be lost";
    told(&nodes[0], "peers", &[why]).await;
    assert_eq!(nodes[0].kernel(), expected(&[]));
    let link = nodes[0].must("route get 192.168.77.2");
    assert!(link.contains("dev eth0"), "{link}");
}

#[tokio::test]
async fn a_machine_installed_anew_ends_what_the_one_before_it_leased() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (mut nodes, before) = net.running(2).await;
    all_know_all(&nodes, &before).await;
    nodes[0].kill();
    fs::remove_dir_all(nodes[0].path("state")).expect("removed");
    let id = format!("{:032x}", 0xabc);
    fs::write(nodes[0].path("etc/machine-id"), format!("{id}\n")).expect("written");
    nodes[0].start();
    // Two that live with one address are told, and neither is ended.
    let old = before[0].subnets.to_key();
    told(
        &nodes[1],
        "addresses",
        &["192.168.77.1 is the public address of", &old],
    )
    .await;
    let machines = "/strake/v1/machines/";
    let former = format!("{machines}{:032x}", 1);
    put(&net, &former, "{}").await;
    put(&net, &format!("{machines}{id}"), "{}").await;
    let leases = net.leases().await;
    assert_eq!(leases.len(), 3, "{leases:?}");
    delete(&net, &former).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let leases = until("the old lease is ended", &all, async || {
        let leases = net.leases().await;
        let leases: Vec<Lease> = leases.iter().filter_map(lease_of).collect();
        let is_there = leases.iter().any(|lease| lease.subnets.to_key() == old);
        (!is_there)
            .then_some(leases.clone())
            .ok_or(format!("{leases:?}"))
    })
    .await;
    assert_eq!(leases.len(), 2);
    let new = leases
        .iter()
        .filter(|lease| lease.machine.as_ref() == Some(&id));
    let new: Vec<&Lease> = new.collect();
    until("only the new one is reached", &all, async || {
        let has = all[1].kernel();
        (has == expected(&new))
            .then_some(())
            .ok_or(format!("{has:#?}"))
    })
    .await;
    well(all[1]).await;
    let log = all[0].log();
    assert!(
        log.contains("ended the lease") && log.contains(&old),
        "{log}"
    );
    let status: Value = all[1].status();
    assert_eq!(
        status["peers"].as_array().map(Vec::len),
        Some(1),
        "{status}"
    );
}

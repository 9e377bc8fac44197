//! Networks with names: each with its own subnet and tunnel, apart from the others unless their
//! pair is allowed, and none harmed by another one's config.

mod overlay_net;
mod real_etcd;

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use overlay_net::{Net, Node, answers, has_nft, must, socket, until, vxlan};
use serde_json::{Value, json};
use strake_agent::overlay::cidr::Cidr;

fn named(name: &str, network: &str, vni: u32, allow: &[&str]) -> Value {
    let backend = json!({"Type": "vxlan", "VNI": vni});
    json!({"name": name, "network": {"Network": network, "Backend": backend}, "allow": allow})
}

fn give(node: &Node, networks: &[Value]) {
    let path = node.path("etc/strake/overlay.json");
    let text = fs::read_to_string(&path).expect("settings");
    let mut settings: Value = serde_json::from_str(&text).expect("JSON");
    settings["networks"] = json!(networks);
    fs::write(path, settings.to_string()).expect("written");
}

/// The machine's subnet of a network with a name, once it has one.
async fn subnet(nodes: &[&Node], index: usize, name: &str) -> Cidr {
    until(&format!("a subnet of {name}"), nodes, async || {
        let status = nodes[index].status();
        let subnet = status["named"][name]["subnets"]["v4"].as_str();
        let subnet = subnet.and_then(|text| text.parse().ok());
        subnet.ok_or_else(|| status.to_string())
    })
    .await
}

/// A network namespace behind the machine's own, at the ninth address of the subnet.
struct Container {
    name: String,
    socket: UdpSocket,
}

impl Container {
    fn new(node: &Node, network: &str, subnet: Cidr) -> Container {
        let (number, length) = (node.number, subnet.length());
        let name = format!("strakec{}-{number}-{network}", std::process::id());
        let (gateway, address) = (subnet.host(1), subnet.host(9));
        must(&format!("netns add {name}"));
        let device = format!("c-{network}");
        node.must(&format!(
            "link add {device} type veth peer name eth0 netns {name}"
        ));
        node.must(&format!("address add {gateway}/{length} dev {device}"));
        node.must(&format!("link set {device} up"));
        must(&format!(
            "-n {name} address add {address}/{length} dev eth0"
        ));
        must(&format!("-n {name} link set eth0 up"));
        must(&format!("-n {name} route add default via {gateway}"));
        Container {
            socket: socket(&name, address),
            name,
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// Neither hears the other, though each would answer.
fn are_apart(one: &Container, other: &Container) -> Result<(), String> {
    for (from, to) in [(one, other), (other, one)] {
        let address = to.socket.local_addr().map_err(|error| error.to_string())?;
        // What was on its way before.
        while to.socket.recv(&mut [0; 2048]).is_ok() {}
        let _ = from.socket.send_to(b"are you there?", address);
        if to.socket.recv(&mut [0; 2048]).is_ok() {
            return Err(format!("{} hears {}", to.name, from.name));
        }
    }
    Ok(())
}

#[tokio::test]
async fn networks_are_apart_until_their_pair_is_allowed() {
    if !has_nft() {
        eprintln!("SKIPPED: no nft on this host");
        return;
    }
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let mut nodes: Vec<Node> = (1..=2).map(|number| net.node(number)).collect();
    let networks = |allow: &[&str]| {
        [
            named("db", "10.6.0.0/16", 2, allow),
            named("web", "10.7.0.0/16", 3, &[]),
        ]
    };
    for node in &mut nodes {
        give(node, &networks(&[]));
        node.start();
    }
    let all: Vec<&Node> = nodes.iter().collect();
    let mut containers = Vec::new();
    for (name, index) in [("db", 0), ("db", 1), ("web", 0), ("web", 1)] {
        let subnet = subnet(&all, index, name).await;
        containers.push(Container::new(all[index], name, subnet));
    }
    let [db_one, db_two, web_one, web_two] = &containers[..] else {
        unreachable!("there are four");
    };
    let within = async || {
        answers(&db_one.socket, &db_two.socket)?;
        answers(&web_one.socket, &web_two.socket)
    };
    until("each network is whole", &all, within).await;
    let apart = async || {
        are_apart(db_one, web_one)?;
        are_apart(db_one, web_two)?;
        are_apart(web_one, db_two)
    };
    until("the networks are apart", &all, apart).await;
    // Somebody else's firewall starts anew and throws everything away.
    for node in &all {
        node.exec("nft", "flush ruleset");
    }
    until("the networks are apart again", &all, apart).await;
    until("each network is still whole", &all, within).await;
    let devices = all[0].must("-brief link show type vxlan");
    for device in ["flannel.1", "flannel.2", "flannel.3"] {
        assert!(devices.contains(device), "{devices}");
    }
    let env = fs::read_to_string(all[0].path("run/flannel/networks/db.env")).expect("its file");
    assert!(env.contains("FLANNEL_NETWORK=10.6.0.0/16\n"), "{env}");
    let list = all[0].path("etc/cni/net.d/20-strake-db.conflist");
    let list = fs::read_to_string(list).expect("CNI's list");
    assert!(
        list.contains("\"strake-db\"") && list.contains("\"ov-db\""),
        "{list}"
    );

    for node in &mut nodes {
        node.kill();
        give(node, &networks(&["web"]));
        node.start();
    }
    let all: Vec<&Node> = nodes.iter().collect();
    until("the pair that is allowed talks", &all, async || {
        answers(&db_one.socket, &web_one.socket)?;
        answers(&db_one.socket, &web_two.socket)?;
        answers(&web_one.socket, &db_two.socket)
    })
    .await;
    // What docker drops between its bridges would be dropped after these.
    let docker = "add table ip filter; add chain ip filter DOCKER-USER; \
                  add rule ip filter DOCKER-USER ip saddr 192.0.2.1 drop";
    all[0].exec("nft", docker);
    until("docker's chain lets the pair pass", &all, async || {
        let chain = all[0].exec("nft", "list chain ip filter DOCKER-USER");
        let rules = [
            "10.6.0.0/16 ip daddr 10.7.0.0/16",
            "10.7.0.0/16 ip daddr 10.6.0.0/16",
        ];
        let is_right = rules.iter().all(|rule| {
            let rule = format!("ip saddr {rule} accept");
            chain.matches(&rule).count() == 1
        });
        let is_whole = chain.contains("192.0.2.1");
        (is_right && is_whole).then_some(()).ok_or(chain)
    })
    .await;
    until("the status tells of the network", &all, async || {
        let table = all[0].table();
        let row = table.lines().find(|line| line.starts_with("db"));
        let is_told = row.is_some_and(|row| row.contains("joined") && row.contains("10.6."));
        is_told.then_some(()).ok_or(table)
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_one_network_is_told_and_harms_no_other() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let mut nodes: Vec<Node> = (1..=2).map(|number| net.node(number)).collect();
    for node in &mut nodes {
        give(
            node,
            &[
                named("db", "10.6.0.0/16", 2, &["nobody"]),
                named("Bad_Name", "10.7.0.0/16", 3, &[]),
                named("db", "10.8.0.0/16", 4, &[]),
                named("wide", "10.4.0.0/14", 5, &[]),
                named("same-vni", "10.9.0.0/16", 2, &[]),
                json!({"name": "unwritten"}),
            ],
        );
        node.must("route add 10.6.250.0/24 dev lo");
        node.start();
    }
    let all: Vec<&Node> = nodes.iter().collect();
    net.joined(&all).await;
    subnet(&all, 0, "db").await;
    until("all that is wrong is told", &all, async || {
        let status = all[0].status();
        let problem = |pointer: &str| {
            status
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("")
        };
        let told = [
            ("/problems/network Bad_Name", "small letters"),
            ("/problems/network db", "\"nobody\""),
            (
                "/named/wide/problems/joining",
                "overlaps 10.5.0.0/16 of the network default",
            ),
            (
                "/named/same-vni/problems/joining",
                "VNI 2 is also that of the network db",
            ),
            (
                "/named/unwritten/problems/joining",
                "/coreos.com/network/unwritten/config is missing",
            ),
            ("/named/db/problems/routes", "10.6.250.0/24"),
        ];
        for (pointer, text) in told {
            if !problem(pointer).contains(text) {
                return Err(format!("{pointer}: {:?}\n{status:#}", problem(pointer)));
            }
        }
        Ok(())
    })
    .await;
    let log = all[0].log();
    let line = "strake: overlay network wide: joining: its range 10.4.0.0/14 overlaps";
    assert!(log.contains(line), "{log}");
    let leases = net.joined(&all).await;
    let sockets = [0, 1].map(|index: usize| all[index].container(&leases[index]));
    until("the network without a name works", &all, async || {
        answers(&sockets[0], &sockets[1])
    })
    .await;
}

/// What a check finds of the only peer, by network.
fn faults(node: &Node, more: &[&str]) -> (Option<i32>, Vec<(String, Value)>) {
    let (code, found) = node.findings(more);
    let fault = |one: Value| {
        (
            one["network"].as_str().unwrap_or("").to_string(),
            one["fault"].clone(),
        )
    };
    (code, found.into_iter().map(fault).collect())
}

#[tokio::test]
async fn every_network_is_checked_shown_and_counted() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let mut nodes: Vec<Node> = (1..=2).map(|number| net.node(number)).collect();
    let flat = json!({"Network": "10.8.0.0/16", "Backend": {"Type": "host-gw"}});
    let flat = json!({"name": "flat", "network": flat});
    for node in &mut nodes {
        give(node, &[named("db", "10.6.0.0/16", 2, &[]), flat.clone()]);
        node.start();
    }
    let all: Vec<&Node> = nodes.iter().collect();
    net.joined(&all).await;
    let names = ["default", "db", "flat"];
    until("every network is well", &all, async || {
        let (code, found) = faults(all[0], &[]);
        let is_right = code == Some(0)
            && found.iter().map(|(name, _)| name.as_str()).eq(names)
            && found.iter().all(|(_, fault)| fault.is_null());
        is_right.then_some(()).ok_or(format!("{code:?} {found:?}"))
    })
    .await;
    let table = all[0].table_of("db");
    let is_whole = ["subnet", "10.6.", "flannel.2", "ANSWERS", "192.168.77.2"];
    assert!(is_whole.iter().all(|part| table.contains(part)), "{table}");
    until("every network is counted", &all, async || {
        let told = all[0].figures();
        let is_counted = names.iter().all(|name| {
            let joined = format!("strake_overlay_joined{{network=\"{name}\"}} 1");
            let way = if *name == "flat" { "direct" } else { "tunnel" };
            let peers = format!("strake_overlay_peers{{network=\"{name}\",way=\"{way}\"}} 1");
            told.contains(&joined) && told.contains(&peers)
        });
        is_counted.then_some(()).ok_or(told)
    })
    .await;

    // What the second machine sends vanishes when it is large; four bytes are for a VLAN's tag.
    must("link set p2 mtu 1300");
    let (code, found) = faults(all[0], &[]);
    let sizes: Vec<u64> = found
        .iter()
        .filter_map(|(_, fault)| fault["back"].as_u64())
        .collect();
    assert_eq!(
        (code, sizes),
        (Some(1), vec![1254, 1254, 1304]),
        "{found:?}"
    );
    let (code, found) = faults(all[0], &["--network", "flat"]);
    assert_eq!(
        (code, found.len(), found[0].0.as_str()),
        (Some(1), 1, "flat")
    );
    let told = all[0].check_table();
    // Of what goes there the host's bridge may let four bytes less pass.
    assert!(told.contains("set the uplinks' MTU to 130"), "{told}");
    must("link set p2 mtu 1500");

    nodes[1].kill();
    let told = nodes[0].status();
    let answer = |network: &Value| network["answers"].as_object().map(|all| all.len());
    assert_eq!(answer(&told), Some(1), "{told}");
    for network in [&told, &told["named"]["db"], &told["named"]["flat"]] {
        let answers = network["answers"].as_object().cloned().unwrap_or_default();
        assert!(answers.values().all(Value::is_null), "{network}");
    }
}

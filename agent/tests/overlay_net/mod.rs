//! Machines as network namespaces on one switch, each with the built `strake overlay run`, a real
//! etcd beside the switch, and the kernel's own vxlan between them.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

mod knows;
mod node;
mod space;

use std::borrow::Borrow;
use std::net::UdpSocket;

use serde_json::{Value, json};
use strake_agent::overlay::lease::Lease;
use strake_agent::store::{Entry, Store as _, read_all};

pub(crate) use knows::{all_know_all, answers, expected, seen_from, until};
pub(crate) use node::Node;
pub(crate) use space::{has_nft, must, socket};

use crate::real_etcd::Server;

pub(crate) const SWITCH: &str = "192.168.77.254";
pub(crate) const SWITCH_V6: &str = "fd77::fffe";
pub(crate) const SUBNETS: &str = "/coreos.com/network/subnets/";

pub(crate) fn vxlan() -> Value {
    json!({"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}})
}

/// The switch, in a namespace that this thread is in and that ends with it.
pub(crate) struct Net {
    pub(crate) etcd: Server,
    config: Value,
    tag: String,
}

impl Net {
    pub(crate) async fn new(config: Value) -> Option<Net> {
        if let Err(why) = space::enter_new() {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        must("link set lo up");
        must("link add br0 type bridge");
        let has_v4 = has_v4(&config);
        if has_v4 {
            must(&format!("address add {SWITCH}/24 dev br0"));
        }
        must(&format!("address add {SWITCH_V6}/64 dev br0 nodad"));
        must("link set br0 up");
        let inode = nix::sys::stat::stat("/proc/thread-self/ns/net").expect("a namespace");
        Some(Net {
            etcd: Server::start_on(if has_v4 { SWITCH } else { SWITCH_V6 }).await?,
            config,
            tag: format!("strake{}", inode.st_ino),
        })
    }

    /// A machine that has not started anything yet.
    pub(crate) fn node(&self, number: u8) -> Node {
        let settings = json!({
            "interface": "eth0",
            "network": self.config,
            "masquerade": has_nft(),
        });
        let node = Node::new(
            number,
            format!("{}-{number}", self.tag),
            &self.etcd.settings().endpoints,
            &settings,
        );
        self.plug(&node);
        node
    }

    /// Machines with numbers from one on that all run, and the lease of each.
    pub(crate) async fn running(&self, count: u8) -> (Vec<Node>, Vec<Lease>) {
        let mut nodes: Vec<Node> = (1..=count).map(|number| self.node(number)).collect();
        nodes.iter_mut().for_each(Node::start);
        let leases = self.joined(&nodes).await;
        (nodes, leases)
    }

    /// A cable to the switch, and addresses at its end.
    pub(crate) fn plug(&self, node: &Node) {
        let number = node.number;
        let port = format!("p{number}");
        must(&format!(
            "link add {port} type veth peer name eth0 netns {}",
            node.name
        ));
        must(&format!("link set {port} master br0 up"));
        node.must("link set eth0 up");
        if has_v4(&self.config) {
            node.must(&format!("address add {}/24 dev eth0", node.address()));
        }
        node.must(&format!("address add fd77::{number}/64 dev eth0 nodad"));
    }

    pub(crate) async fn leases(&self) -> Vec<Entry> {
        let store = self.etcd.store().await;
        let all = read_all(&store, SUBNETS).await.expect("an answer");
        all.entries
    }

    /// The lease of each machine, once all have one.
    pub(crate) async fn joined<N: Borrow<Node>>(&self, nodes: &[N]) -> Vec<Lease> {
        until("every machine has a lease", nodes, async || {
            let entries = self.leases().await;
            let leases: Vec<Lease> = entries.iter().filter_map(lease_of).collect();
            let of = |node: &N| {
                let id = node.borrow().id();
                let own = leases
                    .iter()
                    .find(|lease| lease.machine.as_ref() == Some(&id));
                own.cloned()
            };
            let found: Vec<Lease> = nodes.iter().filter_map(of).collect();
            (found.len() == nodes.len())
                .then_some(found)
                .ok_or(format!("{leases:?}"))
        })
        .await
    }

    /// Ends a machine's lease as if its time were over.
    pub(crate) async fn end(&self, lease: &Lease) {
        let entries = self.leases().await;
        let of = |entry: &&Entry| lease_of(entry).is_some_and(|one| one.subnets == lease.subnets);
        let term = entries.iter().find(of).and_then(|entry| entry.lease);
        let store = self.etcd.store().await;
        let done = store.revoke(term.expect("a lease object")).await;
        done.expect("revoked");
    }
}

/// Whether machines have addresses of IPv4 at all.
fn has_v4(config: &Value) -> bool {
    config["EnableIPv4"] != json!(false)
}

/// A socket in a container of each machine.
pub(crate) fn containers<N: Borrow<Node>>(nodes: &[N], leases: &[Lease]) -> Vec<UdpSocket> {
    let pairs = nodes.iter().zip(leases);
    let all = pairs.map(|(node, lease)| node.borrow().container(lease));
    all.collect()
}

pub(crate) fn lease_of(entry: &Entry) -> Option<Lease> {
    let name = entry.key.strip_prefix(SUBNETS)?;
    Lease::parse(name, &entry.value).ok()
}

//! What the overlay does when something it needs is away for a while: the store, which is followed
//! on from where it was or read anew when it has forgotten what happened meanwhile; and the uplink.

mod overlay_net;
mod real_etcd;

use overlay_net::{Net, Node, all_know_all, answers, containers, must, until, vxlan};
use strake_agent::overlay::lease::Lease;
use strake_agent::store::Store;

const ON: &str = "following the store on from revision";
const ANEW: &str = "reading all leases again";

async fn well(nodes: &[Node]) {
    until("all is well again", nodes, async || {
        let status = nodes[0].status();
        let problems = status["problems"].as_object();
        let is_well = problems.is_some_and(|all| all.is_empty());
        is_well.then_some(()).ok_or(status.to_string())
    })
    .await;
}

/// Between the first machine and everybody, the store also. An outage of before is over.
async fn cut(node: &Node) {
    well(std::slice::from_ref(node)).await;
    must("link set p1 down");
    until("the outage is told", &[node], async || {
        let status = node.status();
        let is_told = status["problems"]["store"].is_string();
        is_told.then_some(()).ok_or(status.to_string())
    })
    .await;
}

/// Ends the lease of a machine that is gone; the revision afterwards.
async fn end(net: &Net, lease: &Lease) -> i64 {
    net.end(lease).await;
    let store = net.etcd.store().await;
    let list = store.list(overlay_net::SUBNETS, None, None).await;
    list.expect("an answer").revision
}

fn count(node: &Node, line: &str) -> usize {
    node.log().matches(line).count()
}

#[tokio::test]
async fn an_outage_is_caught_up_with_also_after_a_compaction() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (mut nodes, leases) = net.running(4).await;
    all_know_all(&nodes, &leases).await;
    nodes[2].kill();
    nodes[3].kill();

    // The store remembers: the end of a lease is heard of afterwards.
    cut(&nodes[0]).await;
    end(&net, &leases[3]).await;
    must("link set p1 up");
    let one = &nodes[..1];
    all_know_all(one, &leases[..3]).await;
    assert!(count(&nodes[0], ON) > 0, "{}", nodes[0].log());
    assert_eq!(count(&nodes[0], ANEW), 0, "{}", nodes[0].log());

    // It does not: everything is read again.
    cut(&nodes[0]).await;
    let revision = end(&net, &leases[2]).await;
    let endpoints = net.etcd.settings().endpoints;
    let client = etcd_client::Client::connect(&endpoints, None).await;
    let mut client = client.expect("a client").kv_client();
    client.compact(revision, None).await.expect("compacted");
    must("link set p1 up");
    all_know_all(one, &leases[..2]).await;
    assert_eq!(count(&nodes[0], ANEW), 1, "{}", nodes[0].log());
    well(one).await;
}

#[tokio::test]
async fn an_uplink_that_vanishes_is_told_and_the_others_go_on() {
    let Some(net) = Net::new(vxlan()).await else {
        return;
    };
    let (nodes, leases) = net.running(3).await;
    all_know_all(&nodes, &leases).await;
    let sockets = containers(&nodes, &leases);
    must("link del p1");
    until("the missing uplink is told", &nodes, async || {
        let told = nodes[0].status()["problems"]["uplink"].to_string();
        let expected = "eth0 is gone, down or without an address";
        told.contains(expected).then_some(()).ok_or(told)
    })
    .await;
    answers(&sockets[1], &sockets[2]).expect("an answer between the others");
    all_know_all(&nodes[1..], &leases).await;
    net.plug(&nodes[0]);
    all_know_all(&nodes, &leases).await;
    until("containers reach each other", &nodes, async || {
        answers(&sockets[0], &sockets[1])
    })
    .await;
    well(&nodes).await;
}

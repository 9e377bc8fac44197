//! What holds once the overlay has done its work, and waiting for it.

use std::borrow::Borrow;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use strake_agent::overlay::lease::Lease;

use super::Node;

const LIMIT: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(50);

/// What the kernel of one machine has to know of the others, and nothing else.
pub(crate) fn expected(peers: &[&Lease]) -> Vec<String> {
    let mut lines = Vec::new();
    for lease in peers {
        let subnet = lease.subnets.v4.expect("IPv4");
        let (first, mac) = (subnet.address(), lease.v4.mac.expect("a hardware address"));
        let to = lease.public_v4.expect("an address");
        lines.push(format!(
            "route {subnet} via {first} dev flannel.1 proto 91 onlink"
        ));
        lines.push(format!("neighbour {first} lladdr {mac} PERMANENT"));
        lines.push(format!("forwarding {mac} dst {to} self permanent"));
    }
    lines.sort();
    lines
}

/// Whether a packet comes through, and one comes back.
pub(crate) fn answers(one: &UdpSocket, other: &UdpSocket) -> Result<(), String> {
    let error = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let mut bytes = [0; 2048];
    let payload = [7; 1200];
    for (from, to) in [(one, other), (other, one)] {
        let address = to.local_addr().map_err(error("address"))?;
        from.send_to(&payload, address).map_err(error("sending"))?;
        let received = to.recv(&mut bytes).map_err(error("receiving"))?;
        if received != payload.len() {
            return Err(format!("{received} bytes came"));
        }
    }
    Ok(())
}

/// Who a packet from there seems to come from.
pub(crate) fn seen_from(from: &UdpSocket, at: &UdpSocket) -> Result<IpAddr, String> {
    let error = |error: std::io::Error| error.to_string();
    let address = at.local_addr().map_err(error)?;
    from.send_to(b"who am I", address).map_err(error)?;
    let (_, seen) = at.recv_from(&mut [0; 64]).map_err(error)?;
    Ok(seen.ip())
}

/// Asks until it holds, and shows the last answer and all logs when it never does.
pub(crate) async fn until<T, N: Borrow<Node>>(
    what: &str,
    nodes: &[N],
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(last) if start.elapsed() > LIMIT => {
                let logs = nodes.iter().map(N::borrow).take(4);
                let logs: Vec<String> = logs
                    .map(|node| format!("--- {}\n{}", node.number, node.log()))
                    .collect();
                panic!("{what}: {last}\n{}", logs.join("\n"));
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Waits until each machine's kernel knows exactly the others.
pub(crate) async fn all_know_all<N: Borrow<Node>>(nodes: &[N], leases: &[Lease]) {
    for node in nodes.iter().map(N::borrow) {
        let others = leases
            .iter()
            .filter(|lease| lease.machine != Some(node.id()));
        let wanted = expected(&others.collect::<Vec<_>>());
        until("the kernel is as the leases say", nodes, async || {
            let has = node.kernel();
            (has == wanted)
                .then_some(())
                .ok_or_else(|| format!("machine {}:\n{has:#?}\nwanted:\n{wanted:#?}", node.number))
        })
        .await;
    }
}

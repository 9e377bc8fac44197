//! What the overlay service counts.

use std::time::Duration;

use super::report::{PeerWay, State, Status};
use crate::metrics::{Counter, Gauge, Histogram, Registry};

#[derive(Debug)]
pub struct Figures {
    joined: Gauge,
    joins: Counter,
    peers: [(PeerWay, Gauge); 3],
    problems: Gauge,
    mtu: Gauge,
    renewed: Gauge,
    done: Counter,
    failed: Counter,
    compared: Histogram,
}

impl Figures {
    pub fn new(registry: &Registry) -> Figures {
        let gauge = |name, help| registry.gauge(name, help, &[]);
        let peers = |way: PeerWay| {
            let help = "Machines with a lease, by how they are reached.";
            let labels = [("way", way.word())];
            (way, registry.gauge("strake_overlay_peers", help, &labels))
        };
        let changes = |result: &str| {
            let help = "Routes, neighbours and forwarding entries put into the kernel or removed.";
            registry.counter("strake_overlay_changes_total", help, &[("result", result)])
        };
        Figures {
            joined: gauge(
                "strake_overlay_joined",
                "1 while this machine has its subnet from the store.",
            ),
            joins: registry.counter(
                "strake_overlay_joins_total",
                "Times that this machine has joined the network.",
                &[],
            ),
            peers: [PeerWay::Tunnel, PeerWay::Direct, PeerWay::Ignored].map(peers),
            problems: gauge(
                "strake_overlay_problems",
                "Subjects of `strake overlay status` with a problem.",
            ),
            mtu: gauge(
                "strake_overlay_mtu_bytes",
                "Largest packets of the overlay, in bytes.",
            ),
            renewed: gauge(
                "strake_overlay_lease_renewed_timestamp_seconds",
                "When the lease began anew; 0: not since the service started.",
            ),
            done: changes("done"),
            failed: changes("failed"),
            compared: registry.histogram(
                "strake_overlay_compare_seconds",
                "Time one comparison of the kernel with the leases took, in seconds.",
                &[],
            ),
        }
    }

    pub fn join(&self) {
        self.joins.inc();
    }

    pub fn changed(&self, all: usize, failed: usize) {
        self.failed.add(failed as u64);
        self.done.add((all - failed) as u64);
    }

    pub fn compare(&self, took: Duration) {
        self.compared.observe(took);
    }

    pub fn tell(&self, status: &Status) {
        let joined = usize::from(status.state == State::Joined);
        self.joined.set_count(joined);
        for (way, gauge) in &self.peers {
            let reached = status.peers.iter().filter(|peer| peer.way == *way);
            gauge.set_count(reached.count());
        }
        self.problems.set_count(status.problems.len());
        self.mtu.set(status.mtu.unwrap_or_default().into());
        let renewed = status.lease_renewed.map_or(0, |at| at.unix());
        self.renewed.set(renewed as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_the_status() {
        let registry = Registry::default();
        let figures = Figures::new(&registry);
        figures.changed(5, 2);
        let status = Status {
            state: State::Joined,
            mtu: Some(1450),
            problems: [("store".to_string(), "silent".to_string())].into(),
            ..Status::default()
        };
        figures.tell(&status);
        let text = registry.text();
        for line in [
            "strake_overlay_joined 1",
            "strake_overlay_problems 1",
            "strake_overlay_mtu_bytes 1450",
            "strake_overlay_changes_total{result=\"done\"} 3",
            "strake_overlay_changes_total{result=\"failed\"} 2",
            "strake_overlay_peers{way=\"tunnel\"} 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}

//! What the overlay service counts, for each network by its name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kernel::{Connection, Counters};
use super::report::{PeerWay, State, Status};
use crate::metrics::{Counter, Gauge, Histogram, Registry};

/// As long as a session of wireguard lasts, in seconds.
const ALIVE: u64 = 180;

#[derive(Debug)]
pub struct Figures {
    joined: Gauge,
    joins: Counter,
    peers: [(PeerWay, Gauge); 3],
    connected: Gauge,
    oldest_handshake: Gauge,
    newest_handshake: Gauge,
    problems: Gauge,
    mtu: Gauge,
    renewed: Gauge,
    done: Counter,
    failed: Counter,
    compared: Histogram,
    packets: [Counter; 2],
    drops: [Counter; 2],
    /// By device, as the kernel told them last.
    devices: BTreeMap<String, Counters>,
}

impl Figures {
    pub fn new(registry: &Registry, network: &str) -> Figures {
        let of = ("network", network);
        let gauge = |name, help| registry.gauge(name, help, &[of]);
        let peers = |way: PeerWay| {
            let help = "Machines with a lease, by how they are reached.";
            let labels = [of, ("way", way.word())];
            (way, registry.gauge("strake_overlay_peers", help, &labels))
        };
        let handshake = |which: &str| {
            let name = "strake_overlay_handshake_timestamp_seconds";
            let help =
                "Of the last handshakes of wireguard's peers the oldest and the newest; 0: none.";
            registry.gauge(name, help, &[of, ("which", which)])
        };
        let changes = |result: &str| {
            let help = "Routes, neighbours and forwarding entries put into the kernel or removed.";
            let labels = [of, ("result", result)];
            registry.counter("strake_overlay_changes_total", help, &labels)
        };
        let both = |name, help| {
            let one = |direction| registry.counter(name, help, &[of, ("direction", direction)]);
            ["in", "out"].map(one)
        };
        Figures {
            joined: gauge(
                "strake_overlay_joined",
                "1 while this machine has its subnet from the store.",
            ),
            joins: registry.counter(
                "strake_overlay_joins_total",
                "Times that this machine has joined the network.",
                &[of],
            ),
            peers: [PeerWay::Tunnel, PeerWay::Direct, PeerWay::Ignored].map(peers),
            connected: gauge(
                "strake_overlay_peers_connected",
                "Peers of wireguard whose last handshake is less than 180 s ago.",
            ),
            oldest_handshake: handshake("oldest"),
            newest_handshake: handshake("newest"),
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
                &[of],
            ),
            packets: both(
                "strake_overlay_packets_total",
                "Packets through the tunnel's devices.",
            ),
            drops: both(
                "strake_overlay_drops_total",
                "Packets that the tunnel's devices dropped.",
            ),
            devices: BTreeMap::new(),
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

    /// What a device has counted since it was made.
    pub fn device(&mut self, name: &str, now: Counters) {
        let before = self.devices.insert(name.to_string(), now);
        // What was counted before this service began is not its own to tell.
        let Some(before) = before else {
            return;
        };
        let add = |counter: &Counter, of: fn(&Counters) -> u64| {
            // A device that was made anew counts from the start.
            counter.add(of(&now).checked_sub(of(&before)).unwrap_or(of(&now)));
        };
        let [received, sent] = &self.packets;
        add(received, |counters| counters.received_packets);
        add(sent, |counters| counters.sent_packets);
        let [received, sent] = &self.drops;
        add(received, |counters| counters.receive_drops);
        add(sent, |counters| counters.send_drops);
    }

    /// Peers of wireguard; `now` in seconds since 1970.
    pub fn connections(&self, all: &[Connection], now: u64) {
        let times = all.iter().filter_map(|one| one.last_handshake);
        let is_alive = |at: &u64| now.checked_sub(*at).is_none_or(|ago| ago < ALIVE);
        self.connected
            .set_count(times.clone().filter(is_alive).count());
        let set = |gauge: &Gauge, at: Option<u64>| gauge.set(at.unwrap_or_default() as f64);
        set(&self.oldest_handshake, times.clone().min());
        set(&self.newest_handshake, times.max());
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
    use crate::overlay::wire::PublicKey;

    #[track_caller]
    fn has(registry: &Registry, lines: &[&str]) {
        let text = registry.text();
        for line in lines {
            assert!(text.lines().any(|one| one == *line), "{line}\n{text}");
        }
    }

    #[test]
    fn figures_follow_the_status_of_their_network() {
        let registry = Registry::default();
        let figures = Figures::new(&registry, "default");
        let other = Figures::new(&registry, "db");
        figures.changed(5, 2);
        let status = Status {
            state: State::Joined,
            mtu: Some(1450),
            problems: [("store".to_string(), "silent".to_string())].into(),
            ..Status::default()
        };
        figures.tell(&status);
        other.tell(&Status::default());
        let lines = [
            r#"strake_overlay_joined{network="default"} 1"#,
            r#"strake_overlay_joined{network="db"} 0"#,
            r#"strake_overlay_problems{network="default"} 1"#,
            r#"strake_overlay_mtu_bytes{network="default"} 1450"#,
            r#"strake_overlay_changes_total{network="default",result="done"} 3"#,
            r#"strake_overlay_changes_total{network="default",result="failed"} 2"#,
            r#"strake_overlay_peers{network="default",way="tunnel"} 0"#,
        ];
        has(&registry, &lines);
    }

    #[test]
    fn drops_are_counted_from_the_start_of_the_service_and_beyond_a_new_device() {
        let registry = Registry::default();
        let mut figures = Figures::new(&registry, "db");
        let drops = |receive_drops| Counters {
            receive_drops,
            ..Counters::default()
        };
        for (counted, told) in [(7, 0), (9, 2), (1, 3)] {
            figures.device("flannel.2", drops(counted));
            let line =
                format!(r#"strake_overlay_drops_total{{network="db",direction="in"}} {told}"#);
            has(&registry, &[&line]);
        }
    }

    #[test]
    fn handshakes_of_wireguard_are_told_by_their_age() {
        let registry = Registry::default();
        let figures = Figures::new(&registry, "default");
        let connection = |key, last_handshake| Connection {
            device: "flannel-wg".to_string(),
            key: PublicKey([key; 32]),
            endpoint: None,
            last_handshake,
            received_bytes: 0,
            sent_bytes: 0,
        };
        let all = [
            connection(1, Some(1000)),
            connection(2, None),
            connection(3, Some(1300)),
        ];
        figures.connections(&all, 1310);
        let oldest =
            r#"strake_overlay_handshake_timestamp_seconds{network="default",which="oldest"}"#;
        let newest =
            r#"strake_overlay_handshake_timestamp_seconds{network="default",which="newest"}"#;
        let connected = r#"strake_overlay_peers_connected{network="default"} 1"#;
        has(
            &registry,
            &[
                connected,
                &format!("{oldest} 1000"),
                &format!("{newest} 1300"),
            ],
        );
        figures.connections(&[], 1310);
        has(&registry, &[&format!("{oldest} 0"), &format!("{newest} 0")]);
    }
}

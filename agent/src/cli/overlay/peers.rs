//! The peers' table of `strake overlay status`.

use strake_updates::time::Timestamp;

use super::super::output::columns;
use super::status::Shown;
use crate::overlay::kernel::Connection;
use crate::overlay::report::Peer;

pub(super) fn table(shown: &Shown, now: Timestamp) -> String {
    let (status, wireguard) = (&shown.status, &shown.wireguard);
    let is_wireguard = status.backend.as_deref() == Some("wireguard");
    let mut head = vec!["SUBNET", "ADDRESS", "WAY", "ANSWERS"];
    if is_wireguard {
        head.extend(["HANDSHAKE", "RECEIVED", "SENT"]);
    }
    head.push("MACHINE");
    let mut rows: Vec<Vec<String>> = vec![head.into_iter().map(str::to_string).collect()];
    for peer in &status.peers {
        let way = match &peer.why {
            Some(why) => format!("{}: {why}", peer.way.word()),
            None => peer.way.word().to_string(),
        };
        let answer = match shown.answers.get(&peer.subnet) {
            Some(Some(time)) => format!("{time:.1} ms"),
            Some(None) => "no".to_string(),
            None => "-".to_string(),
        };
        let mut row = vec![peer.subnet.clone(), addresses(peer), way, answer];
        if is_wireguard {
            row.extend(connected(peer, wireguard, now));
        }
        let machine = peer.machine.as_deref().unwrap_or("-");
        row.push(machine.get(..8).unwrap_or(machine).to_string());
        rows.push(row);
    }
    columns(&rows)
}

fn addresses(peer: &Peer) -> String {
    match peer.public_addresses.is_empty() {
        true => "-".to_string(),
        false => peer.public_addresses.join(", "),
    }
}

/// Its last handshake and what was transferred: with two devices, the later one and the sums.
fn connected(peer: &Peer, wireguard: &[Connection], now: Timestamp) -> [String; 3] {
    let key = peer.public_key.as_deref();
    let own: Vec<&Connection> = wireguard
        .iter()
        .filter(|one| key == Some(one.key.to_string().as_str()))
        .collect();
    if own.is_empty() {
        return ["-", "-", "-"].map(str::to_string);
    }
    let last = own.iter().filter_map(|one| one.last_handshake).max();
    let handshake = match last {
        Some(at) => format!("{} s ago", now.unix().saturating_sub(at)),
        None => "never".to_string(),
    };
    let bytes = |of: fn(&Connection) -> u64| {
        let sum: u64 = own.iter().map(|one| of(one)).sum();
        format!("{sum} bytes")
    };
    [
        handshake,
        bytes(|one| one.received_bytes),
        bytes(|one| one.sent_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::report::{PeerWay, Status};
    use crate::overlay::wire::PublicKey;

    fn peer(key: u8) -> Peer {
        Peer {
            subnet: format!("10.5.{key}.0/24"),
            subnets: None,
            public_addresses: vec![format!("192.168.0.{key}")],
            machine: Some("0123456789abcdef".to_string()),
            public_key: Some(PublicKey([key; 32]).to_string()),
            way: PeerWay::Tunnel,
            why: None,
        }
    }

    #[test]
    fn a_connection_is_shown_beside_its_peer_and_only_with_wireguard() {
        let status = Status {
            backend: Some("wireguard".to_string()),
            peers: vec![peer(2), peer(3), peer(4)],
            ..Status::default()
        };
        let connection = |last_handshake, received_bytes| Connection {
            device: "flannel-wg".to_string(),
            key: PublicKey([2; 32]),
            endpoint: None,
            last_handshake,
            received_bytes,
            sent_bytes: 7,
        };
        let mut shown = Shown {
            status,
            counters: Vec::new(),
            wireguard: vec![connection(Some(1000), 90), connection(None, 10)],
            answers: [
                ("10.5.2.0/24".to_string(), Some(0.37)),
                ("10.5.3.0/24".to_string(), None),
            ]
            .into(),
        };
        let told = table(&shown, Timestamp::from_unix(1012));
        let words: Vec<Vec<&str>> = told
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let expected = [
            "SUBNET ADDRESS WAY ANSWERS HANDSHAKE RECEIVED SENT MACHINE",
            "10.5.2.0/24 192.168.0.2 tunnel 0.4 ms 12 s ago 100 bytes 14 bytes 01234567",
            "10.5.3.0/24 192.168.0.3 tunnel no - - - 01234567",
            "10.5.4.0/24 192.168.0.4 tunnel - - - - 01234567",
        ];
        let words: Vec<String> = words.iter().map(|line| line.join(" ")).collect();
        assert_eq!(words, expected);
        shown.status.backend = Some("vxlan".to_string());
        shown.wireguard.clear();
        let told = table(&shown, Timestamp::from_unix(0));
        assert!(!told.contains("HANDSHAKE"), "{told}");
    }
}

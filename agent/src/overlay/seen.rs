//! Which peers answer now, with small packets: for `strake overlay status`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::probe::{Kind, LEAST, PORT, Packet};

/// Whoever has not answered is asked once more.
const TRIES: usize = 2;
const WAIT: Duration = Duration::from_millis(500);

/// How long each answer took. All are asked at once, from one address of this machine.
pub async fn answers(
    own: IpAddr,
    peers: &BTreeSet<IpAddr>,
) -> io::Result<BTreeMap<IpAddr, Duration>> {
    let socket = UdpSocket::bind((own, 0)).await?;
    let mut found = BTreeMap::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    // Of each round its number and when it began.
    let mut rounds: Vec<(u64, Instant)> = Vec::new();
    for _ in 0..TRIES {
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(io::Error::other)?;
        let (number, start) = (u64::from_ne_bytes(number), Instant::now());
        rounds.push((number, start));
        let wanted = LEAST as u16;
        let bytes = Packet {
            kind: Kind::Ask { wanted },
            number,
        }
        .to_bytes(LEAST);
        for peer in peers.iter().filter(|peer| !found.contains_key(*peer)) {
            // One that cannot be sent to does not answer.
            let _ = socket.send_to(&bytes, SocketAddr::new(*peer, PORT)).await;
        }
        while found.len() < peers.len() {
            let Ok(received) = timeout_at(start + WAIT, socket.recv_from(&mut buffer)).await else {
                break;
            };
            // An error is told by a packet sent before: of a peer that does not answer.
            let Ok((length, from)) = received else {
                continue;
            };
            let packet = Packet::parse(&buffer[..length]);
            let round = packet.and_then(|packet| {
                let mut all = rounds.iter();
                all.find(|(number, _)| *number == packet.number)
            });
            if let Some((_, start)) = round.filter(|_| peers.contains(&from.ip())) {
                found.entry(from.ip()).or_insert(start.elapsed());
            }
        }
    }
    Ok(found)
}

//! What goes on with one peer of wireguard.

use std::net::SocketAddr;

use serde::Serialize;

use super::wire::Seen;
use crate::overlay::wire::PublicKey;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connection {
    pub device: String,
    pub key: PublicKey,
    /// Where it is now: it may have moved on since its lease was written.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since 1970; nothing: there was none.
    pub last_handshake: Option<u64>,
    pub received_bytes: u64,
    pub sent_bytes: u64,
}

impl Connection {
    pub(super) fn new(device: &str, peer: &Seen) -> Connection {
        Connection {
            device: device.to_string(),
            key: peer.key,
            endpoint: peer.endpoint,
            last_handshake: peer.last_handshake,
            received_bytes: peer.received_bytes,
            sent_bytes: peer.sent_bytes,
        }
    }
}

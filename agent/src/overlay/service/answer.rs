//! Answering the checks of peers, beside everything else the service does.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::task::Poll;

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::{Joined, Runtimes, Service};
use crate::overlay::check::headers;
use crate::overlay::cidr::Family;
use crate::overlay::config::{Backend, Config};
use crate::overlay::kernel::Kernel;
use crate::overlay::place;
use crate::overlay::probe::PORT;
use crate::store::Store;

/// Errors of one door, told by packets sent before, that are passed over at a time.
const ERRORS: usize = 8;

impl<S: Store, K: Kernel, R: Runtimes> Service<S, K, R> {
    /// Without them only `strake overlay check` of others finds this machine silent.
    pub(super) async fn open_doors(&mut self, config: &Config) -> Vec<UdpSocket> {
        let mut doors = Vec::new();
        let mut problem = None;
        for address in &self.report.status.doors {
            match UdpSocket::bind((*address, PORT)).await {
                Ok(door) => doors.push(door),
                // The machine's own address: another network without a tunnel answers there.
                Err(error)
                    if error.kind() == ErrorKind::AddrInUse
                        && matches!(config.backend, Backend::HostGw) => {}
                Err(error) => problem = Some(format!("{address}:{PORT}: {error}")),
            }
        }
        self.report.problem("answering checks", problem);
        doors
    }
}

/// The next packet of a peer's check, and at which door it came.
pub(super) async fn asked(doors: &[UdpSocket], buffer: &mut [u8]) -> (usize, usize, SocketAddr) {
    poll_fn(|context| {
        for (index, door) in doors.iter().enumerate() {
            for _ in 0..ERRORS {
                let mut read = ReadBuf::new(buffer);
                match door.poll_recv_from(context, &mut read) {
                    Poll::Ready(Ok(from)) => {
                        return Poll::Ready((index, read.filled().len(), from));
                    }
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    })
    .await
}

pub(super) fn answer(joined: &mut Joined, door: usize, bytes: &[u8], from: SocketAddr) {
    let headers = headers(Family::of(from.ip()));
    let mtu = place::mtu(&joined.config, &joined.uplink) as usize;
    let most = mtu.saturating_sub(headers);
    let (peers, now) = (&joined.peers, Instant::now());
    let told = joined.responder.receive((from, bytes), peers, most, now);
    if let Some((to, bytes)) = told {
        // Whoever asks tries again.
        let _ = joined.doors[door].try_send_to(&bytes, to);
    }
}

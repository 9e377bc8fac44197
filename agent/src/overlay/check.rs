//! `strake overlay check`: asks every peer on the overlay's way to it, in both directions with
//! packets of full size, and names what is wrong.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::cidr::{Cidr, Family};
use super::probe::{Kind, LEAST, PORT, Packet};

const TRIES: usize = 3;
const WAIT: Duration = Duration::from_millis(700);
/// Peers that are asked at the same time: each takes a socket.
const AT_ONCE: usize = 256;
/// Others that are asked about a silent peer.
const WITNESSES: usize = 3;
/// A peer that heard this machine so long ago or less has heard this check.
const RECENT: u32 = 30;

/// One peer in one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    pub subnet: Cidr,
    pub public_addresses: Vec<String>,
    /// Where it answers.
    #[serde(skip)]
    pub at: IpAddr,
    /// What the way to it adds to each packet, in bytes.
    #[serde(skip)]
    pub overhead: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    #[serde(flatten)]
    pub target: Target,
    /// Of a small packet and its answer.
    pub milliseconds: Option<f64>,
    /// Largest packets of the overlay, in bytes, that arrive there and here.
    pub largest_out: Option<usize>,
    pub largest_back: Option<usize>,
    pub fault: Option<Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// Small packets pass, and larger ones are lost.
    Size {
        expected: usize,
        out: usize,
        back: usize,
        overhead: usize,
    },
    /// It hears this machine; its answers are lost.
    AnswersLost,
    /// Others reach it, this machine does not.
    NeverHeard,
    /// Others do not reach it either.
    SilentToAll,
    /// There is nobody else to ask.
    Silent,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Size {
                expected,
                out,
                back,
                overhead,
            } => {
                let side = match (out < expected, back < expected) {
                    (true, true) => "both ways",
                    (true, false) => "on the way there only",
                    _ => "on the way back only",
                };
                let least = *out.min(back);
                let path = least + overhead;
                let mend = match overhead {
                    0 => format!("set the uplinks' MTU to {path}"),
                    _ => format!("set Backend.MTU to {path}"),
                };
                write!(
                    f,
                    "packets over {least} bytes are lost {side}: the path's MTU is about {path} \
                     bytes; mend it or {mend}"
                )
            }
            Fault::AnswersLost => f.write_str(
                "it hears this machine, but its answers are lost: a firewall on the way back, or a \
                 route there that leads elsewhere",
            ),
            Fault::NeverHeard => f.write_str(
                "nothing of this machine reaches it, though others do: a firewall between the two \
                 addresses",
            ),
            Fault::SilentToAll => f.write_str(
                "it answers nobody: the machine or its strake-overlay.service is down, or it runs \
                 flannel, which does not answer",
            ),
            Fault::Silent => f.write_str(
                "no answer, and nobody else to ask: the machine is down, a firewall is between the \
                 two, or it runs flannel, which does not answer",
            ),
        }
    }
}

/// What the headers of IP and UDP take of a packet.
pub fn headers(family: Family) -> usize {
    match family {
        Family::V4 => 28,
        Family::V6 => 48,
    }
}

/// This machine's side.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// In the tunnel; without one the uplink's.
    pub own: IpAddr,
    /// Of packets in the overlay.
    pub mtu: usize,
}

/// Each peer at the same time as many others.
pub async fn check(side: Side, targets: Vec<Target>) -> io::Result<Vec<Finding>> {
    let mut all = Vec::new();
    for some in targets.chunks(AT_ONCE) {
        let mut tasks = Vec::new();
        for target in some.iter().cloned() {
            let prober = Prober::new(side, target.at).await?;
            let asking = async move { prober.finding(target).await };
            tasks.push(tokio::task::spawn_local(asking));
        }
        for task in tasks {
            all.push(task.await.map_err(io::Error::other)?);
        }
    }
    let answers = |finding: &&Finding| finding.milliseconds.is_some();
    let answering = all.iter().filter(answers).map(|one| one.target.at);
    let answering: Vec<IpAddr> = answering.collect();
    let answering: Rc<[IpAddr]> = answering.into();
    let mut silent: Vec<&mut Finding> = all
        .iter_mut()
        .filter(|finding| finding.milliseconds.is_none())
        .collect();
    for some in silent.chunks_mut(AT_ONCE) {
        let mut tasks = Vec::new();
        for finding in some {
            let prober = Prober::new(side, finding.target.at).await?;
            let answering = answering.clone();
            let asking = async move { prober.ask_others(&answering).await };
            tasks.push((finding, tokio::task::spawn_local(asking)));
        }
        for (finding, task) in tasks {
            finding.fault = Some(task.await.map_err(io::Error::other)?);
        }
    }
    Ok(all)
}

struct Prober {
    socket: UdpSocket,
    side: Side,
    peer: IpAddr,
}

impl Prober {
    async fn new(side: Side, peer: IpAddr) -> io::Result<Prober> {
        let socket = UdpSocket::bind((side.own, 0)).await?;
        Ok(Prober { socket, side, peer })
    }

    fn full(&self) -> usize {
        self.side.mtu - headers(Family::of(self.peer))
    }

    async fn finding(&self, target: Target) -> Finding {
        let overhead = target.overhead;
        let mut finding = Finding {
            target,
            milliseconds: None,
            largest_out: None,
            largest_back: None,
            fault: None,
        };
        let Some(time) = self.ask(LEAST, LEAST).await else {
            return finding;
        };
        finding.milliseconds = Some(time.as_secs_f64() * 1000.0);
        let out = self.largest(async |size| self.ask(size, LEAST).await).await;
        let back = self.largest(async |size| self.ask(LEAST, size).await).await;
        let headers = headers(Family::of(self.peer));
        let (out, back) = (out + headers, back + headers);
        (finding.largest_out, finding.largest_back) = (Some(out), Some(back));
        let expected = self.side.mtu;
        if out < expected || back < expected {
            finding.fault = Some(Fault::Size {
                expected,
                out,
                back,
                overhead,
            });
        }
        finding
    }

    /// The largest size that passes; the smallest is known to.
    async fn largest(&self, passes: impl AsyncFn(usize) -> Option<Duration>) -> usize {
        if passes(self.full()).await.is_some() {
            return self.full();
        }
        let (mut good, mut bad) = (LEAST, self.full());
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match passes(middle).await {
                Some(_) => good = middle,
                None => bad = middle,
            }
        }
        good
    }

    /// How long it took, when the packet and an answer of that size came through.
    async fn ask(&self, size: usize, wanted: usize) -> Option<Duration> {
        let wanted = u16::try_from(wanted).ok()?;
        for _ in 0..TRIES {
            let start = Instant::now();
            let door = SocketAddr::new(self.peer, PORT);
            let answer = self.exchange(door, Kind::Ask { wanted }, size).await;
            if let Some((Kind::Answer { arrived }, length)) = answer
                && usize::from(arrived) == size
                && length == usize::from(wanted)
            {
                return Some(start.elapsed());
            }
        }
        None
    }

    async fn exchange(&self, to: SocketAddr, kind: Kind, size: usize) -> Option<(Kind, usize)> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).ok()?;
        let number = u64::from_ne_bytes(number);
        let bytes = Packet { kind, number }.to_bytes(size);
        self.socket.send_to(&bytes, to).await.ok()?;
        let until = Instant::now() + WAIT;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let received = timeout_at(until, self.socket.recv_from(&mut buffer)).await;
            // A refusal of an earlier packet is told here as well: not this one's answer.
            let Ok((length, from)) = received.ok()? else {
                continue;
            };
            let packet = Packet::parse(&buffer[..length]);
            if let Some(packet) = packet.filter(|packet| packet.number == number)
                && from.ip() == to.ip()
            {
                return Some((packet.kind, length));
            }
        }
    }

    /// Why this peer is silent, as far as others know.
    async fn ask_others(&self, answering: &[IpAddr]) -> Fault {
        let family = Family::of(self.peer);
        let witnesses = answering.iter().filter(|one| Family::of(**one) == family);
        let mut asked = false;
        for witness in witnesses.take(WITNESSES) {
            asked = true;
            let door = SocketAddr::new(*witness, PORT);
            let told = self.exchange(door, Kind::AskThere(self.peer), LEAST).await;
            if let Some((Kind::HeardAt { ago, .. }, _)) = told {
                return match ago {
                    Some(ago) if ago <= RECENT => Fault::AnswersLost,
                    _ => Fault::NeverHeard,
                };
            }
        }
        match asked {
            true => Fault::SilentToAll,
            false => Fault::Silent,
        }
    }
}

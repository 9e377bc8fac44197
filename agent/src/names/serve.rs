//! The door: DNS over UDP and TCP at one address, and the way to the host's resolver.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::reply::{Reply, Way, reply};
use super::status::Report;
use super::zone::Zone;

/// Between two tries to listen, while the address is not there.
const AGAIN: Duration = Duration::from_secs(1);
/// After an error of a socket that is there.
const PAUSE: Duration = Duration::from_millis(10);
/// For the host's resolver to answer: askers give up after about as long.
const ANSWER: Duration = Duration::from_secs(5);
/// For a connection to say something.
const IDLE: Duration = Duration::from_secs(10);
/// Questions at the host's resolver at the same time.
const QUESTIONS: usize = 512;
const CONNECTIONS: usize = 128;
const LARGEST: usize = u16::MAX as usize;

#[derive(Debug)]
pub struct Door {
    pub zone: watch::Receiver<Arc<Zone>>,
    pub forward: SocketAddr,
    turn: Cell<usize>,
    questions: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Door {
    pub fn new(zone: watch::Receiver<Arc<Zone>>, forward: SocketAddr) -> Door {
        Door {
            zone,
            forward,
            turn: Cell::new(0),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    fn reply(&self, bytes: &[u8], way: Way) -> Reply {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        reply(bytes, &self.zone.borrow(), way, turn)
    }

    async fn datagrams(self: Rc<Door>, socket: UdpSocket) -> ! {
        let socket = Rc::new(socket);
        let mut buffer = vec![0; LARGEST];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                sleep(PAUSE).await;
                continue;
            };
            match self.reply(&buffer[..length], Way::Datagram) {
                Reply::Silence => {}
                // Whoever cannot be sent to is gone.
                Reply::Answer(answer) => drop(socket.send_to(&answer, from).await),
                Reply::Elsewhere(failure) => {
                    let Ok(place) = self.questions.clone().try_acquire_owned() else {
                        let _ = socket.send_to(&failure, from).await;
                        continue;
                    };
                    let (question, forward) = (buffer[..length].to_vec(), self.forward);
                    let socket = socket.clone();
                    spawn_local(async move {
                        let asked = timeout(ANSWER, ask_by_datagram(forward, &question)).await;
                        let answer = asked.ok().and_then(Result::ok).unwrap_or(failure);
                        let _ = socket.send_to(&answer, from).await;
                        drop(place);
                    });
                }
            }
        }
    }

    async fn streams(self: Rc<Door>, listener: TcpListener) -> ! {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            // One that is too many is closed at once.
            if let Ok(place) = self.connections.clone().try_acquire_owned() {
                let door = self.clone();
                spawn_local(async move {
                    // Whoever breaks off is told nothing.
                    let _ = door.stream(stream).await;
                    drop(place);
                });
            }
        }
    }

    async fn stream(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let question = timeout(IDLE, read(&mut stream)).await??;
            let answer = match self.reply(&question, Way::Stream) {
                Reply::Silence => return Ok(()),
                Reply::Answer(answer) => answer,
                Reply::Elsewhere(failure) => {
                    let asked = timeout(ANSWER, ask_by_stream(self.forward, &question)).await;
                    asked.ok().and_then(Result::ok).unwrap_or(failure)
                }
            };
            timeout(IDLE, write(&mut stream, &answer)).await??;
        }
    }
}

/// Never ends. The address may come and go: it is a device's.
pub async fn serve(door: Rc<Door>, at: SocketAddr, report: Rc<RefCell<Report>>) -> ! {
    let (datagrams, streams) = loop {
        match listen(at).await {
            Ok(both) => break both,
            Err(error) => {
                let problem = format!("{at}: {error}");
                report.borrow_mut().problem("listening", Some(problem));
                sleep(AGAIN).await;
            }
        }
    };
    report.borrow_mut().problem("listening", None);
    tokio::select! {
        never = door.clone().datagrams(datagrams) => never,
        never = door.streams(streams) => never,
    }
}

async fn listen(at: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    Ok((UdpSocket::bind(at).await?, TcpListener::bind(at).await?))
}

/// From a port of chance and with a number of chance, so that nobody else can answer.
async fn ask_by_datagram(resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    let mut number = [0; 2];
    getrandom::fill(&mut number).map_err(io::Error::other)?;
    let mut asked = question.to_vec();
    asked[..2].copy_from_slice(&number);
    socket.send(&asked).await?;
    let mut answer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length >= 12 && answer[..2] == number {
            answer.truncate(length);
            answer[..2].copy_from_slice(&question[..2]);
            return Ok(answer);
        }
    }
}

async fn ask_by_stream(resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write(&mut stream, question).await?;
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(message);
    stream.write_all(&bytes).await
}

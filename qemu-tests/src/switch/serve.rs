//! The running switch: one thread, one poll loop.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};

use super::capture::Capture;
use super::control::{Answer, Request, socket};
use super::fabric::Fabric;
use super::framing::{Frames, framed};
use super::rules::Port;
use crate::wait::timespec;

/// Every lab has this many; a port without a machine costs a listening socket.
pub const PORTS: Port = 32;
/// As a real switch, this one drops what a slow machine does not take.
const QUEUE: usize = 4096;
const IDLE: Duration = Duration::from_secs(3600);

pub fn port_socket(directory: &Path, port: Port) -> PathBuf {
    directory.join(format!("port-{port}"))
}

/// Serves until the process is ended.
pub fn serve(directory: &Path, seed: u64) -> Result<()> {
    let mut switch = Server::bind(directory, seed).context("opening the switch's sockets")?;
    loop {
        switch.turn().context("moving frames")?;
    }
}

#[derive(Debug)]
struct Server {
    fabric: Fabric,
    started: Instant,
    listeners: Vec<(Port, UnixListener)>,
    links: BTreeMap<Port, Link>,
    waiting: BinaryHeap<Waiting>,
    control: UnixListener,
    clients: Vec<Client>,
    capture: Option<Capture<io::BufWriter<std::fs::File>>>,
    frames: u64,
}

#[derive(Debug)]
struct Link {
    stream: UnixStream,
    incoming: Frames,
    outgoing: VecDeque<Vec<u8>>,
    /// Bytes of the first outgoing frame that are on their way already.
    sent: usize,
}

/// Someone who changes the rules.
#[derive(Debug)]
struct Client {
    reader: BufReader<UnixStream>,
    /// What has come of a line whose end has not come yet.
    partial: Vec<u8>,
}

/// A frame whose time has not come. Ordered for a heap that gives the earliest first.
#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    at: Duration,
    /// Frames of the same moment keep their order.
    number: u64,
    to: Port,
    frame: Vec<u8>,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Server {
    fn bind(directory: &Path, seed: u64) -> io::Result<Self> {
        let listen = |path: &Path| {
            // A switch that was killed leaves its sockets behind.
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>(listener)
        };
        let listeners = (1..=PORTS)
            .map(|port| Ok((port, listen(&port_socket(directory, port))?)))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            fabric: Fabric::new(seed),
            started: Instant::now(),
            listeners,
            links: BTreeMap::new(),
            waiting: BinaryHeap::new(),
            control: listen(&socket(directory))?,
            clients: Vec::new(),
            capture: None,
            frames: 0,
        })
    }

    fn turn(&mut self) -> Result<()> {
        self.wait()?;
        self.accept()?;
        self.answer();
        let ports: Vec<Port> = self.links.keys().copied().collect();
        for port in ports {
            if self.receive(port).is_err() {
                self.links.remove(&port);
            }
        }
        self.release();
        self.links.retain(|_, link| link.flush().is_ok());
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let limit = match self.waiting.peek() {
            Some(first) => first.at.saturating_sub(self.started.elapsed()),
            None => IDLE,
        };
        let input = |socket| PollFd::from_borrowed_fd(socket, PollFlags::IN);
        let mut polled = vec![input(self.control.as_fd())];
        polled.extend(
            self.listeners
                .iter()
                .map(|(_, listener)| input(listener.as_fd())),
        );
        polled.extend(
            self.clients
                .iter()
                .map(|client| input(client.reader.get_ref().as_fd())),
        );
        polled.extend(self.links.values().map(|link| {
            let both = PollFlags::IN | PollFlags::OUT;
            let wanted = if link.outgoing.is_empty() {
                PollFlags::IN
            } else {
                both
            };
            PollFd::from_borrowed_fd(link.stream.as_fd(), wanted)
        }));
        match poll(&mut polled, Some(&timespec(limit))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        for (port, listener) in &self.listeners {
            if let Some(stream) = accepted(listener)? {
                let link = Link {
                    stream,
                    incoming: Frames::default(),
                    outgoing: VecDeque::new(),
                    sent: 0,
                };
                self.links.insert(*port, link);
            }
        }
        if let Some(stream) = accepted(&self.control)? {
            self.clients.push(Client {
                reader: BufReader::new(stream),
                partial: Vec::new(),
            });
        }
        Ok(())
    }

    fn receive(&mut self, port: Port) -> Result<()> {
        let connected: Vec<Port> = self.links.keys().copied().collect();
        let Some(link) = self.links.get_mut(&port) else {
            return Ok(());
        };
        let mut buffer = [0; 64 << 10];
        match link.stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            Ok(length) => link.incoming.push(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        while let Some(frame) = link.incoming.next()? {
            let now = self.started.elapsed();
            self.frames += 1;
            if let Some(capture) = &mut self.capture {
                let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                capture.write(since_epoch, &frame)?;
            }
            for delivery in self.fabric.forward(now, port, &frame, &connected) {
                let (number, frame) = (self.frames, frame.clone());
                self.waiting.push(Waiting {
                    at: delivery.at,
                    number,
                    to: delivery.to,
                    frame,
                });
            }
        }
        Ok(())
    }

    /// Hands the frames whose time has come to their links.
    fn release(&mut self) {
        let now = self.started.elapsed();
        while self.waiting.peek().is_some_and(|first| first.at <= now) {
            let Some(waiting) = self.waiting.pop() else {
                return;
            };
            if let Some(link) = self.links.get_mut(&waiting.to)
                && link.outgoing.len() < QUEUE
            {
                link.outgoing.push_back(framed(&waiting.frame));
            }
        }
    }

    fn answer(&mut self) {
        let clients = std::mem::take(&mut self.clients);
        for mut client in clients {
            match client.request() {
                Ok(Some(line)) => {
                    let answer = serde_json::to_string(&self.carry_out(&line)).unwrap_or_default();
                    if writeln!(client.reader.get_mut(), "{answer}").is_err() {
                        continue;
                    }
                }
                Ok(None) => {}
                Err(_) => continue,
            }
            self.clients.push(client);
        }
    }

    fn carry_out(&mut self, line: &[u8]) -> Answer {
        match serde_json::from_slice(line) {
            Ok(Request::Partition(groups)) => self.fabric.rules.partition(groups),
            Ok(Request::Fault { from, to, fault }) => self.fabric.rules.fault(from, to, fault),
            Ok(Request::Heal) => self.fabric.rules.heal(),
            Ok(Request::Capture(path)) => match Capture::create(&path) {
                Ok(capture) => self.capture = Some(capture),
                Err(error) => return Answer::Refused(format!("{}: {error}", path.display())),
            },
            Ok(Request::State) => {}
            Err(error) => return Answer::Refused(error.to_string()),
        }
        Answer::State {
            connected: self.links.keys().copied().collect(),
            partition: self.fabric.rules.groups().map(ToString::to_string),
            frames: self.frames,
        }
    }
}

impl Client {
    /// A whole line, when one is here.
    fn request(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.reader.read_until(b'\n', &mut self.partial) {
            Ok(_) if self.partial.ends_with(b"\n") => Ok(Some(std::mem::take(&mut self.partial))),
            Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Link {
    fn flush(&mut self) -> io::Result<()> {
        while let Some(first) = self.outgoing.front() {
            match self.stream.write(&first[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.sent == first.len() {
                self.outgoing.pop_front();
                self.sent = 0;
            }
        }
        Ok(())
    }
}

fn accepted(listener: &UnixListener) -> io::Result<Option<UnixStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;

//! The server: a thread for the listener and one for each connection, each with one request.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Pages, Reply, Request};

/// A guest that is switched off says nothing more, and its connection stays.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
const SILENCE_LIMIT: Duration = Duration::from_secs(600);

/// Whether there are answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Answering,
    /// Takes connections and says nothing, as a service does that hangs.
    Silent,
}

/// Ends with the program.
#[derive(Debug)]
pub struct Server {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    pages: Pages,
    manner: Manner,
    requests: Vec<Request>,
}

impl Server {
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Mutex::new(Shared {
            pages: Pages::plain(),
            manner: Manner::Answering,
            requests: Vec::new(),
        }));
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                // A connection that breaks is the guest's affair.
                thread::spawn(move || converse(stream, &shared));
            }
        });
        Ok(Self { port, shared })
    }

    /// On the host's loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Serves these pages and no others from now on, and forgets who asked so far.
    pub fn serve(&self, pages: Pages) {
        *lock(&self.shared) = Shared {
            pages,
            manner: Manner::Answering,
            requests: Vec::new(),
        };
    }

    pub fn be(&self, manner: Manner) {
        lock(&self.shared).manner = manner;
    }

    /// What was asked since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.shared).requests)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse(mut stream: TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    let request = Request::read(BufReader::new(&stream))?;
    let reply = {
        let mut shared = lock(shared);
        let reply = (shared.manner == Manner::Answering).then(|| shared.pages.answer(&request));
        shared.requests.push(request);
        reply
    };
    match reply {
        Some(reply) => write(&mut stream, &reply),
        None => {
            stream.set_read_timeout(Some(SILENCE_LIMIT))?;
            stream.read(&mut [0]).map(drop)
        }
    }
}

fn write(stream: &mut TcpStream, reply: &Reply) -> io::Result<()> {
    let Reply {
        status,
        headers,
        body,
    } = reply;
    let named: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n\
         {named}\r\n{body}"
    )?;
    stream.shutdown(std::net::Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &Server, limit: Duration) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()))?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET /a HTTP/1.1\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn pages_are_served_and_requests_remembered() {
        let server = Server::start().unwrap();
        server.serve(Pages::plain().page("/a", "text"));
        let answer = ask(&server, REQUEST_LIMIT).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\ntext"), "{answer}");
        assert_eq!(server.take_requests().len(), 1);
        assert_eq!(server.take_requests(), []);
    }

    #[test]
    fn silence_is_a_connection_without_an_answer() {
        let server = Server::start().unwrap();
        server.be(Manner::Silent);
        let error = ask(&server, Duration::from_millis(200)).unwrap_err();
        assert!(
            matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
            "{error}"
        );
        assert_eq!(server.take_requests()[0].path, "/a");
    }
}

//! Questions to a published port from the host, each with a short limit.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use super::Machine;

/// QEMU accepts for the guest, so a port that is not served yet is silent, not refused.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const LARGEST_ANSWER: u64 = 64 << 10;

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok(stream)
}

/// Whether the port's first bytes are `greeting`.
pub(super) fn greets(port: u16, greeting: &str) -> bool {
    let mut first = vec![0; greeting.len()];
    let read = connect(port).and_then(|mut stream| stream.read_exact(&mut first));
    read.is_ok() && first == greeting.as_bytes()
}

/// The body of an HTTP answer, if the port gives one with status 200.
pub fn http(port: u16, path: &str) -> Option<String> {
    let mut stream = connect(port).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.take(LARGEST_ANSWER).read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ')
        .nth(1)
        .filter(|status| *status == "200")
        .map(|_| body.to_owned())
}

impl Machine {
    /// Asks the guest's web server on a published port. `None` while it does not answer.
    pub fn http(&self, guest: u16, path: &str) -> Result<Option<String>> {
        Ok(http(self.port(guest)?, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn serve_once(answer: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = stream.read(&mut [0; 1024]);
        });
        port
    }

    #[test]
    fn only_a_good_answer_counts() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello\n", Some("hello\n")),
            ("HTTP/1.1 404 Not Found\r\n\r\nhello\n", None),
            ("not http", None),
            ("", None),
        ] {
            assert_eq!(
                http(serve_once(answer), "/").as_deref(),
                expected,
                "{answer:?}"
            );
        }
    }

    #[test]
    fn a_greeting_is_recognised() {
        assert!(greets(serve_once("SSH-2.0-OpenSSH_10\r\n"), "SSH-2.0"));
        assert!(!greets(serve_once("220 mail\r\n"), "SSH-2.0"));
        assert!(!greets(serve_once(""), "SSH-2.0"));
    }
}

//! A web server for one file, that answers each request as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What one request gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Good,
    /// The announced length, but the connection ends before.
    Truncated {
        bytes: usize,
    },
    NoRanges,
    WrongRange,
    Status(u16),
    /// 503 with a wish to be left alone.
    Busy {
        seconds: u64,
    },
    Redirect,
    /// A byte now and then.
    Trickle,
    /// A connection without an answer.
    Silence,
    /// A body without length that never ends.
    Endless,
}

pub(crate) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Closes its port when it has given all answers.
    pub(crate) async fn start(content: Vec<u8>, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        let task = tokio::spawn(async move {
            let mut connections = Vec::new();
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let (content, log) = (content.clone(), log.clone());
                connections.push(tokio::spawn(serve(stream, answer, content, log)));
            }
            drop(listener);
            for connection in connections {
                let _ = connection.await;
            }
        });
        Self {
            port,
            requests,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Path and range of each request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Answer,
    content: Vec<u8>,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let range = head.lines().find_map(|line| line.strip_prefix("range: "));
    log.lock().unwrap().push(
        [path.clone()]
            .into_iter()
            .chain(range.map(str::to_owned))
            .collect::<Vec<_>>()
            .join(" "),
    );
    // The client hangs up whenever it has enough.
    let _ = respond(&mut stream, answer, &path, range, &content).await;
}

async fn respond(
    stream: &mut TcpStream,
    answer: Answer,
    path: &str,
    range: Option<&str>,
    content: &[u8],
) -> std::io::Result<()> {
    let length = content.len();
    let ok = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    match answer {
        Answer::Good | Answer::Truncated { .. } => {
            let (first, last) = parse(range, length);
            let part = &content[first..last];
            let head = match range {
                None => ok,
                Some(_) => format!(
                    "HTTP/1.1 206 Partial\r\nconnection: close\r\ncontent-length: {}\r\n\
                     content-range: bytes {first}-{}/{length}\r\n\r\n",
                    part.len(),
                    last.saturating_sub(1),
                ),
            };
            stream.write_all(head.as_bytes()).await?;
            let sent = match answer {
                Answer::Truncated { bytes } => &part[..bytes.min(part.len())],
                _ => part,
            };
            stream.write_all(sent).await?;
        }
        Answer::NoRanges => {
            stream.write_all(ok.as_bytes()).await?;
            stream.write_all(content).await?;
        }
        Answer::WrongRange => {
            let head = "HTTP/1.1 206 Partial\r\nconnection: close\r\ncontent-length: 3\r\n\
                        content-range: bytes 0-2/9\r\n\r\nabc";
            stream.write_all(head.as_bytes()).await?;
        }
        Answer::Status(status) => {
            let head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        Answer::Busy { seconds } => {
            let head = format!(
                "HTTP/1.1 503 X\r\nconnection: close\r\nretry-after: {seconds}\r\n\
                 content-length: 0\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
        }
        Answer::Redirect => {
            let head = format!(
                "HTTP/1.1 302 X\r\nconnection: close\r\nlocation: {path}\r\ncontent-length: 0\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
        }
        Answer::Trickle => {
            stream.write_all(ok.as_bytes()).await?;
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            for byte in content {
                ticks.tick().await;
                stream.write_all(&[*byte]).await?;
            }
        }
        Answer::Silence => {
            let _ = stream.read_u8().await;
        }
        Answer::Endless => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
                .await?;
            loop {
                stream.write_all(&[0; 4096]).await?;
            }
        }
    }
    stream.shutdown().await
}

fn parse(range: Option<&str>, length: usize) -> (usize, usize) {
    let Some(range) = range else {
        return (0, length);
    };
    let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let last = last.parse().map_or(length, |last: usize| last + 1);
    (first.parse().unwrap(), last.min(length))
}

//! A web server over a repository's directory that misbehaves as it is told, and counts what it
//! sends.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a request gets.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The file as it lies there, or the range of it.
    File,
    /// Other bytes in its place, or the range of them.
    Bytes(Vec<u8>),
    /// The whole file, whatever range was asked for.
    NoRanges,
    /// So many bytes of what was announced, then the connection ends.
    Truncated(usize),
    /// So many bytes more are announced than come.
    Announced(usize),
    /// A byte, and a pause, again and again.
    Trickle(Duration),
    /// 4 KiB, and a pause, again and again.
    Slow(Duration),
    /// Bytes without end and without length.
    Endless,
    /// Nothing, and the connection stays.
    Silence,
    Status(u16),
    Redirect(String),
    /// What a hotel says to every request.
    Portal,
}

/// Decides on a request: its path, and how many came before.
type Rule = dyn Fn(&str, usize) -> Reply + Send + Sync;

/// One request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Bytes of the body that went out.
    pub(crate) sent: u64,
}

pub(crate) struct Server {
    pub(crate) url: String,
    log: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(
        repository: impl Into<PathBuf>,
        rule: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (rule, root): (Arc<Rule>, PathBuf) = (Arc::new(rule), repository.into());
        let shared = log.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (root, rule, log) = (root.clone(), rule.clone(), shared.clone());
                // The client hangs up whenever it has enough.
                connections.spawn(async move {
                    let _ = serve(stream, root, &*rule, &log).await;
                });
            }
        });
        Self { url, log, task }
    }

    /// Everything in order.
    pub(crate) async fn honest(repository: impl Into<PathBuf>) -> Self {
        Self::start(repository, |_, _| Reply::File).await
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn sent(&self) -> u64 {
        self.asked().iter().map(|asked| asked.sent).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    root: PathBuf,
    rule: &Rule,
    log: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let range = head.lines().find_map(|line| line.strip_prefix("range: "));
    let number = {
        let mut log = log.lock().unwrap();
        log.push(Asked {
            path: path.clone(),
            sent: 0,
        });
        log.len() - 1
    };
    let reply = rule(&path, number);
    let mut out = Out {
        stream,
        log,
        number,
    };
    let file = match &reply {
        Reply::Bytes(bytes) => Some(bytes.clone()),
        _ => std::fs::read(root.join(path.trim_start_matches('/'))).ok(),
    };
    let found = matches!(
        reply,
        Reply::Status(_) | Reply::Redirect(_) | Reply::Portal | Reply::Endless | Reply::Silence
    );
    let Some(file) = file.or_else(|| found.then(Vec::new)) else {
        return out.head("404 Not Found", "content-length: 0").await;
    };
    let range = match reply {
        Reply::NoRanges => None,
        _ => range,
    };
    let (first, last) = parse(range, file.len());
    let part = &file[first.min(last)..last];
    let extra = match reply {
        Reply::Announced(more) => more,
        _ => 0,
    };
    let length = part.len() + extra;
    let (status, headers) = match range {
        None => ("200 OK", format!("content-length: {length}")),
        Some(_) => {
            let end = last.saturating_sub(1);
            let all = file.len() + extra;
            let range = format!("content-range: bytes {first}-{end}/{all}");
            (
                "206 Partial Content",
                format!("content-length: {length}\r\n{range}"),
            )
        }
    };
    match reply {
        Reply::Endless => {
            out.head("200 OK", "x-length: none").await?;
            loop {
                out.body(&[b' '; 4096]).await?;
            }
        }
        Reply::Silence => {
            let _ = out.stream.read_u8().await;
        }
        Reply::Status(status) => out.head(&status.to_string(), "content-length: 0").await?,
        Reply::Redirect(to) => {
            let headers = format!("location: {to}\r\ncontent-length: 0");
            out.head("302 Found", &headers).await?;
        }
        Reply::Portal => {
            let page = b"<!doctype html><title>Welcome</title><p>Accept the terms to go on.</p>";
            let headers = format!("content-type: text/html\r\ncontent-length: {}", page.len());
            out.head("200 OK", &headers).await?;
            out.body(page).await?;
        }
        Reply::Trickle(pause) => {
            out.head(status, &headers).await?;
            out.slowly(part.chunks(1), pause).await?;
        }
        Reply::Slow(pause) => {
            out.head(status, &headers).await?;
            out.slowly(part.chunks(4096), pause).await?;
        }
        Reply::Truncated(bytes) => {
            out.head(status, &headers).await?;
            out.body(&part[..bytes.min(part.len())]).await?;
        }
        Reply::File | Reply::Bytes(_) | Reply::NoRanges | Reply::Announced(_) => {
            out.head(status, &headers).await?;
            out.body(part).await?;
        }
    }
    out.stream.shutdown().await
}

struct Out<'a> {
    stream: TcpStream,
    log: &'a Mutex<Vec<Asked>>,
    number: usize,
}

impl Out<'_> {
    async fn head(&mut self, status: &str, headers: &str) -> std::io::Result<()> {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n\r\n");
        self.stream.write_all(head.as_bytes()).await
    }

    /// Counts what the socket took.
    async fn body(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        for piece in bytes.chunks(16 << 10) {
            self.stream.write_all(piece).await?;
            self.log.lock().unwrap()[self.number].sent += piece.len() as u64;
        }
        Ok(())
    }

    async fn slowly(
        &mut self,
        pieces: impl Iterator<Item = &[u8]>,
        pause: Duration,
    ) -> std::io::Result<()> {
        let mut ticks = tokio::time::interval(pause);
        for piece in pieces {
            ticks.tick().await;
            self.body(piece).await?;
        }
        Ok(())
    }
}

fn parse(range: Option<&str>, length: usize) -> (usize, usize) {
    let Some(range) = range else {
        return (0, length);
    };
    let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let last = last.parse().map_or(length, |last: usize| last + 1);
    (first.parse().unwrap(), last.min(length))
}

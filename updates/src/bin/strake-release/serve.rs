//! A plain web server for the published files, with ranges.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue,
    RANGE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Outcome;
use crate::repository::Repository;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 1024;
const PIECE: u64 = 128 << 10;

pub(crate) fn run(repository: &Repository, listen: SocketAddr) -> anyhow::Result<Outcome> {
    anyhow::ensure!(repository.exists(), "there is no repository here");
    let roots = Arc::new([
        ("/metadata/", repository.metadata()),
        ("/targets/", repository.targets()),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("starting the runtime")?.block_on(async {
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("listening on {listen}"))?;
        println!("serving on http://{}", listener.local_addr()?);
        let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
        tokio::select! {
            accepted = accept(listener, roots) => accepted?,
            stopped = &mut stop => stopped.context("waiting for a signal")?,
        }
        Ok(Outcome::Done)
    })
}

type Roots = Arc<[(&'static str, PathBuf); 2]>;

async fn accept(listener: TcpListener, roots: Roots) -> anyhow::Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = free
            .clone()
            .acquire_owned()
            .await
            .context("waiting for a free place")?;
        // One connection that could not be accepted says nothing about the next.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let roots = roots.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let response = respond(&request, &roots);
                async { Ok::<_, Infallible>(response) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30));
            // Clients hang up whenever they like.
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            drop(place);
        });
    }
}

fn respond(request: &Request<Incoming>, roots: &Roots) -> Response<Part> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = empty(StatusCode::METHOD_NOT_ALLOWED);
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let path = request.uri().path();
    let Some(file) = open(path, roots) else {
        return empty(StatusCode::NOT_FOUND);
    };
    let Ok(metadata) = file.metadata() else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let length = metadata.len();
    let range = request
        .headers()
        .get(RANGE)
        .and_then(|value| value.to_str().ok());
    let (status, first, end) = match range.map(|range| parse_range(range, length)) {
        None | Some(Range::Ignored) => (StatusCode::OK, 0, length),
        Some(Range::Part(first, end)) => (StatusCode::PARTIAL_CONTENT, first, end),
        Some(Range::Beyond) => {
            let mut refused = empty(StatusCode::RANGE_NOT_SATISFIABLE);
            set(&mut refused, CONTENT_RANGE, format!("bytes */{length}"));
            return refused;
        }
    };
    let body = Part {
        file: Some(file),
        at: first,
        end,
    };
    let body = if request.method() == Method::HEAD {
        Part::nothing()
    } else {
        body
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    set(&mut response, CONTENT_LENGTH, (end - first).to_string());
    set(&mut response, ACCEPT_RANGES, "bytes".to_owned());
    let json = path.ends_with(".json");
    let kind = if json {
        "application/json"
    } else {
        "application/octet-stream"
    };
    set(&mut response, CONTENT_TYPE, kind.to_owned());
    // All other names are never written twice.
    let fresh = path == "/metadata/timestamp.json";
    let caching = if fresh {
        "no-cache"
    } else {
        "public, max-age=31536000, immutable"
    };
    set(&mut response, CACHE_CONTROL, caching.to_owned());
    if status == StatusCode::PARTIAL_CONTENT {
        set(
            &mut response,
            CONTENT_RANGE,
            format!("bytes {first}-{}/{length}", end - 1),
        );
    }
    response
}

fn set(response: &mut Response<Part>, name: hyper::header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::from_str(&value) {
        response.headers_mut().insert(name, value);
    }
}

fn empty(status: StatusCode) -> Response<Part> {
    let mut response = Response::new(Part::nothing());
    *response.status_mut() = status;
    response
}

/// Only plain names, so that nothing outside the published directories can be asked for. Names
/// that begin with a dot are files that are being written.
fn open(path: &str, roots: &Roots) -> Option<File> {
    let (rest, root) = roots
        .iter()
        .find_map(|(prefix, root)| Some((path.strip_prefix(prefix)?, root)))?;
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('%');
    if !rest.split('/').all(plain) {
        return None;
    }
    let file = File::open(root.join(rest)).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Half open.
    Part(u64, u64),
    Beyond,
    /// Several ranges, or a form unknown here: all is sent, as the standard allows.
    Ignored,
}

fn parse_range(text: &str, length: u64) -> Range {
    let parse = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        Some(match (first, last) {
            ("", suffix) => (length.saturating_sub(suffix.parse().ok()?), length),
            (first, "") => (first.parse().ok()?, length),
            (first, last) => {
                let last: u64 = last.parse().ok()?;
                (first.parse().ok()?, last.checked_add(1)?.min(length))
            }
        })
    };
    match parse() {
        None => Range::Ignored,
        Some((first, end)) if first < end => Range::Part(first, end),
        Some(_) => Range::Beyond,
    }
}

/// A part of a file, read as it is sent.
#[derive(Debug)]
struct Part {
    file: Option<File>,
    at: u64,
    end: u64,
}

impl Part {
    fn nothing() -> Self {
        Self {
            file: None,
            at: 0,
            end: 0,
        }
    }

    fn read(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        let file = self.file.as_ref().filter(|_| self.at < self.end)?;
        let mut piece = vec![0; PIECE.min(self.end - self.at) as usize];
        let read = file.read_exact_at(&mut piece, self.at);
        self.at += piece.len() as u64;
        Some(read.map(|()| Frame::data(piece.into())))
    }
}

impl Body for Part {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.read())
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood_and_others_are_ignored() {
        for (text, expected) in [
            ("bytes=0-9", Range::Part(0, 10)),
            ("bytes=90-", Range::Part(90, 100)),
            ("bytes=-10", Range::Part(90, 100)),
            ("bytes=-1000", Range::Part(0, 100)),
            ("bytes=50-1000", Range::Part(50, 100)),
            ("bytes=100-", Range::Beyond),
            ("bytes=9-5", Range::Beyond),
            ("bytes=0-9,20-29", Range::Ignored),
            ("bytes=0-18446744073709551615", Range::Ignored),
            ("lines=0-9", Range::Ignored),
        ] {
            assert_eq!(parse_range(text, 100), expected, "{text}");
        }
    }
}

//! Where figures are told: one HTTP request, one answer.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Registry, process};
use crate::root::Root;

pub const DIRECTORY: &str = "/run/strake/metrics";
/// `ADDRESS:PORT` to be told at over TCP too, without encryption and to whoever asks.
pub const LISTEN: &str = "STRAKE_METRICS_LISTEN";

const CONNECTIONS: usize = 16;
const CONNECTION: Duration = Duration::from_secs(30);
const HEADER: Duration = Duration::from_secs(10);
/// After each error while connections are taken, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Tells the figures of this service as long as it is waited for. What cannot be listened at is
/// said once; the service goes on without it.
pub async fn offer(root: &Root, service: &str, registry: &Registry) -> ! {
    let address = std::env::var(LISTEN).unwrap_or_default();
    offer_at(root, service, &address, registry).await
}

/// At an address too, unless it is empty.
pub async fn offer_at(root: &Root, service: &str, address: &str, registry: &Registry) -> ! {
    let at_socket = async {
        match bind(root, service) {
            Ok(listener) => serve(async || Ok(listener.accept().await?.0), registry).await,
            Err(error) => told(&error).await,
        }
    };
    let over_tcp = async {
        if address.is_empty() {
            return std::future::pending().await;
        }
        let listener = TcpListener::bind(address).await;
        match listener.with_context(|| format!("listening at {LISTEN}={address}")) {
            Ok(listener) => serve(async || Ok(listener.accept().await?.0), registry).await,
            Err(error) => told(&error).await,
        }
    };
    tokio::select! {
        never = at_socket => never,
        never = over_tcp => never,
    }
}

async fn told(error: &anyhow::Error) -> ! {
    eprintln!("strake: metrics: {error:#}");
    std::future::pending().await
}

/// Any user of the machine may read them. A socket that an earlier start has left is taken away.
fn bind(root: &Root, service: &str) -> Result<UnixListener> {
    let path = Path::new(DIRECTORY).join(format!("{service}.sock"));
    let path = root.locate(&path).context("placing the socket")?;
    let directory = path.parent().context("a path without a directory")?;
    let doing = || format!("listening at {}", path.display());
    std::fs::create_dir_all(directory).with_context(doing)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(doing)?;
    let mode = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&path, mode).context("opening the socket to all")?;
    Ok(listener)
}

async fn serve<T>(accept: impl AsyncFn() -> std::io::Result<T>, registry: &Registry) -> !
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let permit = Arc::clone(&free).acquire_owned().await;
        match accept().await {
            Ok(stream) => {
                let registry = registry.clone();
                tokio::spawn(async move {
                    // Whoever breaks off or is too slow has nothing to be told.
                    let _ = timeout(CONNECTION, connection(stream, registry)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                eprintln!("strake: metrics: taking a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    registry: Registry,
) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let answer = answer(&request, &registry);
        async move { Ok::<_, Infallible>(answer) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/" | "/metrics") => {
            (StatusCode::OK, registry.text() + &process::text())
        }
        (_, "/" | "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_string()),
        _ => (StatusCode::NOT_FOUND, "only /metrics\n".to_string()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

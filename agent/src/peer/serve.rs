//! The listener for other machines of the cluster: one request on each connection.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::credentials::Credentials;
use super::local::Local;
use super::wire::{self, Refused, Wanted};
use crate::cluster::authority::Leaf;
use crate::cluster::clock::Clock;
use crate::cluster::revoked;
use crate::cluster::tls::{self, Callers};

const CONNECTIONS: usize = 64;
/// Of these, at most so many may follow a journal.
const FOLLOWERS: usize = 32;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADER: Duration = Duration::from_secs(10);
/// A follower whose machine is gone is noticed after about two minutes of silence.
const PROBE_AFTER: u32 = 60;
const PROBE_EVERY: u32 = 20;
const PROBES: u32 = 3;
/// After each error while connections are taken, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

type Answer = Response<BoxBody<Bytes, std::io::Error>>;
type Refusal = (StatusCode, String);

/// At the address the certificate is for; behind address translation, where the machine does not
/// have that address itself, at all of its own.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let listener = match TcpListener::bind(address).await {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            TcpListener::bind((any, address.port())).await
        }
        other => other,
    };
    listener.with_context(|| format!("listening at {address} for other machines"))
}

struct Desk {
    local: Local,
    acceptor: TlsAcceptor,
    followers: Arc<Semaphore>,
}

/// Ends only when the certificate cannot be used.
pub async fn serve(
    listener: TcpListener,
    local: Local,
    credentials: &Credentials,
) -> Result<Infallible> {
    let clock = Clock::load(&local.root);
    let (ca, identity) = (&credentials.ca, &credentials.identity);
    let config = tls::server(ca, identity, Callers::Certified, clock)?;
    let desk = Arc::new(Desk {
        local,
        acceptor: TlsAcceptor::from(Arc::new(config)),
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
    });
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let permit = Arc::clone(&free).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, from)) => {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    // Whoever breaks off has nothing to be told.
                    let _ = desk.connection(stream, from).await;
                    drop(permit);
                });
            }
            Err(error) => {
                eprintln!("strake: peers: taking a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// So that a connection whose other end is gone is noticed.
pub(crate) fn keep_probing(stream: &TcpStream) -> nix::Result<()> {
    let fd = stream.as_fd();
    setsockopt(&fd, sockopt::TcpKeepIdle, &PROBE_AFTER)?;
    setsockopt(&fd, sockopt::TcpKeepInterval, &PROBE_EVERY)?;
    setsockopt(&fd, sockopt::TcpKeepCount, &PROBES)?;
    setsockopt(&fd, sockopt::KeepAlive, &true)
}

impl Desk {
    async fn connection(&self, stream: TcpStream, from: SocketAddr) -> Result<()> {
        keep_probing(&stream)?;
        let stream = timeout(HANDSHAKE, self.acceptor.accept(stream)).await??;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        // The authority's signature is proven; what it says has to be a machine too.
        let leaf = Leaf::of_der(shown.context("no certificate was shown")?)?;
        let serial = leaf.serial_text();
        if revoked::is_revoked(&self.local.root, &serial) {
            eprintln!("strake: peers: {from}: its certificate {serial} was revoked");
            return Ok(());
        }
        let service =
            service_fn(|request| async move { Ok::<_, Infallible>(self.respond(request).await) });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await?;
        Ok(())
    }

    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let answer = self.answer(&request).await;
        answer.unwrap_or_else(|(status, error)| {
            let body = serde_json::to_vec(&Refused { error }).unwrap_or_default();
            whole(status, "application/json", body)
        })
    }

    async fn answer(&self, request: &Request<Incoming>) -> Result<Answer, Refusal> {
        let no_path = || (StatusCode::NOT_FOUND, "no such request".to_string());
        let (unit, what) = wire::parse(request.uri().path()).ok_or_else(no_path)?;
        if request.method() != Method::GET {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "only GET".to_string()));
        }
        if !self.local.holds(&unit).map_err(failed)? {
            let error = format!("{unit} is not on this machine");
            return Err((StatusCode::NOT_FOUND, error));
        }
        match what {
            "status" => {
                let report = self.local.status(&unit).await.map_err(failed)?;
                let body = serde_json::to_vec(&report).map_err(|error| failed(error.into()))?;
                Ok(whole(StatusCode::OK, "application/json", body))
            }
            "journal" => {
                let wanted = Wanted::parse(request.uri().query().unwrap_or_default());
                let wanted =
                    wanted.map_err(|wrong| (StatusCode::BAD_REQUEST, wrong.to_string()))?;
                let place = match wanted.follow {
                    true => Some(Arc::clone(&self.followers).try_acquire_owned().map_err(
                        |_| {
                            let error = format!("{FOLLOWERS} journals are followed here already");
                            (StatusCode::SERVICE_UNAVAILABLE, error)
                        },
                    )?),
                    false => None,
                };
                let stream = self.local.journal(&unit, &wanted, place).map_err(failed)?;
                let mut answer = Response::new(stream.boxed());
                let kind = HeaderValue::from_static("text/plain; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                Ok(answer)
            }
            _ => Err(no_path()),
        }
    }
}

fn failed(error: anyhow::Error) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
}

fn whole(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Answer {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed());
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

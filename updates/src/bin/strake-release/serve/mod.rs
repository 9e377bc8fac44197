//! A web server for the published files, which also takes what machines report, shows it, and
//! holds a rollout that goes wrong.
//!
//! Files are served whatever becomes of the rest. Whoever reports is not known, so every report is
//! bounded in size, rate and effect.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use strake_updates::report;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Outcome;
use crate::keys::Keyring;
use crate::repository::Repository;

mod answer;
mod chart;
mod database;
mod events;
mod files;
mod judge;
mod metrics;
mod overview;
mod page;
mod rate;
mod rollout;
mod warden;

use answer::{Answer, empty, page as answer_page, set, text};
use events::Desk;
use files::Files;
use judge::Rule;
use warden::Warden;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 1024;
/// Between looks at the repository and at what machines reported.
const LOOK: Duration = Duration::from_secs(10);

/// How to serve.
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    /// None: files only.
    pub(crate) reports: Option<Reports>,
}

/// How to take reports.
pub(crate) struct Reports {
    pub(crate) database: PathBuf,
    /// What a machine must know to report.
    pub(crate) token: Option<String>,
    pub(crate) per_hour: u32,
    pub(crate) pause_share: u32,
    pub(crate) pause_last: u32,
    pub(crate) pause_per_address: u32,
    /// Without the timestamp's key nothing is held.
    pub(crate) keyring: Keyring,
}

struct Server {
    files: Files,
    desk: Option<Desk>,
}

pub(crate) fn run(repository: Repository, options: Options) -> anyhow::Result<Outcome> {
    anyhow::ensure!(repository.exists(), "there is no repository here");
    let files = Files::new(&repository);
    let desk = match options.reports {
        Some(reports) => {
            let rule = Rule {
                share: reports.pause_share,
                last: reports.pause_last,
                per_address: reports.pause_per_address,
            };
            let warden = Warden::open(repository, &reports.database, rule, reports.keyring)?;
            Some(Desk::new(warden, reports.token, reports.per_hour))
        }
        None => None,
    };
    let server = Arc::new(Server { files, desk });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("starting the runtime")?.block_on(async {
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.with_context(|| format!("listening on {}", options.listen))?;
        println!("serving on http://{}", listener.local_addr()?);
        let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
        tokio::select! {
            accepted = accept(listener, server.clone()) => accepted?,
            () = look(server) => {}
            stopped = &mut stop => stopped.context("waiting for a signal")?,
        }
        Ok(Outcome::Done)
    })
}

/// Holds are also placed and lifted by hand, and one may have to wait for a command to end.
async fn look(server: Arc<Server>) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        if let Some(desk) = &server.desk {
            desk.warden().look();
        }
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>) -> anyhow::Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = free
            .clone()
            .acquire_owned()
            .await
            .context("waiting for a free place")?;
        // One connection that could not be accepted says nothing about the next.
        let Ok((stream, peer)) = listener.accept().await else {
            continue;
        };
        let server = server.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.respond(request, peer).await) }
            });
            let mut connection = hyper::server::conn::http1::Builder::new();
            connection
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30));
            // Clients hang up whenever they like.
            let _ = connection
                .serve_connection(TokioIo::new(stream), answer)
                .await;
            drop(place);
        });
    }
}

impl Server {
    async fn respond(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Answer> {
        let path = request.uri().path().to_owned();
        let is_events = path.strip_prefix('/') == Some(report::PATH);
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match (&self.desk, is_events) {
            (Some(desk), true) if request.method() == Method::POST => {
                desk.take(request, peer.ip()).await
            }
            (Some(_), true) => not_allowed("POST"),
            _ if !reads => not_allowed("GET, HEAD"),
            (Some(desk), false) => self.read(desk, &request, &path),
            _ => self
                .files
                .respond(request.method(), &path, request.headers()),
        }
    }

    fn read(&self, desk: &Desk, request: &Request<Incoming>, path: &str) -> Response<Answer> {
        let warden = desk.warden();
        let made = match path {
            "/" => overview::html(&warden).map(Some),
            "/metrics" => {
                let body = metrics::text(&warden, desk);
                return match body {
                    Ok(body) => answer_page(StatusCode::OK, "text/plain; version=0.0.4", body),
                    Err(error) => failed(&error),
                };
            }
            _ => match path.strip_prefix("/rollout/") {
                Some(name) => rollout::html(&warden, name),
                None => {
                    return self
                        .files
                        .respond(request.method(), path, request.headers());
                }
            },
        };
        match made {
            Ok(Some(html)) => {
                let mut response = answer_page(StatusCode::OK, "text/html; charset=utf-8", html);
                for (name, value) in page::HEADERS {
                    set(&mut response, HeaderName::from_static(name), value);
                }
                response
            }
            Ok(None) => text(StatusCode::NOT_FOUND, "there is no such release"),
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &anyhow::Error) -> Response<Answer> {
    eprintln!("strake-release: {error:#}");
    empty(StatusCode::INTERNAL_SERVER_ERROR)
}

fn not_allowed(methods: &'static str) -> Response<Answer> {
    let mut refused = empty(StatusCode::METHOD_NOT_ALLOWED);
    set(&mut refused, ALLOW, methods);
    refused
}

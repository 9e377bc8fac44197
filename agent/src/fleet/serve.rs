//! The socket, and which request goes where.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;

use super::answer::{Answer, Answered, Refusal, bad, refuse};
use super::{discovery, explain, machines, remote, state, units};
use crate::peer::Reach;
use crate::scheduler::text::MAX_BYTES;
use crate::store::Store;

pub const SOCKET: &str = "/run/fleet.sock";
/// A unit as JSON is longer than its text.
const LIMIT: usize = 4 * MAX_BYTES;
pub(super) const HEADER: Duration = Duration::from_secs(10);
/// Of each error while connections are taken, such as too many open files.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// A socket that an earlier start has left is taken away.
pub fn bind(path: &Path, group: Option<u32>) -> Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path);
    let listener = listener.with_context(|| format!("listening at {}", path.display()))?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group)).context("giving the socket a group")?;
    }
    let mode = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions(path, mode).context("opening the socket to its group")?;
    Ok(listener)
}

/// What is served.
#[derive(Debug, Clone)]
pub struct Api<S> {
    pub(super) store: S,
    /// None: other machines are not asked.
    reach: Option<Reach<S>>,
}

impl<S: Store> Api<S> {
    pub fn new(store: S) -> Api<S> {
        Api { store, reach: None }
    }

    /// Tells of units on all machines too.
    pub fn reaching(self, reach: Reach<S>) -> Api<S> {
        Api {
            reach: Some(reach),
            ..self
        }
    }
}

/// Never ends. Runs on the scheduler's own thread, in a `LocalSet`.
pub async fn serve(listener: UnixListener, api: Api<impl Store>) -> ! {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(spawn_local(connection(stream, api.clone()))),
            Err(error) => {
                eprintln!("fleet API: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, api: Api<impl Store>) {
    let service = service_fn(|request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(respond(request, &api).await) }
    });
    // Whoever breaks off has nothing to be told.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

pub(super) type Body = BoxBody<Bytes, std::io::Error>;

pub(super) async fn respond(request: Request<Incoming>, api: &Api<impl Store>) -> Response<Body> {
    let asked = remote::parse(request.uri().path());
    let answered = match (asked, &api.reach) {
        (Some((unit, what)), _) if what == "explain" && request.method() == Method::GET => {
            explain::explain(&api.store, &unit)
                .await
                .map(Answer::respond)
        }
        (None, Some(reach)) if request.uri().path() == remote::CLUSTER => {
            remote::cluster(reach).await
        }
        (Some((unit, what)), Some(reach)) => remote::tell(reach, &unit, what, &request).await,
        _ => route(request, &api.store).await.map(Answer::respond),
    };
    answered.unwrap_or_else(Refusal::respond)
}

async fn route(request: Request<Incoming>, store: &impl Store) -> Answered {
    let method = request.method().clone();
    let path = request.uri().path().to_string();
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let asked = |name: &str| {
        let found = query.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let token = asked("nextPageToken");
    let Some(path) = ["/fleet/v1", "/v1-alpha"]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix))
    else {
        return Err(refuse(StatusCode::NOT_FOUND, "no such path"));
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match (method, parts.as_slice()) {
        (Method::GET, ["units"]) => units::list(store, token).await,
        (Method::GET, ["units", name]) => units::one(store, &name_of(name)?).await,
        (Method::PUT, ["units", name]) => {
            let name = name_of(name)?;
            units::put(store, &name, &json_body(request).await?).await
        }
        (Method::DELETE, ["units", name]) => units::delete(store, &name_of(name)?).await,
        (Method::GET, ["state"]) => {
            let filter = state::Filter {
                machine: asked("machineID"),
                unit: asked("unitName"),
            };
            state::list(store, filter, token).await
        }
        (Method::GET, ["state", name]) => state::one(store, &name_of(name)?).await,
        (Method::GET, ["machines"]) => machines::list(store, token).await,
        (Method::PATCH, ["machines"]) => machines::patch(store, &json_body(request).await?).await,
        (Method::GET, ["discovery"] | ["discovery.json"]) => Answer::ok(&discovery::discovery()),
        (_, ["units" | "state" | "machines" | "discovery", ..]) => {
            let message = "only HTTP GET supported against this resource";
            Err(refuse(StatusCode::METHOD_NOT_ALLOWED, message))
        }
        _ => Err(refuse(StatusCode::NOT_FOUND, "no such path")),
    }
}

fn name_of(part: &str) -> Result<String, Refusal> {
    let pairs = part.replace('+', "%2B");
    let decoded = url::form_urlencoded::parse(pairs.as_bytes()).next();
    match decoded {
        Some((name, value)) if value.is_empty() => Ok(name.into_owned()),
        _ => Err(bad(format!("{part:?} names no unit"))),
    }
}

async fn json_body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let kind = request.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        let message = "application/json is the only supported Content-Type";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let body = Limited::new(request.into_body(), LIMIT).collect().await;
    let body = body.map_err(|error| bad(format!("reading the body: {error}")))?;
    Ok(body.to_bytes())
}

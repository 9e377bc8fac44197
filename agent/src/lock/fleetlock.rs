//! The FleetLock protocol over HTTP, on the same lock: Fedora CoreOS and others take places beside
//! this cluster's machines.
//!
//! `POST /v1/pre-reboot` takes a place, `POST /v1/steady-state` gives it back; both may be said
//! twice. Groups are the lock's: `default` is the one without a name, others are known once
//! `strake lock set-max --group` was said. Whoever reaches the port may take and free places, as the
//! protocol has no credentials; a place of a machine of ours, which has a claim, is not freed.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::keys::Group;
use super::{Error, Lock};
use crate::metrics::Registry;
use crate::store::Store;

const LIMIT: usize = 16 << 10;
const TIME: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
const DEFAULT_GROUP: &str = "default";

#[derive(Debug, Deserialize)]
struct Body {
    client_params: Client,
}

#[derive(Debug, Deserialize)]
struct Client {
    id: String,
    group: String,
}

/// As the body of an answer that is not 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Refusal {
    kind: &'static str,
    value: String,
    #[serde(skip)]
    status: StatusCode,
}

fn refuse(status: StatusCode, kind: &'static str, value: impl Into<String>) -> Refusal {
    let value = value.into();
    Refusal {
        kind,
        value,
        status,
    }
}

fn wrong_client(value: &str) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, "invalid_client_identity", value)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    PreReboot,
    SteadyState,
}

/// Never ends. Runs in a `LocalSet`.
pub async fn serve(listener: TcpListener, store: impl Store, figures: Registry) -> ! {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                drop(spawn_local(connection(
                    stream,
                    store.clone(),
                    figures.clone(),
                )));
            }
            Err(error) => {
                eprintln!("strake: fleetlock: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, store: impl Store, figures: Registry) {
    let service = service_fn(|request| {
        let (store, figures) = (store.clone(), figures.clone());
        async move { Ok::<_, Infallible>(respond(request, &store, &figures).await) }
    });
    // Whoever breaks off has nothing to be told.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIME)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: Request<Incoming>,
    store: &impl Store,
    figures: &Registry,
) -> Response<Full<Bytes>> {
    let answer = route(request, store).await;
    let result = answer
        .as_ref()
        .map_or_else(|refusal| refusal.kind, |()| "done");
    let requests = figures.counter(
        "strake_fleetlock_requests_total",
        "Requests of FleetLock clients by what they came to.",
        &[("result", result)],
    );
    requests.inc();
    let Err(refusal) = answer else {
        return Response::new(Full::default());
    };
    let body = serde_json::to_vec(&refusal).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = refusal.status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        let post = HeaderValue::from_static("POST");
        response.headers_mut().insert(ALLOW, post);
    }
    response
}

async fn route(request: Request<Incoming>, store: &impl Store) -> Result<(), Refusal> {
    let wish = match request.uri().path() {
        "/v1/pre-reboot" => Wish::PreReboot,
        "/v1/steady-state" => Wish::SteadyState,
        _ => return Err(refuse(StatusCode::NOT_FOUND, "not_found", "no such path")),
    };
    if request.method() != Method::POST {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(refuse(status, "method_not_allowed", "use POST"));
    }
    let header = request.headers().get("fleet-lock-protocol");
    if header.is_none_or(|value| value != "true") {
        return Err(wrong_client(
            "the header fleet-lock-protocol: true is missing",
        ));
    }
    let body = Limited::new(request.into_body(), LIMIT).collect();
    let read = timeout(TIME, body).await;
    let Ok(Ok(body)) = read else {
        return Err(wrong_client("the body is too large or came too late"));
    };
    let client = serde_json::from_slice::<Body>(&body.to_bytes());
    let client = client.map_err(|error| wrong_client(&error.to_string()))?;
    let Client { id, group } = client.client_params;
    if id.is_empty() || id.chars().any(char::is_control) {
        return Err(wrong_client("the id is empty, or no text"));
    }
    let group = known_group(store, &group).await?;
    let lock = Lock::new(store.clone(), group);
    match wish {
        Wish::PreReboot => lock.lock_by_hand(&id).await.map(drop).map_err(failed),
        Wish::SteadyState => give_back(&lock, &id).await,
    }
}

async fn known_group(store: &impl Store, name: &str) -> Result<Group, Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(wrong_client("a group is letters, digits, . and -"));
    }
    if name == DEFAULT_GROUP {
        return Ok(Group::default());
    }
    let group = Group::named(name);
    match store.read(&group.semaphore()).await {
        Ok(Some(_)) => Ok(group),
        Ok(None) => {
            let value = format!("{name} is not known: `strake lock set-max --group` makes it so");
            Err(refuse(StatusCode::BAD_REQUEST, "unknown_group", value))
        }
        Err(error) => Err(failed(error.into())),
    }
}

async fn give_back(lock: &Lock<impl Store>, id: &str) -> Result<(), Refusal> {
    if lock.claim(id).await.map_err(failed)?.is_some() {
        return Err(wrong_client("a machine of the cluster holds this place"));
    }
    lock.unlock_by_hand(id).await.map(drop).map_err(failed)
}

fn failed(error: Error) -> Refusal {
    let kind = match &error {
        Error::Full(_) | Error::Contended | Error::Twin { .. } => "failed_lock",
        _ => "failed_sem_init",
    };
    let value = crate::update::engine::text(&error);
    refuse(StatusCode::INTERNAL_SERVER_ERROR, kind, value)
}

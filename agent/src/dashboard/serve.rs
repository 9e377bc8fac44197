//! The listener: TLS with this machine's certificate, who is let in, and which page they get.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::access;
use super::live::{self, Seen, Shown};
use super::page::{Place, SCRIPT, page};
use super::settings::Settings;
use crate::cluster::authority::Stranger;
use crate::cluster::clock::Clock;
use crate::cluster::tls::{self, Callers};
use crate::fleet::users;
use crate::metrics::Registry;
use crate::peer::{Credentials, keep_probing};
use crate::store::Store;

const CONNECTIONS: usize = 64;
/// Of these, at most so many may be sent changes.
const LISTENERS: usize = 32;
const TIME: Duration = Duration::from_secs(10);
/// For what only the store knows of a caller.
const STORE: Duration = Duration::from_secs(3);
/// After each wrong token, and after each error while connections are taken.
const PAUSE: Duration = Duration::from_millis(500);

type Body = BoxBody<Bytes, std::io::Error>;
type Refusal = (StatusCode, String);

/// How callers come in.
#[derive(Debug, Clone)]
pub struct Door {
    /// This machine's certificate of the cluster; without one there is no TLS.
    pub credentials: Option<Credentials>,
    pub clock: Clock,
}

struct Desk<S> {
    store: S,
    settings: Settings,
    door: Door,
    seen: Seen,
    figures: Registry,
    listeners: Arc<Semaphore>,
    policy: HeaderValue,
    /// With the authority of users that it was made for.
    acceptor: RefCell<Option<(Option<String>, TlsAcceptor)>>,
}

/// Ends at once when it may not serve there, otherwise never. Runs in a `LocalSet`.
pub async fn serve(
    listener: TcpListener,
    store: impl Store,
    settings: Settings,
    door: Door,
    figures: Registry,
) -> Result<Infallible> {
    if door.credentials.is_none() {
        if !listener.local_addr()?.ip().is_loopback() {
            bail!(
                "this machine has no certificate of a cluster (strake.cluster): without one the \
                 dashboard is served on loopback only"
            );
        }
        if settings.token.is_none() {
            bail!("strake.dashboard.token is not set, and there are no certificates to go by");
        }
    }
    let (network, name) = (settings.network.clone(), settings.name.clone());
    let (sender, seen) = watch::channel(Rc::new(Shown::nothing_yet(&name)));
    let following = live::follow(store.clone(), network, name, sender);
    let desk = Rc::new(Desk {
        store,
        settings,
        door,
        seen,
        figures,
        listeners: Arc::new(Semaphore::new(LISTENERS)),
        policy: policy()?,
        acceptor: RefCell::default(),
    });
    tokio::select! {
        never = following => never,
        never = accept(listener, desk) => never,
    }
}

/// Only the page's own script runs, and nothing is asked of anybody else.
fn policy() -> Result<HeaderValue> {
    let script = STANDARD.encode(Sha256::digest(SCRIPT));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'unsafe-inline'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Ok(HeaderValue::from_str(&policy)?)
}

async fn accept<S: Store>(listener: TcpListener, desk: Rc<Desk<S>>) -> ! {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let permit = Arc::clone(&free).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Rc::clone(&desk);
                spawn_local(async move {
                    // Whoever breaks off, or shows no good certificate, has been told by TLS.
                    let _ = desk.connection(stream).await;
                    drop(permit);
                });
            }
            Err(error) => {
                eprintln!("strake: dashboard: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl<S: Store> Desk<S> {
    async fn connection(self: &Rc<Self>, stream: TcpStream) -> Result<()> {
        keep_probing(&stream)?;
        let Some(credentials) = &self.door.credentials else {
            return self.answer_all(stream, None).await;
        };
        let acceptor = self.acceptor(credentials).await?;
        let stream = timeout(TIME, acceptor.accept(stream)).await??;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let shown = shown.map(|shown| Stranger::of_der(shown)).transpose()?;
        self.answer_all(stream, shown).await
    }

    /// Users' certificates count from the first user on; who is a user is asked for each request.
    async fn acceptor(&self, credentials: &Credentials) -> Result<TlsAcceptor> {
        let known = self.acceptor.borrow().clone();
        let users = match timeout(STORE, users::authority(&self.store)).await {
            Ok(Ok(users)) => users,
            // A silent store: whoever was known stays known.
            Ok(Err(_)) | Err(_) => known.as_ref().and_then(|(users, _)| users.clone()),
        };
        if let Some((_, acceptor)) = known.filter(|(of, _)| *of == users) {
            return Ok(acceptor);
        }
        // Machines are no users: a certificate of theirs opens nothing here.
        let authority = users.as_deref().unwrap_or(&credentials.ca);
        let (identity, clock) = (&credentials.identity, self.door.clock);
        let config = tls::server(authority, identity, Callers::Anyone, clock)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        self.acceptor.replace(Some((users, acceptor.clone())));
        Ok(acceptor)
    }

    async fn answer_all<T>(self: &Rc<Self>, stream: T, shown: Option<Stranger>) -> Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let service = service_fn(|request| {
            let shown = shown.as_ref();
            async move { Ok::<_, Infallible>(self.respond(request, shown).await) }
        });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(TIME)
            .serve_connection(TokioIo::new(stream), service)
            .await?;
        Ok(())
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        shown: Option<&Stranger>,
    ) -> Response<Body> {
        let answer = match self.let_in(&request, shown).await {
            Ok(()) => self.route(&request),
            Err(refusal) => Err(refusal),
        };
        let mut answer = answer.unwrap_or_else(|(status, why)| {
            let mut answer = whole("text/plain; charset=utf-8", why + "\n");
            *answer.status_mut() = status;
            answer
        });
        let status = answer.status();
        let requests = self.figures.counter(
            "strake_dashboard_requests_total",
            "Requests to the dashboard by the status of their answer.",
            &[("status", status.as_str())],
        );
        requests.inc();
        let headers = answer.headers_mut();
        let fixed = [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ];
        for (name, value) in fixed {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let name = HeaderName::from_static("content-security-policy");
        headers.insert(name, self.policy.clone());
        if status == StatusCode::UNAUTHORIZED {
            let ask = HeaderValue::from_static("Basic realm=\"strake\", charset=\"UTF-8\"");
            headers.insert(WWW_AUTHENTICATE, ask);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        answer
    }

    async fn let_in(
        &self,
        request: &Request<Incoming>,
        shown: Option<&Stranger>,
    ) -> Result<(), Refusal> {
        let token = access::shown(request.headers());
        let why = match (&self.settings.token, token, shown) {
            (Some(expected), Some(given), _) if expected.is(&given) => return Ok(()),
            (_, _, Some(shown)) => match timeout(STORE, users::role(&self.store, shown)).await {
                Ok(Ok(Some(_))) => return Ok(()),
                Ok(Ok(None)) => {
                    let why = format!("the certificate of {:?} counts no more", shown.name);
                    return Err((StatusCode::FORBIDDEN, why));
                }
                Ok(Err(error)) => return Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
                Err(_) => {
                    let why = "the store does not answer: who you are cannot be known";
                    return Err((StatusCode::SERVICE_UNAVAILABLE, why.to_string()));
                }
            },
            (Some(_), Some(_), None) => {
                tokio::time::sleep(PAUSE).await;
                "the token is wrong"
            }
            (Some(_), None, None) => "show the token, as a password or as a bearer",
            (None, ..) => {
                let why = "show a certificate of `strake cluster user add`";
                return Err((StatusCode::FORBIDDEN, why.to_string()));
            }
        };
        Err((StatusCode::UNAUTHORIZED, why.to_string()))
    }

    fn route(&self, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let place = Place::parse(request.uri().query().unwrap_or_default());
        let path = request.uri().path();
        if !["/", "/live", "/cluster.json"].contains(&path) {
            return Err((StatusCode::NOT_FOUND, "no such page".to_string()));
        }
        if request.method() != Method::GET {
            let why = "this page is only read: use GET".to_string();
            return Err((StatusCode::METHOD_NOT_ALLOWED, why));
        }
        let now = self.seen.borrow().clone();
        match path {
            "/live" => {
                let place_of_one = Arc::clone(&self.listeners).try_acquire_owned();
                let permit = place_of_one.map_err(|_| {
                    let why = format!("{LISTENERS} browsers are told of changes already");
                    (StatusCode::SERVICE_UNAVAILABLE, why)
                })?;
                let events = live::events(self.seen.clone(), place, permit);
                let mut answer = Response::new(events.boxed());
                let kind = HeaderValue::from_static("text/event-stream");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                Ok(answer)
            }
            "/cluster.json" => {
                let text = serde_json::to_string(&now.view).unwrap_or_default();
                Ok(whole("application/json", text + "\n"))
            }
            _ => {
                let text = page(&now.view, &now.frame, place);
                Ok(whole("text/html; charset=utf-8", text))
            }
        }
    }
}

fn whole(kind: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed());
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

//! The API over TCP: TLS with the machine's certificate, for users with one of theirs.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::answer::{Refusal, refuse};
use super::serve::{Api, Body, HEADER, PAUSE, respond};
use super::users::{self, Role};
use crate::cluster::authority::Stranger;
use crate::cluster::clock::Clock;
use crate::cluster::tls::{self, Callers};
use crate::peer::Credentials;
use crate::store::Store;

/// `ADDRESS:PORT` to be served at; nowhere without it.
pub const LISTEN: &str = "STRAKE_FLEET_LISTEN";
const CONNECTIONS: usize = 64;
const HANDSHAKE: Duration = Duration::from_secs(10);

struct Desk<S> {
    api: Api<S>,
    credentials: Credentials,
    clock: Clock,
    acceptor: OnceCell<TlsAcceptor>,
}

/// Never ends. Runs on the scheduler's own thread, in a `LocalSet`.
pub async fn serve_users(
    listener: TcpListener,
    api: Api<impl Store>,
    credentials: Credentials,
    clock: Clock,
) -> ! {
    let desk = Rc::new(Desk {
        api,
        credentials,
        clock,
        acceptor: OnceCell::new(),
    });
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let permit = Arc::clone(&free).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, from)) => {
                let desk = Rc::clone(&desk);
                spawn_local(async move {
                    if let Err(error) = desk.connection(stream).await {
                        eprintln!("fleet API: {from}: {error:#}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                eprintln!("fleet API: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl<S: Store> Desk<S> {
    /// The authority is there from the first user on.
    async fn acceptor(&self) -> Result<&TlsAcceptor> {
        let make = async || {
            let authority = users::authority(&self.api.store).await?;
            let authority = authority.context("there are no users yet: strake cluster user add")?;
            let identity = &self.credentials.identity;
            let config = tls::server(&authority, identity, Callers::Certified, self.clock)?;
            anyhow::Ok(TlsAcceptor::from(Arc::new(config)))
        };
        self.acceptor.get_or_try_init(make).await
    }

    async fn connection(&self, stream: TcpStream) -> Result<()> {
        let acceptor = self.acceptor().await?;
        let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let shown = Stranger::of_der(shown.context("no certificate was shown")?)?;
        let service = service_fn(|request| {
            let shown = &shown;
            async move {
                let answered = self.answer(request, shown).await;
                Ok::<_, Infallible>(answered.unwrap_or_else(Refusal::respond))
            }
        });
        let ended = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER)
            .serve_connection(TokioIo::new(stream), service);
        // Whoever breaks off has nothing to be told.
        let _ = ended.await;
        Ok(())
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        shown: &Stranger,
    ) -> Result<Response<Body>, Refusal> {
        let role = users::role(&self.api.store, shown).await;
        let role = role.map_err(|error| refuse(StatusCode::SERVICE_UNAVAILABLE, error.to_string()));
        match role? {
            Some(Role::Admin) => Ok(respond(request, &self.api).await),
            Some(Role::ReadOnly) if request.method() == Method::GET => {
                Ok(respond(request, &self.api).await)
            }
            Some(Role::ReadOnly) => {
                let message = format!("{} is read-only", shown.name);
                Err(refuse(StatusCode::FORBIDDEN, message))
            }
            None => {
                let message = format!("the certificate of {:?} counts no more", shown.name);
                Err(refuse(StatusCode::FORBIDDEN, message))
            }
        }
    }
}

//! The join service of a member: HTTPS, three requests, nothing else.
//!
//! A certificate is for the address that the request came from, whatever the request says, and a
//! member's certificate is for a seed address only. When etcd cannot tell whether a secret was
//! revoked, nobody is let in.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::authority::{self, Authority, Leaf, Role};
use super::clock::Clock;
use super::identity::{self, Identity};
use super::ledger::Said;
use super::member;
use super::place::Place;
use super::revoked;
use super::secret::ProofKey;
use super::settings::Settings;
use super::store::Store;
use super::sync;
use super::tls::{self, Callers};
use super::trust;
use super::wire::{self, Ask, Granted, Join, Keys, Refused, Renew, State, Told};

const CONNECTIONS: usize = 64;
const CONNECTION: Duration = Duration::from_secs(30);
const HEADER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Desk {
    pub place: Place,
    pub settings: Settings,
    pub clock: Clock,
    pub authority: Authority,
    pub own: IpAddr,
    pub identity: watch::Receiver<Identity>,
    /// Serials, and what the store was told that they know.
    pub noted: Mutex<HashSet<(String, u64)>>,
}

/// What is known of a secret that a machine names.
enum Known {
    Good(ProofKey),
    Revoked,
    Not,
}

/// Why a request gets nothing, with its status.
type Refusal = (StatusCode, String);

fn silent(error: anyhow::Error) -> Refusal {
    let reason = format!("etcd cannot tell whether the certificate counts: {error:#}");
    refuse(StatusCode::SERVICE_UNAVAILABLE, reason)
}

fn refuse(status: StatusCode, reason: impl Into<String>) -> Refusal {
    (status, reason.into())
}

pub async fn serve(listener: TcpListener, desk: Arc<Desk>) -> Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&free)
            .acquire_owned()
            .await
            .context("waiting for a place")?;
        let (stream, peer) = listener.accept().await.context("waiting for machines")?;
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            // Whoever breaks off or is too slow has nothing to be told.
            let _ = timeout(CONNECTION, connection(stream, peer, &desk)).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, desk: &Desk) -> Result<()> {
    // Made anew each time: the certificate may have been renewed.
    let identity = desk.shown()?;
    let config = tls::server(&desk.settings.ca, &identity, Callers::Anyone, desk.clock)?;
    let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let shown = shown.and_then(|der| Leaf::of_der(der).ok());
    let from = peer.ip().to_canonical();
    let service = service_fn(|request| {
        let shown = shown.as_ref();
        async move { Ok::<_, std::convert::Infallible>(desk.respond(request, from, shown).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

impl Desk {
    async fn respond(
        &self,
        request: Request<Incoming>,
        from: IpAddr,
        shown: Option<&Leaf>,
    ) -> Response<Full<Bytes>> {
        let method = request.method().clone();
        let path = request.uri().path().to_string();
        let answer = match (&method, path.as_str(), shown) {
            (&Method::POST, wire::JOIN, _) => match read::<Join>(request).await {
                Ok(join) => self
                    .join(&join, from)
                    .await
                    .and_then(|granted| json(&granted)),
                Err(refusal) => Err(refusal),
            },
            (&Method::POST, wire::RENEW, Some(leaf)) => match read::<Renew>(request).await {
                Ok(renew) => self
                    .renew(&renew, from, leaf)
                    .await
                    .and_then(|granted| json(&granted)),
                Err(refusal) => Err(refusal),
            },
            (&Method::POST, wire::TRUST, Some(leaf)) => match read::<Ask>(request).await {
                Ok(asked) => self
                    .trust(asked, from, leaf)
                    .await
                    .and_then(|told| json(&told)),
                Err(refusal) => Err(refusal),
            },
            (&Method::GET, wire::KEYS, Some(leaf)) => {
                self.keys(from, leaf).and_then(|keys| json(&keys))
            }
            (&Method::GET, wire::STATE, Some(_)) => json(&self.state().await),
            (_, wire::RENEW | wire::STATE | wire::TRUST | wire::KEYS, None) => Err(refuse(
                StatusCode::UNAUTHORIZED,
                "a certificate must be shown",
            )),
            _ => Err(refuse(StatusCode::NOT_FOUND, "no such request")),
        };
        let (status, body) = answer.unwrap_or_else(|(status, error)| {
            eprintln!("strake cluster: {method} {path} from {from}: {error}");
            let body = serde_json::to_vec(&Refused { error }).unwrap_or_default();
            (status, body)
        });
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response
    }

    async fn join(&self, join: &Join, from: IpAddr) -> Result<Granted, Refusal> {
        let forbidden = |reason: &str| refuse(StatusCode::FORBIDDEN, reason);
        if join.cluster != self.settings.name {
            return Err(forbidden("this is a cluster of another name"));
        }
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let id = &join.secret_id;
        if id.len() != 16 || !id.chars().all(hex) {
            return Err(forbidden("an id of a secret has 16 digits of 0-9 and a-f"));
        }
        let known = self.secret(id).await.map_err(|error| {
            let reason = format!("etcd cannot tell whether the secret is good: {error:#}");
            refuse(StatusCode::SERVICE_UNAVAILABLE, reason)
        })?;
        let key = match known {
            Known::Good(key) => key,
            Known::Revoked => {
                return Err(forbidden(&format!(
                    "the join secret {id} was revoked: strake.cluster.join_secret has to be one \
                     that `strake cluster secret new` made"
                )));
            }
            Known::Not => {
                return Err(forbidden(&format!(
                    "the join secret {id} is not one of this cluster's"
                )));
            }
        };
        if !key.accepts(&join.csr, &join.proof) {
            return Err(forbidden("the proof of the secret is wrong"));
        }
        let role = self.settings.role_at(from);
        let mut store = self.store().await?;
        if role == Role::Machine && store.is_shut_out(from).await.map_err(silent)? {
            return Err(forbidden(&format!(
                "the certificate of {from} was revoked; `strake cluster certificate allow {from}` \
                 lets it join again"
            )));
        }
        let granted = self.grant(&join.csr, role, from, &mut store).await?;
        let ca_key = match role {
            Role::Member => {
                let keys = identity::keys(&self.place.root, &self.settings);
                Some(keys.concat()).filter(|keys| !keys.is_empty())
            }
            Role::Machine => None,
        };
        Ok(Granted { ca_key, ..granted })
    }

    async fn renew(&self, renew: &Renew, from: IpAddr, shown: &Leaf) -> Result<Granted, Refusal> {
        let mut store = self.counting(shown).await?;
        // Nobody rises by renewing.
        let role = match shown.role {
            Role::Member => self.settings.role_at(from),
            Role::Machine => Role::Machine,
        };
        self.grant(&renew.csr, role, from, &mut store).await
    }

    /// The store, for a machine whose certificate was not revoked.
    async fn counting(&self, shown: &Leaf) -> Result<Store, Refusal> {
        let mut store = self.store().await?;
        let serial = shown.serial_text();
        match store
            .is_certificate_revoked(&serial)
            .await
            .map_err(silent)?
        {
            true => Err(refuse(
                StatusCode::FORBIDDEN,
                format!("this machine's certificate {serial} was revoked"),
            )),
            false => Ok(store),
        }
    }

    async fn store(&self) -> Result<Store, Refusal> {
        let identity = self.identity.borrow().clone();
        let store = Store::of(&[self.own], &self.settings.ca, &identity).await;
        store.map_err(silent)
    }

    async fn trust(&self, asked: Ask, from: IpAddr, shown: &Leaf) -> Result<Told, Refusal> {
        let mut store = self.counting(shown).await?;
        let serial = shown.serial_text();
        let said = (serial.clone(), asked.version);
        if !self.noted.lock().await.contains(&said) {
            let noted = sync::issued(shown, from);
            store.note_issued(&noted).await.map_err(silent)?;
            let knows = store.note(Said::Knows, from, asked.version).await;
            knows.map_err(silent)?;
            self.noted.lock().await.insert(said);
        }
        Ok(Told {
            trust: self.settings.trust.clone(),
            revoked: revoked::known(&self.place.root),
        })
    }

    fn keys(&self, from: IpAddr, shown: &Leaf) -> Result<Keys, Refusal> {
        if shown.role != Role::Member || self.settings.role_at(from) != Role::Member {
            let reason = "the keys of the authorities are for members alone";
            return Err(refuse(StatusCode::FORBIDDEN, reason));
        }
        let keys = identity::keys(&self.place.root, &self.settings);
        Ok(Keys {
            keys: keys.concat(),
        })
    }

    /// While the new authority signs, and the old one counts, the latter's: for machines that
    /// have been away.
    fn shown(&self) -> Result<Identity> {
        let identity = self.identity.borrow().clone();
        let trust = &self.settings.trust;
        if trust.step != trust::Step::Used {
            return Ok(identity);
        }
        let keys = identity::keys(&self.place.root, &self.settings);
        let mut loaded = keys.iter().map(|key| Authority::load(trust.elder(), key));
        let elder = loaded.find_map(Result::ok);
        let elder = elder.context("the key of the old authority is not here")?;
        let request = authority::Request::new(Some(&identity.key))?;
        let addresses = addresses(Role::Member, self.own);
        let who = (Role::Member, addresses.as_slice());
        let signed = elder.sign(&request.csr, who, self.clock.now(), self.place.lifetime)?;
        Identity::new(signed, request.key)
    }

    async fn grant(
        &self,
        csr: &str,
        role: Role,
        from: IpAddr,
        store: &mut Store,
    ) -> Result<Granted, Refusal> {
        let addresses = addresses(role, from);
        let who = (role, addresses.as_slice());
        let signed = self
            .authority
            .sign(csr, who, self.clock.now(), self.place.lifetime);
        let certificate = signed.map_err(|error| {
            let text = format!("{:#}", anyhow::Error::from(error));
            refuse(StatusCode::BAD_REQUEST, text)
        })?;
        let leaf = Leaf::parse(&certificate).map_err(|error| silent(error.into()))?;
        let noted = store.note_issued(&sync::issued(&leaf, from)).await;
        noted.map_err(silent)?;
        eprintln!(
            "strake cluster: a certificate as {} for {from}",
            role.common_name()
        );
        Ok(Granted {
            certificate,
            ca_key: None,
            trust: Some(self.settings.trust.clone()),
        })
    }

    async fn secret(&self, id: &str) -> Result<Known> {
        let identity = self.identity.borrow().clone();
        let mut store = Store::of(&[self.own], &self.settings.ca, &identity).await?;
        if store.is_revoked(id).await? {
            return Ok(Known::Revoked);
        }
        if id == self.settings.join_secret.id() {
            return Ok(Known::Good(self.settings.join_secret.proof_key()));
        }
        let found = store.secret(id).await?;
        Ok(found.map_or(Known::Not, Known::Good))
    }

    async fn state(&self) -> State {
        State {
            data: member::data(&self.place.root),
            serving: member::is_healthy(self.place.metrics).await,
        }
    }
}

/// A member also answers on loopback, and its own etcd may call it from there.
pub fn addresses(role: Role, from: IpAddr) -> Vec<IpAddr> {
    match role {
        Role::Machine => vec![from],
        Role::Member => vec![from, Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    let body = Limited::new(request.into_body(), wire::LIMIT)
        .collect()
        .await;
    let body = body.map_err(|error| refuse(StatusCode::BAD_REQUEST, error.to_string()))?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, error.to_string()))
}

fn json(value: &impl Serialize) -> Result<(StatusCode, Vec<u8>), Refusal> {
    let text = serde_json::to_vec(value);
    let text =
        text.map_err(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok((StatusCode::OK, text))
}

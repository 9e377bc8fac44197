//! The members of etcd, each with a connection of its own: a request goes to the one that
//! answered last, and to the next one when that one does not answer.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions};

use super::settings::Settings;
use crate::fetch::resolver::Resolver;
use crate::store::{Error, Kind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WHILE_IDLE: bool = true;
/// Together for all members of one request.
const GIVE_UP_AFTER: Duration = Duration::from_secs(8);
/// A member that is cut off from the others would else keep a watch open that tells nothing.
const ONLY_WITH_LEADER: bool = true;

/// When a request that failed at one member may go to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Done twice is as good as once.
    Always,
    /// Only when the member cannot have had it.
    WhenUnsent,
}

pub(super) struct Members {
    clients: Vec<Client>,
    current: AtomicUsize,
}

impl Members {
    pub(super) async fn connect(settings: &Settings) -> Result<Members, Error> {
        let tls = settings.tls()?;
        let mut clients = Vec::new();
        for endpoint in &settings.endpoints {
            let mut options = ConnectOptions::new()
                .with_connect_timeout(CONNECT_TIMEOUT)
                .with_keep_alive(PING_EVERY, REQUEST_TIMEOUT)
                .with_keep_alive_while_idle(PING_WHILE_IDLE)
                .with_require_leader(ONLY_WITH_LEADER);
            let (by_address, host) = addressed(endpoint).await?;
            if let Some(tls) = &tls {
                options = options.with_tls(match host {
                    Some(name) => tls.clone().domain_name(name),
                    None => tls.clone(),
                });
            }
            let connected = Client::connect([by_address], Some(options)).await;
            clients.push(connected.map_err(|error| failed("connect", error))?);
        }
        if clients.is_empty() {
            let why = "the settings have no endpoint";
            return Err(Error::new(Kind::Invalid, "connect", why));
        }
        // Not all machines begin with the same member.
        let current = AtomicUsize::new(std::process::id() as usize % clients.len());
        Ok(Members { clients, current })
    }

    /// What the first member says that answers.
    pub(super) async fn ask<T>(
        &self,
        doing: &str,
        again: Again,
        request: impl AsyncFn(Client) -> Result<T, etcd_client::Error>,
    ) -> Result<T, Error> {
        let (_, answer) = self.find(doing, again, request).await?;
        Ok(answer)
    }

    /// The same, and which member it was.
    pub(super) async fn find<T>(
        &self,
        doing: &str,
        again: Again,
        request: impl AsyncFn(Client) -> Result<T, etcd_client::Error>,
    ) -> Result<(usize, T), Error> {
        let begin = Instant::now();
        let mut told = None;
        for _ in &self.clients {
            let member = self.current.load(Ordering::Relaxed);
            let Some(client) = self.clients.get(member) else {
                break;
            };
            let asked = tokio::time::timeout(REQUEST_TIMEOUT, request(client.clone())).await;
            let (error, unsent) = match asked {
                Ok(Ok(answer)) => return Ok((member, answer)),
                Ok(Err(error)) => {
                    let unsent = is_unsent(&error);
                    (failed(doing, error), unsent)
                }
                Err(late) => (Error::new(Kind::Unreachable, doing, late), false),
            };
            if error.kind != Kind::Unreachable {
                return Err(error);
            }
            self.leave(member);
            // What the first one said is told: the next may be one that was down all the time.
            told.get_or_insert(error);
            let once = again == Again::WhenUnsent && !unsent;
            if once || begin.elapsed() >= GIVE_UP_AFTER {
                break;
            }
        }
        Err(told.unwrap_or_else(|| Error::new(Kind::Unreachable, doing, "no member answers")))
    }

    /// The next request goes to another member, unless one already did.
    pub(super) fn leave(&self, member: usize) {
        let next = (member + 1) % self.clients.len();
        // Lost against another request that left it: as good.
        let _ = self
            .current
            .compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// An endpoint with an address in place of a name, and that name: the C library's own way to
/// addresses would kill a static program.
async fn addressed(endpoint: &str) -> Result<(String, Option<String>), Error> {
    let doing = || format!("connect to {endpoint}");
    let url = url::Url::parse(endpoint).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let mut parsed = url.ok_or_else(|| {
        let why = "it is not http:// or https://, a host and a port";
        Error::new(Kind::Invalid, doing(), why)
    })?;
    let host = parsed.host_str().unwrap_or_default().to_string();
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Ok((endpoint.to_string(), None));
    }
    let found = Resolver::default().addresses(&host).await;
    let found = found.map_err(|error| Error::new(Kind::Unreachable, doing(), error))?;
    let nothing = || Error::new(Kind::Unreachable, doing(), "the name has no address");
    let address = found.first().ok_or_else(nothing)?.ip();
    let changed = parsed.set_ip_host(address);
    changed.map_err(|()| Error::new(Kind::Invalid, doing(), "it cannot have an address"))?;
    Ok((
        parsed.as_str().trim_end_matches('/').to_string(),
        Some(host),
    ))
}

/// Whether the member was never reached: what fails after that may have been done.
fn is_unsent(error: &etcd_client::Error) -> bool {
    // The client's own error does not tell its source.
    let mut cause: Option<&(dyn std::error::Error + 'static)> = match error {
        etcd_client::Error::GRpcStatus(status) => Some(status),
        other => Some(other),
    };
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(
            kind,
            Some(
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            )
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn failed(doing: &str, error: etcd_client::Error) -> Error {
    let kind = match &error {
        etcd_client::Error::GRpcStatus(status) => match status.code() as i32 {
            // NOT_FOUND is only ever said of leases; INVALID_ARGUMENT of the request.
            5 => Kind::LeaseGone,
            3 => Kind::Invalid,
            _ => Kind::Unreachable,
        },
        etcd_client::Error::InvalidArgs(_) | etcd_client::Error::InvalidUri(_) => Kind::Invalid,
        etcd_client::Error::LeaseKeepAliveError(why) if why.contains("not found") => {
            Kind::LeaseGone
        }
        _ => Kind::Unreachable,
    };
    Error::new(kind, doing, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_stay_and_names_become_addresses() {
        for endpoint in ["http://127.0.0.1:2379", "https://[fd00::1]:2379"] {
            let found = addressed(endpoint).await.expect(endpoint);
            assert_eq!(found, (endpoint.to_string(), None));
        }
        for wrong in [
            "127.0.0.1:2379",
            "etcd.example:2379",
            "unix:///run/etcd",
            "",
        ] {
            let refused = addressed(wrong).await.expect_err(wrong);
            assert_eq!(refused.kind, Kind::Invalid, "{wrong}");
        }
        let (found, name) = addressed("http://localhost:2379").await.expect("localhost");
        let own = ["http://127.0.0.1:2379", "http://[::1]:2379"];
        assert!(own.contains(&found.as_str()), "{found}");
        assert_eq!(name.as_deref(), Some("localhost"));
        let unknown = addressed("http://nowhere.invalid:2379").await;
        assert_eq!(unknown.expect_err("no such name").kind, Kind::Unreachable);
    }
}

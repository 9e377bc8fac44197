//! The real store: etcd version 3.

use std::error::Error as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, CompareOp, ConnectOptions, EventType, GetOptions, Identity, KeyValue,
    PutOptions, TlsOptions, Txn, TxnOp, WatchOptions,
};
use serde::{Deserialize, Serialize};

use super::{
    Batch, Compare, Entry, Error, Event, Kind, Lease, Listing, Outcome, PAGE, Renewal, Revision,
    Store, Transaction, Watch, WatchEnd, WatchSender, Write,
};
use crate::fetch::resolver::Resolver;
use crate::root::Root;

pub const SETTINGS: &str = "/etc/strake/etcd.json";
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WHILE_IDLE: bool = true;

/// `/etc/strake/etcd.json`, as `strake cluster` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub endpoints: Vec<String>,
    /// PEM files: the cluster's CA, this machine's certificate and its key.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    #[serde(default)]
    pub cert: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
}

impl Settings {
    /// Without a file: an etcd on this machine, without TLS.
    pub fn read(root: &Root) -> anyhow::Result<Settings> {
        use anyhow::Context;
        let text = root
            .read_optional(SETTINGS)
            .with_context(|| format!("reading {SETTINGS}"))?;
        match text {
            Some(text) => {
                serde_json::from_str(&text).with_context(|| format!("understanding {SETTINGS}"))
            }
            None => Ok(Settings {
                endpoints: vec![DEFAULT_ENDPOINT.to_string()],
                ca: None,
                cert: None,
                key: None,
            }),
        }
    }

    fn tls(&self) -> Result<Option<TlsOptions>, Error> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                let doing = format!("connect: reading {}", path.display());
                Error::new(Kind::Invalid, doing, error)
            })
        };
        let Some(ca) = &self.ca else {
            return Ok(None);
        };
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?));
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        Ok(Some(tls))
    }
}

#[derive(Clone)]
pub struct Etcd {
    client: Client,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Etcd")
    }
}

impl Etcd {
    /// Succeeds also while no member answers: connections are made, and made anew, when they
    /// are needed.
    pub async fn connect(settings: &Settings) -> Result<Etcd, Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(PING_EVERY, REQUEST_TIMEOUT)
            .with_keep_alive_while_idle(PING_WHILE_IDLE);
        let mut endpoints = Vec::new();
        let mut name = None;
        for endpoint in &settings.endpoints {
            let (by_address, host) = addressed(endpoint).await?;
            endpoints.push(by_address);
            name = name.or(host);
        }
        if let Some(mut tls) = settings.tls()? {
            if let Some(name) = name {
                tls = tls.domain_name(name);
            }
            options = options.with_tls(tls);
        }
        let connected = Client::connect(&endpoints, Some(options)).await;
        let client = connected.map_err(failed("connect"))?;
        Ok(Etcd { client })
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

fn failed(doing: &str) -> impl FnOnce(etcd_client::Error) -> Error {
    let doing = doing.to_string();
    move |error| {
        let kind = match &error {
            etcd_client::Error::GRpcStatus(status) => match status.code() as i32 {
                // NOT_FOUND is only ever said of leases; INVALID_ARGUMENT of the request.
                5 => Kind::LeaseGone,
                3 => Kind::Invalid,
                _ => Kind::Unreachable,
            },
            etcd_client::Error::InvalidArgs(_) | etcd_client::Error::InvalidUri(_) => Kind::Invalid,
            _ => Kind::Unreachable,
        };
        Error::new(kind, doing, error)
    }
}

async fn in_time<T>(
    doing: &str,
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(result) => result.map_err(failed(doing)),
        Err(late) => Err(Error::new(Kind::Unreachable, doing, late)),
    }
}

fn entry(pair: &KeyValue) -> Entry {
    Entry {
        key: String::from_utf8_lossy(pair.key()).into_owned(),
        value: pair.value().to_vec(),
        created: pair.create_revision(),
        modified: pair.mod_revision(),
        lease: Some(pair.lease()).filter(|id| *id != 0).map(Lease),
    }
}

/// The first key behind all that begin with the prefix.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Keys are text: no byte of them is 255.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

impl Store for Etcd {
    async fn read(&self, key: &str) -> Result<Option<Entry>, Error> {
        let mut client = self.client.kv_client();
        let answer = in_time(&format!("read {key}"), client.get(key, None)).await?;
        Ok(answer.kvs().first().map(entry))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
    ) -> Result<Listing, Error> {
        let start = match after {
            // The next key there can be.
            Some(key) => format!("{key}\0"),
            None => prefix.to_string(),
        };
        let mut options = GetOptions::new()
            .with_range(end_of(prefix))
            .with_limit(PAGE as i64);
        if let Some(revision) = at {
            options = options.with_revision(revision);
        }
        let mut client = self.client.kv_client();
        let request = client.get(start, Some(options));
        let answer = in_time(&format!("list {prefix}"), request).await?;
        let now = answer.header().map_or(0, |header| header.revision());
        Ok(Listing {
            entries: answer.kvs().iter().map(entry).collect(),
            more: answer.more(),
            revision: at.unwrap_or(now),
        })
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Outcome, Error> {
        let compares = transaction.compares.iter().map(|compare| match compare {
            Compare::Created(key, revision) => {
                etcd_client::Compare::create_revision(key.as_str(), CompareOp::Equal, *revision)
            }
            Compare::Modified(key, revision) => {
                etcd_client::Compare::mod_revision(key.as_str(), CompareOp::Equal, *revision)
            }
        });
        let writes = transaction.writes.iter().map(|write| match write {
            Write::Put { key, value, lease } => {
                let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
                TxnOp::put(key.as_str(), value.clone(), options)
            }
            Write::Delete { key } => TxnOp::delete(key.as_str(), None),
        });
        let txn = Txn::new()
            .when(compares.collect::<Vec<_>>())
            .and_then(writes.collect::<Vec<_>>());
        let mut client = self.client.kv_client();
        let answer = in_time("write", client.txn(txn)).await?;
        Ok(if answer.succeeded() {
            Outcome::Done(answer.header().map_or(0, |header| header.revision()))
        } else {
            Outcome::Refused
        })
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let mut client = self.client.lease_client();
        let seconds = ttl.as_secs().max(1) as i64;
        let answer = in_time("grant a lease", client.grant(seconds, None)).await?;
        Ok(Lease(answer.id()))
    }

    async fn keep_alive(&self, lease: Lease) -> Result<Renewal, Error> {
        let mut client = self.client.lease_client();
        // Opening the stream renews once and reads the answer; more is not needed.
        match in_time("renew a lease", client.keep_alive(lease.0)).await {
            Ok(_) => Ok(Renewal::Renewed),
            Err(error) if lease_is_over(&error) => Ok(Renewal::Over),
            Err(error) => Err(error),
        }
    }

    async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        let mut client = self.client.lease_client();
        match in_time("revoke a lease", client.revoke(lease.0)).await {
            Err(error) if error.kind == Kind::LeaseGone => Ok(()),
            other => other.map(drop),
        }
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        let options = WatchOptions::new()
            .with_range(end_of(prefix))
            .with_start_revision(from);
        let mut client = self.client.watch_client();
        let doing = format!("watch {prefix}");
        let stream = in_time(&doing, client.watch(prefix, Some(options))).await?;
        let (sender, watch) = Watch::channel();
        tokio::spawn(pump(stream, sender));
        Ok(watch)
    }
}

fn lease_is_over(error: &Error) -> bool {
    let source = error.source();
    let source = source.and_then(|source| source.downcast_ref::<etcd_client::Error>());
    error.kind == Kind::LeaseGone
        || matches!(source, Some(etcd_client::Error::LeaseKeepAliveError(_)))
}

async fn pump(mut stream: etcd_client::WatchStream, sender: WatchSender) {
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            () = sender.closed() => return,
        };
        let (last, result) = match message {
            Ok(Some(message)) if message.compact_revision() > 0 => {
                let oldest = message.compact_revision();
                (Last::Yes, Err(WatchEnd::Compacted(oldest)))
            }
            Ok(Some(message)) if message.canceled() => {
                let reason = message.cancel_reason().to_string();
                (Last::Yes, Err(WatchEnd::Lost(reason)))
            }
            Ok(Some(message)) if message.events().is_empty() => continue,
            Ok(Some(message)) => (Last::No, Ok(batch(&message))),
            Ok(None) => {
                let reason = "the stream ended".to_string();
                (Last::Yes, Err(WatchEnd::Lost(reason)))
            }
            Err(error) => (Last::Yes, Err(WatchEnd::Lost(error.to_string()))),
        };
        if sender.send(result).is_err() || last == Last::Yes {
            return;
        }
    }
}

#[derive(PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

fn batch(message: &etcd_client::WatchResponse) -> Batch {
    let pairs = message.events().iter();
    let events = pairs.filter_map(|event| {
        let pair = event.kv()?;
        Some(match event.event_type() {
            EventType::Put => Event::Put(entry(pair)),
            EventType::Delete => Event::Deleted {
                key: String::from_utf8_lossy(pair.key()).into_owned(),
            },
        })
    });
    Batch {
        revision: message.header().map_or(0, |header| header.revision()),
        events: events.collect(),
    }
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

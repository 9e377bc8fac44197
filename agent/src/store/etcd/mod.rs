//! The real store: etcd version 3.

mod members;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, CompareOp, EventType, GetOptions, KeyValue, PutOptions, Txn, TxnOp, WatchOptions,
};

use self::members::{Again, Members};
pub use self::settings::{SETTINGS, Settings};
use super::{
    Batch, Compare, Entry, Error, Event, Kind, Lease, Listing, Outcome, PAGE, Renewal, Revision,
    Store, Transaction, Watch, WatchEnd, WatchSender, Write,
};

#[derive(Clone)]
pub struct Etcd {
    members: Arc<Members>,
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
        let members = Arc::new(Members::connect(settings).await?);
        Ok(Etcd { members })
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
        let request = async |client: Client| client.kv_client().get(key, None).await;
        let doing = format!("read {key}");
        let answer = self.members.ask(&doing, Again::Always, request).await?;
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
        let request = async |client: Client| {
            let options = Some(options.clone());
            client.kv_client().get(start.as_str(), options).await
        };
        let doing = format!("list {prefix}");
        let answer = self.members.ask(&doing, Again::Always, request).await?;
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
        let request = async |client: Client| client.kv_client().txn(txn.clone()).await;
        let unsent = Again::WhenUnsent;
        let answer = self.members.ask("write", unsent, request).await?;
        Ok(if answer.succeeded() {
            Outcome::Done(answer.header().map_or(0, |header| header.revision()))
        } else {
            Outcome::Refused
        })
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let seconds = ttl.as_secs().max(1) as i64;
        let request = async |client: Client| client.lease_client().grant(seconds, None).await;
        // One that was granted unheard runs out by itself.
        let doing = "grant a lease";
        let answer = self.members.ask(doing, Again::Always, request).await?;
        Ok(Lease(answer.id()))
    }

    async fn keep_alive(&self, lease: Lease) -> Result<Renewal, Error> {
        // Opening the stream renews once and reads the answer; more is not needed.
        let request = async |client: Client| client.lease_client().keep_alive(lease.0).await;
        let doing = "renew a lease";
        match self.members.ask(doing, Again::Always, request).await {
            Ok(_) => Ok(Renewal::Renewed),
            Err(error) if error.kind == Kind::LeaseGone => Ok(Renewal::Over),
            Err(error) => Err(error),
        }
    }

    async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        let request = async |client: Client| client.lease_client().revoke(lease.0).await;
        let doing = "revoke a lease";
        match self.members.ask(doing, Again::Always, request).await {
            Err(error) if error.kind == Kind::LeaseGone => Ok(()),
            other => other.map(drop),
        }
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        let options = WatchOptions::new()
            .with_range(end_of(prefix))
            .with_start_revision(from);
        let request = async |client: Client| {
            let options = Some(options.clone());
            client.watch_client().watch(prefix, options).await
        };
        let doing = format!("watch {prefix}");
        let (member, stream) = self.members.find(&doing, Again::Always, request).await?;
        let (sender, watch) = Watch::channel();
        let members = self.members.clone();
        tokio::spawn(async move {
            if pump(stream, sender).await == Ended::ByServer {
                members.leave(member);
            }
        });
        Ok(watch)
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    ByReader,
    ByServer,
}

async fn pump(mut stream: etcd_client::WatchStream, sender: WatchSender) -> Ended {
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            () = sender.closed() => return Ended::ByReader,
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
        if sender.send(result).is_err() {
            return Ended::ByReader;
        }
        if last == Last::Yes {
            return Ended::ByServer;
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

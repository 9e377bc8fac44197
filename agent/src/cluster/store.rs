//! etcd as its own operators see it: members, status, alarms, snapshots, and the few keys that
//! `strake cluster` keeps.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{
    AlarmAction, AlarmType, Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions,
    GetOptions, Identity as Pair, PutOptions, TlsOptions, Txn, TxnOp,
};

use super::environment::client_url;
use super::founding::Listed;
use super::identity::Identity;
use super::secret::ProofKey;

const CONNECT: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(10);
pub(super) const PREFIX: &str = "/strake/v1/cluster/";
/// Held while a member is away on purpose.
const TURN: &str = "/strake/v1/cluster/defragmenting";

pub struct Store {
    pub(super) client: Client,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// What one member says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub id: u64,
    pub leader: u64,
    pub applied: u64,
    pub size: u64,
    pub in_use: u64,
}

/// A join secret that members know beside the config's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Good,
    Revoked,
}

/// Who may be away for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Own,
    /// Another member has it.
    Taken,
    /// The store takes nothing, not even a turn.
    Full,
}

fn is_full(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message().contains("database space exceeded"))
}

impl Store {
    pub async fn connect(
        addresses: &[IpAddr],
        ca: &str,
        identity: &Identity,
        limit: Option<Duration>,
    ) -> Result<Store> {
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(ca))
            .identity(Pair::from_pem(&identity.certificate, &identity.key));
        let mut options = ConnectOptions::new()
            .with_tls(tls)
            .with_connect_timeout(CONNECT);
        if let Some(limit) = limit {
            options = options.with_timeout(limit);
        }
        let endpoints: Vec<String> = addresses.iter().copied().map(client_url).collect();
        let client = Client::connect(&endpoints, Some(options))
            .await
            .with_context(|| format!("connecting to etcd at {}", endpoints.join(", ")))?;
        Ok(Store { client })
    }

    /// Each request has its own limit.
    pub async fn of(addresses: &[IpAddr], ca: &str, identity: &Identity) -> Result<Store> {
        Store::connect(addresses, ca, identity, Some(REQUEST)).await
    }

    pub async fn members(&mut self) -> Result<Vec<Listed>> {
        let list = self.client.member_list().await.context("listing members")?;
        let members = list.members().iter().map(|member| Listed {
            id: member.id(),
            name: member.name().to_string(),
            peer_urls: member.peer_urls().to_vec(),
            client_urls: member.client_urls().to_vec(),
        });
        Ok(members.collect())
    }

    pub async fn add(&mut self, peer_url: &str) -> Result<()> {
        let added = self.client.member_add([peer_url], None).await;
        added.with_context(|| format!("adding the member {peer_url}"))?;
        Ok(())
    }

    pub async fn remove(&mut self, id: u64) -> Result<()> {
        let removed = self.client.member_remove(id).await;
        removed.with_context(|| format!("removing the member {id:x}"))?;
        Ok(())
    }

    /// Of the member that the connection leads to.
    pub async fn status(&mut self) -> Result<Status> {
        let status = self
            .client
            .status()
            .await
            .context("asking for the status")?;
        let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        Ok(Status {
            id: status.header().map_or(0, |header| header.member_id()),
            leader: status.leader(),
            applied: status.raft_applied_index(),
            size: size(status.db_size()),
            in_use: size(status.raft_used_db_size()),
        })
    }

    /// To another member; only the leader that the connection leads to can do so.
    pub async fn move_leader(&mut self, to: u64) -> Result<()> {
        let moved = self.client.move_leader(to).await;
        moved.with_context(|| format!("handing leadership to the member {to:x}"))?;
        Ok(())
    }

    pub async fn defragment(&mut self) -> Result<()> {
        self.client.defragment().await.context("defragmenting")?;
        Ok(())
    }

    pub async fn alarms(&mut self) -> Result<Vec<(u64, &'static str)>> {
        let answer = self
            .client
            .alarm(AlarmAction::Get, AlarmType::None, None)
            .await
            .context("asking for alarms")?;
        let word = |alarm| match alarm {
            AlarmType::Nospace => "nospace",
            AlarmType::Corrupt => "corrupt",
            _ => "unknown",
        };
        let alarms = answer.alarms().iter();
        Ok(alarms
            .map(|alarm| (alarm.member_id(), word(alarm.alarm())))
            .collect())
    }

    pub async fn disarm_nospace(&mut self, member: u64) -> Result<()> {
        let mut options = etcd_client::AlarmOptions::new();
        options.with_member(member);
        self.client
            .alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options))
            .await
            .context("ending the alarm")?;
        Ok(())
    }

    /// A consistent copy of the whole store, piece by piece.
    pub async fn snapshot(
        &mut self,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<()> {
        let mut stream = self
            .client
            .snapshot()
            .await
            .context("asking for a snapshot")?;
        while let Some(part) = stream.message().await.context("reading the snapshot")? {
            take(part.blob()).context("writing the snapshot")?;
        }
        Ok(())
    }

    /// The right to be away for a while, which one member has at a time; it ends by itself.
    pub async fn begin_turn(&mut self, who: IpAddr, seconds: i64) -> Result<Turn> {
        let lease = match self.client.lease_grant(seconds, None).await {
            Ok(lease) => lease.id(),
            Err(error) if is_full(&error) => return Ok(Turn::Full),
            Err(error) => return Err(error).context("taking a lease"),
        };
        let free = Compare::version(TURN, CompareOp::Equal, 0);
        let options = PutOptions::new().with_lease(lease);
        let take = TxnOp::put(TURN, who.to_string(), Some(options));
        let take = Txn::new().when([free]).and_then([take]);
        let taken = match self.client.txn(take).await {
            Ok(taken) => taken.succeeded(),
            Err(error) if is_full(&error) => return Ok(Turn::Full),
            Err(error) => return Err(error).context("taking the turn"),
        };
        if taken {
            return Ok(Turn::Own);
        }
        let back = self.client.lease_revoke(lease).await;
        back.context("giving the lease back")?;
        Ok(Turn::Taken)
    }

    pub async fn end_turn(&mut self) -> Result<()> {
        let deleted = self.client.delete(TURN, None).await;
        deleted.context("giving the turn back")?;
        Ok(())
    }

    /// A member that an operator removed stays out until he lets it in.
    pub async fn shut_out(&mut self, address: IpAddr) -> Result<()> {
        let key = format!("{PREFIX}removed/{address}");
        self.client
            .put(key, "", None)
            .await
            .context("writing down the removal")?;
        Ok(())
    }

    pub async fn let_in(&mut self, address: IpAddr) -> Result<bool> {
        let key = format!("{PREFIX}removed/{address}");
        let deleted = self.client.delete(key, None).await;
        Ok(deleted.context("letting the member in")?.deleted() > 0)
    }

    pub async fn is_shut_out(&mut self, address: IpAddr) -> Result<bool> {
        let key = format!("{PREFIX}removed/{address}");
        let found = self
            .client
            .get(key, Some(GetOptions::new().with_count_only()))
            .await;
        Ok(found.context("looking for a removal")?.count() > 0)
    }

    pub async fn add_secret(&mut self, id: &str, key: &ProofKey) -> Result<()> {
        let path = format!("{PREFIX}secrets/{id}");
        self.client
            .put(path, key.to_hex(), None)
            .await
            .context("adding the secret")?;
        Ok(())
    }

    /// The secret of a member's own config: it stays good for the machines that still have it when
    /// the config has another one.
    pub async fn keep_secret(&mut self, id: &str, key: &ProofKey) -> Result<()> {
        let absent = |part: &str| {
            let key = format!("{PREFIX}{part}/{id}");
            Compare::version(key, CompareOp::Equal, 0)
        };
        let put = TxnOp::put(format!("{PREFIX}secrets/{id}"), key.to_hex(), None);
        let keep = Txn::new()
            .when([absent("revoked"), absent("secrets")])
            .and_then([put]);
        self.client
            .txn(keep)
            .await
            .context("keeping the config's secret")?;
        Ok(())
    }

    /// For good: an id that is revoked cannot be added again.
    pub async fn revoke_secret(&mut self, id: &str) -> Result<()> {
        let revoke = Txn::new().and_then([
            TxnOp::put(format!("{PREFIX}revoked/{id}"), "", None),
            TxnOp::delete(format!("{PREFIX}secrets/{id}"), None::<DeleteOptions>),
        ]);
        self.client
            .txn(revoke)
            .await
            .context("revoking the secret")?;
        Ok(())
    }

    pub async fn is_revoked(&mut self, id: &str) -> Result<bool> {
        let found = self.client.get(format!("{PREFIX}revoked/{id}"), None).await;
        Ok(found
            .context("asking whether the secret is revoked")?
            .count()
            > 0)
    }

    pub async fn secret(&mut self, id: &str) -> Result<Option<ProofKey>> {
        let found = self.client.get(format!("{PREFIX}secrets/{id}"), None).await;
        let found = found.context("looking for the secret")?;
        let Some(pair) = found.kvs().first() else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(pair.value()).into_owned();
        Ok(Some(
            ProofKey::parse(&text).context("reading the secret's proof key")?,
        ))
    }

    pub async fn secrets(&mut self) -> Result<Vec<(String, Standing)>> {
        let mut all = Vec::new();
        for (part, standing) in [
            ("secrets/", Standing::Good),
            ("revoked/", Standing::Revoked),
        ] {
            let prefix = format!("{PREFIX}{part}");
            let options = GetOptions::new().with_prefix().with_keys_only();
            let found = self.client.get(prefix.as_str(), Some(options)).await;
            for pair in found.context("listing the secrets")?.kvs() {
                let key = String::from_utf8_lossy(pair.key()).into_owned();
                let id = key.trim_start_matches(prefix.as_str()).to_string();
                all.push((id, standing));
            }
        }
        Ok(all)
    }
}

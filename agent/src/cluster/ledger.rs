//! What the store keeps of certificates: which authorities count, what was issued to whom, what was
//! revoked, and who knows how much of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp};
use serde::{Deserialize, Serialize};

use super::authority::Role;
use super::store::{PREFIX, Store};
use super::trust::Trust;

/// Entries of one answer.
const PAGE: i64 = 1000;

/// A certificate, by its address and its serial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    #[serde(skip, default = "nowhere")]
    pub address: IpAddr,
    /// Hexadecimal.
    #[serde(skip)]
    pub serial: String,
    pub role: Role,
    /// Seconds since 1970.
    pub not_after: u64,
    /// Key id of the authority that signed it.
    pub authority: String,
}

/// One that counts no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    #[serde(skip)]
    pub serial: String,
    pub address: IpAddr,
    /// Seconds since 1970.
    pub not_after: u64,
}

/// What a machine or a member has said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// This member's etcd runs with this state of the authorities.
    Runs,
    /// This machine trusts what this state says.
    Knows,
}

impl Said {
    fn part(self) -> &'static str {
        match self {
            Said::Runs => "runs/",
            Said::Knows => "knows/",
        }
    }
}

fn nowhere() -> IpAddr {
    std::net::Ipv4Addr::UNSPECIFIED.into()
}

impl Store {
    /// With the revision it was written at; 0: never.
    pub async fn trust(&mut self) -> Result<(Option<Trust>, i64)> {
        let found = self.client.get(format!("{PREFIX}trust"), None).await;
        let found = found.context("reading which authorities count")?;
        let Some(pair) = found.kvs().first() else {
            return Ok((None, 0));
        };
        let trust = serde_json::from_slice(pair.value());
        let trust = trust.context("understanding which authorities count")?;
        Ok((Some(trust), pair.mod_revision()))
    }

    /// False: somebody else wrote since that revision.
    pub async fn put_trust(&mut self, trust: &Trust, since: i64) -> Result<bool> {
        let key = format!("{PREFIX}trust");
        let same = Compare::mod_revision(key.as_str(), CompareOp::Equal, since);
        let put = TxnOp::put(key, serde_json::to_vec(trust)?, None);
        let done = self.client.txn(Txn::new().when([same]).and_then([put]));
        let done = done.await.context("writing which authorities count")?;
        Ok(done.succeeded())
    }

    pub async fn note_issued(&mut self, issued: &Issued) -> Result<()> {
        let key = format!("{PREFIX}issued/{}/{}", issued.address, issued.serial);
        let put = self
            .client
            .put(key, serde_json::to_vec(issued)?, None)
            .await;
        put.context("writing down the certificate")?;
        Ok(())
    }

    pub async fn issued(&mut self) -> Result<Vec<Issued>> {
        let understood = |key: &str, value: &[u8]| {
            let (address, serial) = key.split_once('/')?;
            Some(Issued {
                address: address.parse().ok()?,
                serial: serial.to_string(),
                ..serde_json::from_slice(value).ok()?
            })
        };
        self.all("issued/", understood).await
    }

    pub async fn revoke_certificate(&mut self, issued: &Issued) -> Result<()> {
        let revoked = Revoked {
            serial: issued.serial.clone(),
            address: issued.address,
            not_after: issued.not_after,
        };
        let key = format!("{PREFIX}revoked-certificates/{}", revoked.serial);
        let value = serde_json::to_vec(&revoked)?;
        let put = self.client.put(key, value, None).await;
        put.context("revoking the certificate")?;
        Ok(())
    }

    pub async fn revoked_certificates(&mut self) -> Result<Vec<Revoked>> {
        let understood = |key: &str, value: &[u8]| {
            Some(Revoked {
                serial: key.to_string(),
                ..serde_json::from_slice(value).ok()?
            })
        };
        self.all("revoked-certificates/", understood).await
    }

    pub async fn is_certificate_revoked(&mut self, serial: &str) -> Result<bool> {
        let key = format!("{PREFIX}revoked-certificates/{serial}");
        let options = Some(GetOptions::new().with_count_only());
        let found = self.client.get(key, options).await;
        let found = found.context("asking whether the certificate is revoked")?;
        Ok(found.count() > 0)
    }

    pub async fn note(&mut self, said: Said, who: IpAddr, version: u64) -> Result<()> {
        let key = format!("{PREFIX}{}{who}", said.part());
        let put = self.client.put(key, version.to_string(), None).await;
        put.context("writing down which authorities are known")?;
        Ok(())
    }

    pub async fn said(&mut self, said: Said) -> Result<BTreeMap<IpAddr, u64>> {
        let understood = |key: &str, value: &[u8]| {
            let version = std::str::from_utf8(value).ok()?.parse().ok()?;
            Some((key.parse().ok()?, version))
        };
        let all: Vec<(IpAddr, u64)> = self.all(said.part(), understood).await?;
        Ok(all.into_iter().collect())
    }

    /// Forgets certificates that ended by themselves.
    pub async fn forget_ended(&mut self, now: u64) -> Result<()> {
        let issued = self.issued().await?.into_iter();
        let issued = issued.filter(|issued| issued.not_after < now);
        let issued = issued.map(|issued| format!("issued/{}/{}", issued.address, issued.serial));
        let revoked = self.revoked_certificates().await?.into_iter();
        let revoked = revoked.filter(|revoked| revoked.not_after < now);
        let revoked = revoked.map(|revoked| format!("revoked-certificates/{}", revoked.serial));
        for key in issued.chain(revoked) {
            let deleted = self.client.delete(format!("{PREFIX}{key}"), None).await;
            deleted.context("forgetting a certificate that has ended")?;
        }
        Ok(())
    }

    /// What is not understood was written by a newer version.
    async fn all<T>(
        &mut self,
        part: &str,
        understood: impl Fn(&str, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        let prefix = format!("{PREFIX}{part}");
        // Keys end in text: no byte of them is 255.
        let end = format!("{prefix}\u{10ffff}");
        let mut from = prefix.clone();
        let mut all = Vec::new();
        loop {
            let options = GetOptions::new().with_range(end.as_str()).with_limit(PAGE);
            let found = self.client.get(from.as_str(), Some(options)).await;
            let found = found.with_context(|| format!("listing {prefix}"))?;
            let read = |pair: &KeyValue| {
                let key = std::str::from_utf8(pair.key()).ok()?;
                understood(key.strip_prefix(&prefix)?, pair.value())
            };
            all.extend(found.kvs().iter().filter_map(read));
            match found.kvs().last() {
                Some(last) if found.more() => {
                    from = format!("{}\0", String::from_utf8_lossy(last.key()));
                }
                _ => return Ok(all),
            }
        }
    }
}

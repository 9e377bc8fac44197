//! This machine's key and certificate: on STATE, so that they outlive a lost DATA, and a copy that
//! etcd may read.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::unistd::{getegid, geteuid};
use serde_json::json;

use super::anchor;
use super::authority::{Authority, Leaf, Role};
use super::environment;
use super::place::Place;
use super::settings::Settings;
use super::tls;
use crate::apply::tree::{Node, Tree};
use crate::apply::write::{write, write_one};
use crate::root::Root;

const CA: &str = "/state/cluster/ca.pem";
const CERTIFICATE: &str = "/state/cluster/cert.pem";
const KEY: &str = "/state/cluster/key.pem";
const CA_KEY: &str = "/state/cluster/ca-key.pem";
const NEW_CA_KEY: &str = "/state/cluster/ca-key-new.pem";
/// Why there is no certificate yet, for who asks on this machine.
const TROUBLE: &str = "/run/strake/cluster-trouble";
/// Where the other services find the store.
const CLIENT: &str = "/etc/strake/etcd.json";

#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
    pub leaf: Leaf,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("leaf", &self.leaf)
            .finish()
    }
}

impl Identity {
    pub fn new(certificate: String, key: String) -> Result<Identity> {
        let leaf = Leaf::parse(&certificate)?;
        Ok(Identity {
            certificate,
            key,
            leaf,
        })
    }

    /// The one on disk, if it is of an authority that counts and whole.
    pub fn load(root: &Root, settings: &Settings) -> Option<Identity> {
        let certificate = root.read_text(CERTIFICATE).ok()?;
        if !tls::is_vouched(&settings.ca, &certificate).ok()? {
            return None;
        }
        let key = root.read_text(KEY).ok()?;
        Identity::new(certificate, key).ok()
    }

    pub fn key_on_disk(root: &Root) -> Option<String> {
        root.read_text(KEY).ok()
    }

    /// On STATE, for etcd, and for whoever uses the store.
    pub fn install(&self, place: &Place, settings: &Settings) -> Result<()> {
        let mut tree = Tree::new();
        let mut add = |path: &str, node| tree.insert(PathBuf::from(path), node);
        add(CA, own_file(settings.ca.clone(), 0o644));
        add(CERTIFICATE, own_file(self.certificate.clone(), 0o644));
        add(KEY, own_file(self.key.clone(), 0o600));
        add(CLIENT, own_file(self.client(place, settings), 0o644));
        if self.leaf.role == Role::Member {
            let (uid, gid) = etcd_user(&place.root);
            let mut copy = |path: &str, text: &str, mode| {
                let content = text.into();
                tree.insert(
                    PathBuf::from(path),
                    Node::File {
                        content,
                        mode,
                        uid,
                        gid,
                    },
                );
            };
            copy(environment::CA, &settings.ca, 0o444);
            copy(environment::CERTIFICATE, &self.certificate, 0o444);
            copy(environment::KEY, &self.key, 0o400);
        }
        write(&place.root, &tree).context("keeping the certificate")?;
        Ok(())
    }

    /// A member asks itself first.
    fn client(&self, place: &Place, settings: &Settings) -> String {
        let own = place.addresses().unwrap_or_default();
        let mut seeds = settings.seeds.clone();
        seeds.sort_by_key(|seed| !own.contains(seed));
        let endpoints = seeds.into_iter().map(environment::client_url);
        let value = json!({
            "endpoints": endpoints.collect::<Vec<_>>(),
            "ca": CA,
            "cert": CERTIFICATE,
            "key": KEY,
        });
        format!("{value}\n")
    }
}

/// The authority that signs, on a member: its key is in the config, or was handed over by another
/// member.
pub fn authority(root: &Root, settings: &Settings) -> Result<Option<Authority>> {
    let trust = &settings.trust;
    // Later the key in the config is of an authority that counts no more.
    if let (Some(sealed), 0) = (&settings.ca_key, trust.version) {
        let opened = settings.join_secret.open(sealed);
        let key = opened.context("opening strake.cluster.ca_key")?;
        let mut all = trust.authorities.iter();
        if let Some(authority) = all.find_map(|pem| Authority::load(pem, &key).ok()) {
            return Ok(Some(authority));
        }
        let wrong = Authority::load(trust.signer(), &key);
        return wrong
            .map(Some)
            .context("strake.cluster.ca and the authority's key");
    }
    let keys = keys(root, settings);
    let mut loaded = keys.iter().map(|key| Authority::load(trust.signer(), key));
    Ok(loaded.find_map(Result::ok))
}

/// The keys of authorities that this machine has, PEM: old ones, the one in use, a new one.
pub fn keys(root: &Root, settings: &Settings) -> Vec<String> {
    let sealed = settings.ca_key.as_ref();
    let opened = sealed.and_then(|sealed| settings.join_secret.open(sealed).ok());
    let kept = [CA_KEY, NEW_CA_KEY].map(|path| root.read_text(path).ok());
    let texts = kept.into_iter().flatten().chain(opened);
    texts.flat_map(|text| anchor::keys(&text)).collect()
}

/// Those of authorities that count, so that a member signs on when the config no longer carries
/// the key.
pub fn keep_keys(root: &Root, keys: &[String], authorities: &[String]) -> Result<()> {
    let of = |pem: &String| keys.iter().find(|key| Authority::load(pem, key).is_ok());
    let text: String = authorities.iter().filter_map(of).cloned().collect();
    write_one(root, CA_KEY, own_file(text, 0o600)).context("keeping the authority's key")
}

/// Of an authority that is to be introduced.
pub fn keep_new_key(root: &Root, key: &str) -> Result<()> {
    let node = own_file(key, 0o600);
    write_one(root, NEW_CA_KEY, node).context("keeping the new authority's key")
}

pub fn trouble(root: &Root) -> Option<String> {
    let text = root.read_text(TROUBLE).ok()?;
    Some(text.trim().to_string()).filter(|text| !text.is_empty())
}

/// Nothing: it is over.
pub fn keep_trouble(root: &Root, trouble: &str) -> Result<()> {
    let node = own_file(format!("{trouble}\n"), 0o644);
    write_one(root, TROUBLE, node).context("writing down what is missing")
}

/// A third of its life is left, a little more on some machines, so that not all renew at once.
pub fn is_due(leaf: &Leaf, now: SystemTime, lifetime: Duration) -> bool {
    let spread = leaf.serial.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 16;
    let margin = lifetime / 3 + lifetime * spread / 192;
    now + margin >= leaf.not_after
}

pub(super) fn own_file(content: impl Into<Vec<u8>>, mode: u32) -> Node {
    Node::File {
        content: content.into(),
        mode,
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
    }
}

/// A tree without the user has its own as etcd's.
pub(super) fn etcd_user(root: &Root) -> (u32, u32) {
    let passwd = root.read_text("/etc/passwd").unwrap_or_default();
    let mut lines = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let ids = lines.find_map(|fields| match fields.as_slice() {
        ["etcd", _, uid, gid, ..] => Some((uid.parse().ok()?, gid.parse().ok()?)),
        _ => None,
    });
    ids.unwrap_or_else(|| (geteuid().as_raw(), getegid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let day = Duration::from_secs(24 * 3600);
        let now = SystemTime::UNIX_EPOCH + 20_000 * day;
        let leaf = |serial: u8, days: u32| Leaf {
            role: Role::Machine,
            addresses: Vec::new(),
            serial: vec![serial],
            not_after: now + day * days,
            authority: String::new(),
        };
        let cases = [
            (0, 90, false),
            (0, 31, false),
            (0, 30, true),
            (0, 0, true),
            (15, 38, false),
            (15, 37, true),
        ];
        for (serial, days, expected) in cases {
            let due = is_due(&leaf(serial, days), now, 90 * day);
            assert_eq!(due, expected, "serial {serial}, {days} days left");
        }
        assert!(is_due(&leaf(0, 5), now + 9 * day, 90 * day), "expired");
    }
}

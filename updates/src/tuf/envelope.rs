//! A role's file: a body and the signatures over its canonical form.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::canonical::{NotCanonical, to_canonical};
use super::key::{Key, KeyId, SignatureEntry};
use super::role::{Body, RoleKeys};

/// A file that was parsed and not yet believed.
#[derive(Clone, Debug)]
pub struct Envelope<T> {
    body: T,
    /// What the body was read from, with the fields that are unknown here.
    signed: Value,
    message: Vec<u8>,
    signatures: Vec<SignatureEntry>,
}

/// Why a file is not a role's file at all.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("it is longer than {limit} bytes")]
    TooLong { limit: u64 },
    #[error("it is not JSON of the expected form")]
    Json(#[from] serde_json::Error),
    #[error("it has no canonical form")]
    Canonical(#[from] NotCanonical),
    #[error("_type is {found:?}, expected {expected:?}")]
    Type {
        found: String,
        expected: &'static str,
    },
    #[error("spec_version {0:?} is not 1.x")]
    SpecVersion(String),
    #[error("version is 0; the first is 1")]
    VersionZero,
    #[error("key {0} is listed under another id than its own")]
    KeyId(KeyId),
}

/// Why a file is not believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{valid} of the {threshold} signatures that {role} needs are valid")]
pub struct BelowThreshold {
    pub role: String,
    pub valid: usize,
    pub threshold: u32,
}

#[derive(Serialize, Deserialize)]
struct File {
    signatures: Vec<SignatureEntry>,
    signed: Value,
}

impl<T: Body> Envelope<T> {
    /// The body is read from the same value the signatures are checked over, so two readings of
    /// one file cannot differ.
    pub fn parse(bytes: &[u8], limit: u64) -> Result<Self, Malformed> {
        if bytes.len() as u64 > limit {
            return Err(Malformed::TooLong { limit });
        }
        let File { signatures, signed } = serde_json::from_slice(bytes)?;
        let message = to_canonical(&signed)?;
        let body: T = T::deserialize(&signed)?;
        let head = body.head();
        if head.kind != T::TYPE {
            return Err(Malformed::Type {
                found: head.kind.clone(),
                expected: T::TYPE,
            });
        }
        if head.spec_version != "1" && !head.spec_version.starts_with("1.") {
            return Err(Malformed::SpecVersion(head.spec_version.clone()));
        }
        if head.version == 0 {
            return Err(Malformed::VersionZero);
        }
        Ok(Self {
            body,
            signed,
            message,
            signatures,
        })
    }

    /// A new file without signatures.
    pub fn unsigned(body: T) -> Result<Self, Malformed> {
        let signed = serde_json::to_value(&body)?;
        let message = to_canonical(&signed)?;
        Ok(Self {
            body,
            signed,
            message,
            signatures: Vec::new(),
        })
    }

    /// Adds a signature, in place of an earlier one by the same key.
    pub fn sign(&mut self, key: &SigningKey) {
        let entry = SignatureEntry::by(key, &self.message);
        self.signatures.retain(|other| other.keyid != entry.keyid);
        self.signatures.push(entry);
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let file = File {
            signatures: self.signatures.clone(),
            signed: self.signed.clone(),
        };
        serde_json::to_vec(&file).expect("a JSON value can be written")
    }

    /// How many distinct keys of the role signed. Two ids for one key count once.
    pub fn count_valid(&self, keys: &BTreeMap<KeyId, Key>, role: &RoleKeys) -> usize {
        let signed = self.signatures.iter().filter_map(|entry| {
            let id = KeyId(entry.keyid.parse().ok()?);
            let key = keys.get(role.keyids.get(&id)?)?.public()?;
            entry.is_valid(&key, &self.message).then(|| key.to_bytes())
        });
        signed.collect::<BTreeSet<_>>().len()
    }

    /// Whether enough of the role's keys signed.
    pub fn check(
        &self,
        name: &str,
        keys: &BTreeMap<KeyId, Key>,
        role: &RoleKeys,
    ) -> Result<(), BelowThreshold> {
        let valid = self.count_valid(keys, role);
        if valid >= role.threshold.get() as usize {
            return Ok(());
        }
        Err(BelowThreshold {
            role: name.to_owned(),
            valid,
            threshold: role.threshold.get(),
        })
    }

    /// Only for who is about to check it, or made it.
    pub fn body(&self) -> &T {
        &self.body
    }

    pub fn into_body(self) -> T {
        self.body
    }
}

/// Every key must be listed under the digest of its own canonical form.
pub fn check_key_ids(keys: &BTreeMap<KeyId, Key>) -> Result<(), Malformed> {
    for (id, key) in keys {
        if key.id()? != *id {
            return Err(Malformed::KeyId(*id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::role::{Head, Snapshot};
    use super::*;
    use crate::time::Timestamp as Time;

    fn snapshot() -> Envelope<Snapshot> {
        let head = Head::new("snapshot", 1, Time::from_unix(1000));
        Envelope::unsigned(Snapshot {
            head,
            meta: BTreeMap::new(),
        })
        .unwrap()
    }

    fn role(keys: &[Key], threshold: u32) -> (BTreeMap<KeyId, Key>, RoleKeys) {
        let keys: BTreeMap<_, _> = keys
            .iter()
            .map(|key| (key.id().unwrap(), key.clone()))
            .collect();
        let keyids = keys.keys().copied().collect();
        (
            keys,
            RoleKeys {
                keyids,
                threshold: threshold.try_into().unwrap(),
            },
        )
    }

    fn signer(seed: u8) -> (SigningKey, Key) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = Key::ed25519(&key.verifying_key());
        (key, public)
    }

    #[test]
    fn a_threshold_counts_keys_and_not_signatures() {
        let ((one, one_public), (two, two_public)) = (signer(1), signer(2));
        let (keys, role) = role(&[one_public, two_public], 2);
        let mut envelope = snapshot();
        envelope.sign(&one);
        let twice = envelope.signatures[0].clone();
        envelope.signatures.push(twice);
        assert_eq!(
            envelope.check("snapshot", &keys, &role),
            Err(BelowThreshold {
                role: "snapshot".into(),
                valid: 1,
                threshold: 2
            })
        );
        envelope.sign(&two);
        assert_eq!(envelope.check("snapshot", &keys, &role), Ok(()));
    }

    #[test]
    fn one_key_under_two_ids_counts_once() {
        let (one, public) = signer(1);
        let mut value = serde_json::to_value(&public).unwrap();
        value["note"] = "the same key".into();
        let alias: Key = serde_json::from_value(value).unwrap();
        let (keys, role) = role(&[public, alias.clone()], 2);
        let mut envelope = snapshot();
        envelope.sign(&one);
        let mut copy = envelope.signatures[0].clone();
        copy.keyid = alias.id().unwrap().to_string();
        envelope.signatures.push(copy);
        assert_eq!(envelope.count_valid(&keys, &role), 1);
    }

    #[test]
    fn keys_outside_the_role_do_not_count() {
        let ((_, ours), (stranger, strange)) = (signer(1), signer(2));
        let (mut keys, role) = role(&[ours], 1);
        keys.insert(strange.id().unwrap(), strange);
        let mut envelope = snapshot();
        envelope.sign(&stranger);
        assert_eq!(envelope.count_valid(&keys, &role), 0);
    }

    #[test]
    fn unknown_fields_are_read_over_but_signed() {
        let (key, public) = signer(1);
        let (keys, role) = role(&[public], 1);
        let mut body = serde_json::to_value(snapshot().body()).unwrap();
        body["x-new"] = "field".into();
        let message = to_canonical(&body).unwrap();
        let file = serde_json::json!({
            "signatures": [SignatureEntry::by(&key, &message)],
            "signed": body,
        });
        let read = Envelope::<Snapshot>::parse(file.to_string().as_bytes(), 4096).unwrap();
        assert_eq!(read.count_valid(&keys, &role), 1);
        let changed = file.to_string().replace(r#""field""#, r#""other""#);
        let read = Envelope::<Snapshot>::parse(changed.as_bytes(), 4096).unwrap();
        assert_eq!(read.count_valid(&keys, &role), 0);
    }

    #[test]
    fn what_is_no_file_of_the_role_is_refused() {
        let good = String::from_utf8(snapshot().to_bytes()).unwrap();
        for (from, to, expected) in [
            (
                r#""_type":"snapshot""#,
                r#""_type":"targets""#,
                "_type is \"targets\"",
            ),
            (r#""1.0.31""#, r#""2.0.0""#, "spec_version \"2.0.0\""),
            (r#""version":1"#, r#""version":0"#, "version is 0"),
            (r#""version":1"#, r#""version":1.5"#, "no canonical form"),
            (
                r#""version":1"#,
                r#""version":-1"#,
                "not JSON of the expected form",
            ),
            (
                r#""signed""#,
                r#""sighed""#,
                "not JSON of the expected form",
            ),
        ] {
            assert!(good.contains(from), "{good}");
            let bad = good.replace(from, to);
            let error = Envelope::<Snapshot>::parse(bad.as_bytes(), 4096).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let error = Envelope::<Snapshot>::parse(good.as_bytes(), 10).unwrap_err();
        assert!(matches!(error, Malformed::TooLong { limit: 10 }));
    }
}

//! Public keys, their ids and signatures. Only ed25519 counts.

use std::fmt;

use ed25519_dalek::{SIGNATURE_LENGTH, Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::canonical::{NotCanonical, to_canonical};
use crate::digest::{Digest, hex_bytes, to_hex};

/// The digest of a key's canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Digest);

/// A key as metadata lists it, with every field it came with: the id covers them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Value);

/// One entry of `signatures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureEntry {
    /// Not a [`KeyId`]: a file may carry signatures of schemes unknown here.
    pub keyid: String,
    pub sig: String,
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Key {
    pub fn ed25519(public: &VerifyingKey) -> Self {
        Self(json!({
            "keytype": "ed25519",
            "scheme": "ed25519",
            "keyval": {"public": to_hex(public.as_bytes())},
        }))
    }

    pub fn id(&self) -> Result<KeyId, NotCanonical> {
        Ok(KeyId(Digest::of(&to_canonical(&self.0)?)))
    }

    /// The key itself; none when it is of a kind that is not spoken here or is no curve point.
    pub fn public(&self) -> Option<VerifyingKey> {
        let is_ed25519 = self.0["keytype"] == "ed25519" && self.0["scheme"] == "ed25519";
        let bytes = hex_bytes(self.0["keyval"]["public"].as_str()?)?;
        let key = VerifyingKey::from_bytes(&bytes.try_into().ok()?).ok()?;
        (is_ed25519 && !key.is_weak()).then_some(key)
    }
}

impl SignatureEntry {
    pub fn by(key: &SigningKey, message: &[u8]) -> Self {
        let id = Key::ed25519(&key.verifying_key()).id();
        Self {
            keyid: id
                .expect("a key of strings only has a canonical form")
                .to_string(),
            sig: to_hex(&key.sign(message).to_bytes()),
        }
    }

    pub fn is_valid(&self, key: &VerifyingKey, message: &[u8]) -> bool {
        let bytes: Option<[u8; SIGNATURE_LENGTH]> =
            hex_bytes(&self.sig).and_then(|bytes| bytes.try_into().ok());
        bytes.is_some_and(|bytes| {
            key.verify_strict(message, &Signature::from_bytes(&bytes))
                .is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let (ours, other) = (
            SigningKey::from_bytes(&[1; 32]),
            SigningKey::from_bytes(&[2; 32]),
        );
        let entry = SignatureEntry::by(&ours, b"message");
        assert!(entry.is_valid(&ours.verifying_key(), b"message"));
        assert!(!entry.is_valid(&other.verifying_key(), b"message"));
        assert!(!entry.is_valid(&ours.verifying_key(), b"massage"));
        let cut = SignatureEntry {
            sig: entry.sig[2..].to_owned(),
            ..entry
        };
        assert!(!cut.is_valid(&ours.verifying_key(), b"message"));
    }

    #[test]
    fn the_id_covers_fields_unknown_here() {
        let key = Key::ed25519(&SigningKey::from_bytes(&[1; 32]).verifying_key());
        let mut odd = key.clone();
        odd.0["note"] = json!("spare");
        assert_ne!(key.id(), odd.id());
        assert_eq!(key.public(), odd.public());
    }

    #[test]
    fn keys_of_other_kinds_and_weak_points_never_count() {
        let with = |keytype: &str, scheme: &str, public: &str| {
            Key(json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": public}}))
        };
        let neutral = format!("01{}", "00".repeat(31));
        for key in [
            with("rsa", "rsassa-pss-sha256", "-----BEGIN PUBLIC KEY-----"),
            with("ed25519", "ed25519", "abcd"),
            with("ed25519", "ed25519", &neutral),
            Key(json!(null)),
        ] {
            assert_eq!(key.public(), None, "{key:?}");
        }
    }
}

//! The join secret: 256 random bits that the operator puts into the cloud-config.
//!
//! It never goes over the wire. A machine proves that it has it by a MAC over its certificate
//! request, so that a proof overheard is good for nothing but that very request. Everything is
//! derived by HMAC-SHA-256 under its own label: no use of the secret tells anything about another.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

const SEALED: &str = "sealed-key-v1:";
const NONCE: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a join secret is 64 digits of 0-9 and a-f")]
    Secret,
    #[error("a sealed key begins with {SEALED}")]
    Form,
    #[error("this join secret does not open the sealed key")]
    Opening,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JoinSecret([u8; 32]);

/// What a member needs to check a proof. It makes proofs as well, but opens no sealed key.
#[derive(Clone, PartialEq, Eq)]
pub struct ProofKey([u8; 32]);

impl JoinSecret {
    pub fn generate() -> Result<JoinSecret, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(JoinSecret(bytes))
    }

    /// Names the secret without telling it.
    pub fn id(&self) -> String {
        hex(&derive(&self.0, b"strake join secret id v1")[..8])
    }

    pub fn proof_key(&self) -> ProofKey {
        ProofKey(derive(&self.0, b"strake join proof v1"))
    }

    pub fn seal(&self, key_pem: &str) -> Result<String, getrandom::Error> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        let message = Payload {
            msg: key_pem.as_bytes(),
            aad: SEALED.as_bytes(),
        };
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), message);
        let sealed = sealed.expect("a key is shorter than the cipher's limit");
        Ok(format!(
            "{SEALED}{}",
            STANDARD.encode([&nonce[..], &sealed].concat())
        ))
    }

    pub fn open(&self, text: &str) -> Result<String, Error> {
        let body = text.trim().strip_prefix(SEALED).ok_or(Error::Form)?;
        let bytes = STANDARD.decode(body).map_err(|_| Error::Form)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE).ok_or(Error::Form)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| Error::Form)?;
        let message = Payload {
            msg: sealed,
            aad: SEALED.as_bytes(),
        };
        let opened = self.cipher().decrypt(&Nonce::from(nonce), message);
        String::from_utf8(opened.map_err(|_| Error::Opening)?).map_err(|_| Error::Opening)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        let key = derive(&self.0, b"strake sealed key v1");
        ChaCha20Poly1305::new(&Key::from(key))
    }
}

impl ProofKey {
    pub fn proof(&self, request: &str) -> String {
        hex(&derive(&self.0, request.as_bytes()))
    }

    /// In constant time.
    pub fn accepts(&self, request: &str, proof: &str) -> bool {
        let Some(proof) = bytes::<32>(proof) else {
            return false;
        };
        let mut mac = mac(&self.0);
        mac.update(request.as_bytes());
        mac.verify_slice(&proof).is_ok()
    }

    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    pub fn parse(text: &str) -> Result<ProofKey, Error> {
        bytes(text.trim()).map(ProofKey).ok_or(Error::Secret)
    }
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn derive(key: &[u8; 32], label: &[u8]) -> [u8; 32] {
    let mut mac = mac(key);
    mac.update(label);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if text.len() != 2 * N || !text.bytes().all(digits) {
        return None;
    }
    let pairs = (0..N).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16));
    let bytes: Vec<u8> = pairs.collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

impl FromStr for JoinSecret {
    type Err = Error;

    fn from_str(text: &str) -> Result<JoinSecret, Error> {
        bytes(text.trim()).map(JoinSecret).ok_or(Error::Secret)
    }
}

impl TryFrom<String> for JoinSecret {
    type Error = Error;

    fn try_from(text: String) -> Result<JoinSecret, Error> {
        text.parse()
    }
}

impl From<JoinSecret> for String {
    fn from(secret: JoinSecret) -> String {
        secret.to_string()
    }
}

impl fmt::Display for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinSecret({})", self.id())
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(digit: char) -> JoinSecret {
        digit.to_string().repeat(64).parse().expect("a secret")
    }

    #[test]
    fn a_proof_holds_for_its_request_and_its_secret_alone() {
        let key = secret('1').proof_key();
        let proof = key.proof("request");
        assert!(key.accepts("request", &proof));
        assert!(!key.accepts("request ", &proof));
        assert!(!key.accepts("request", &proof.to_uppercase()));
        assert!(!key.accepts("request", &proof[1..]));
        assert!(!key.accepts("request", ""));
        assert!(!secret('2').proof_key().accepts("request", &proof));
        let again = ProofKey::parse(&key.to_hex()).expect("a key");
        assert!(again.accepts("request", &proof));
    }

    #[test]
    fn a_sealed_key_opens_under_its_secret_alone() {
        let sealed = secret('1').seal("the key").expect("random bytes");
        assert_eq!(secret('1').open(&sealed).as_deref(), Ok("the key"));
        assert_eq!(secret('2').open(&sealed), Err(Error::Opening));
        assert_eq!(secret('1').open("the key"), Err(Error::Form));
        assert_eq!(secret('1').open("sealed-key-v1:AAAA"), Err(Error::Form));
        let other = secret('1').seal("the key").expect("random bytes");
        assert_ne!(sealed, other, "the nonce must be fresh");
    }

    #[test]
    fn a_secret_is_not_told_by_its_debug_text_or_its_id() {
        let secret = secret('a');
        let shown = format!("{secret:?} {}", secret.id());
        assert!(!shown.contains("aaaa"), "{shown}");
        assert_eq!(secret.to_string().parse(), Ok(secret));
    }
}

//! Keys of wireguard. The machine's own is made on it, stays in STATE, and is the same at each
//! start: peers need not learn another one.

use std::fmt;
use std::io;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::MontgomeryPoint;
use serde::{Serialize, Serializer};

use crate::apply::tree::Node;
use crate::apply::write::{self, write_one};
use crate::root::Root;

/// As `wg genkey` writes one.
pub const PATH: &str = "/state/overlay/wireguard.key";
const LENGTH: usize = 32;

/// What peers know of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; LENGTH]);

/// A private key, or one that all machines share beforehand. Never shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret([u8; LENGTH]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key of wireguard: 32 bytes in base64")]
pub struct Wrong;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading {PATH}")]
    Read(#[source] io::Error),
    #[error("making a key")]
    Chance(#[source] getrandom::Error),
    #[error("keeping the key")]
    Write(#[source] write::Error),
}

fn decode(text: &str) -> Result<[u8; LENGTH], Wrong> {
    let bytes = STANDARD.decode(text).map_err(|_| Wrong)?;
    let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| Wrong)?;
    // Nobody's: what the kernel takes for none.
    match bytes == [0; LENGTH] {
        true => Err(Wrong),
        false => Ok(bytes),
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl FromStr for PublicKey {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<PublicKey, Wrong> {
        decode(text).map(PublicKey)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl FromStr for Secret {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Secret, Wrong> {
        decode(text).map(Secret)
    }
}

impl Secret {
    /// As it comes from the kernel, which has all zeros for none.
    pub fn known(bytes: [u8; LENGTH]) -> Option<Secret> {
        (bytes != [0; LENGTH]).then_some(Secret(bytes))
    }

    pub fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// In the form that X25519 prescribes, so that the kernel has it as it is here.
    fn made_of(mut bytes: [u8; LENGTH]) -> Secret {
        bytes[0] &= 0xf8;
        bytes[31] = bytes[31] & 0x7f | 0x40;
        Secret(bytes)
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(MontgomeryPoint::mul_base_clamped(self.0).to_bytes())
    }
}

/// The machine's own key; a new one when there is none, or none that can be read.
pub fn load_or_make(root: &Root) -> Result<Secret, Error> {
    let text = root.read_optional(PATH).map_err(Error::Read)?;
    let known = text.as_deref().map(|text| text.trim().parse::<Secret>());
    let key = match known {
        Some(Ok(key)) => key,
        other => {
            if other.is_some() {
                eprintln!("strake: overlay: {PATH} is damaged: making another key");
            }
            let mut bytes = [0; LENGTH];
            getrandom::fill(&mut bytes).map_err(Error::Chance)?;
            Secret::made_of(bytes)
        }
    };
    // Also when it was there: nobody else may read it, whoever changed that meanwhile.
    let node = Node::File {
        content: format!("{}\n", STANDARD.encode(key.0)).into_bytes(),
        mode: 0o600,
        uid: 0,
        gid: 0,
    };
    write_one(root, PATH, node).map_err(Error::Write)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Alice's keys of RFC 7748, 6.1.
    #[test]
    fn the_public_key_is_that_of_x25519() {
        let private = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
        let public = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
        let secret: Secret = private.parse().expect("a key");
        assert_eq!(secret.public().to_string(), public);
        assert_eq!(public.parse(), Ok(secret.public()));
    }

    #[test]
    fn what_is_no_key_is_refused_and_a_secret_is_not_shown() {
        for text in [
            "",
            "x",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTg==",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo",
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(Wrong), "{text}");
        }
        let secret = Secret::made_of([7; 32]);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.bytes()[31], 0x47, "in the form of X25519");
    }

    #[test]
    fn the_machines_key_stays_and_only_root_reads_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let path = dir.path().join("state/overlay/wireguard.key");
        let made = load_or_make(&root).expect("a key");
        let mode = |path| {
            let metadata = std::fs::metadata(path).expect("a file");
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("chmod");
        assert_eq!(load_or_make(&root).expect("a key"), made);
        assert_eq!(mode(&path), 0o600);
        std::fs::write(&path, "spoilt").expect("written");
        let other = load_or_make(&root).expect("a key");
        assert_ne!(other, made);
        assert_eq!(load_or_make(&root).expect("a key"), other);
    }
}

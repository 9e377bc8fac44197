//! The chain of root files: each signed by enough keys of the one before and by its own.

use super::ROOT_LIMIT;
use super::envelope::{Envelope, check_key_ids};
use super::role::{Body as _, Root};
use super::workflow::{Reason, Refused, Seen, check_expiry};
use crate::time::Timestamp as Time;

/// A root that is trusted, on the way to the newest one.
#[derive(Clone, Debug)]
pub struct Chain {
    root: Root,
    bytes: Vec<u8>,
}

/// The newest root, not expired: what every other file is checked against.
#[derive(Clone, Debug)]
pub struct Anchor {
    pub(super) root: Root,
    pub(super) seen: Seen,
    pub(super) now: Time,
    bytes: Vec<u8>,
}

impl Chain {
    /// Begins with a root trusted for another reason: it came with the verified `/usr`, or a
    /// former run kept it.
    pub fn start(trusted: &[u8]) -> Result<Self, Refused> {
        let refused = |reason| Refused::new("root.json", reason);
        let envelope = parse(trusted).map_err(refused)?;
        check_signed_by(&envelope, envelope.body()).map_err(refused)?;
        Ok(Self {
            root: envelope.into_body(),
            bytes: trusted.to_vec(),
        })
    }

    /// The version whose file is to be asked for next; when there is none, the chain is complete.
    pub fn next_version(&self) -> u64 {
        self.root.head.version.saturating_add(1)
    }

    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let expected = self.next_version();
        let refused = |reason| Refused::new(format!("{expected}.root.json"), reason);
        let envelope = parse(bytes).map_err(refused)?;
        let found = envelope.body().head.version;
        if found != expected {
            return Err(refused(Reason::Version { found, expected }));
        }
        check_signed_by(&envelope, &self.root).map_err(refused)?;
        check_signed_by(&envelope, envelope.body()).map_err(refused)?;
        self.root = envelope.into_body();
        self.bytes = bytes.to_vec();
        Ok(())
    }

    /// Takes the newest root, with what was seen before and what time it is. A clock that is
    /// behind what signed files already proved is not believed.
    pub fn close(self, mut seen: Seen, clock: Time) -> Result<Anchor, Refused> {
        seen.forget_what_removed_keys_said(&self.root);
        let now = clock.max(seen.clock);
        let file = format!("{}.root.json", self.root.head.version);
        check_expiry(&self.root.head, now).map_err(|reason| Refused::new(file, reason))?;
        Ok(Anchor {
            root: self.root,
            seen,
            now,
            bytes: self.bytes,
        })
    }
}

impl Anchor {
    /// The root's own file, to be kept as trusted.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn root(&self) -> &Root {
        &self.root
    }
}

fn parse(bytes: &[u8]) -> Result<Envelope<Root>, Reason> {
    let envelope = Envelope::<Root>::parse(bytes, ROOT_LIMIT)?;
    check_key_ids(&envelope.body().keys)?;
    Ok(envelope)
}

fn check_signed_by(envelope: &Envelope<Root>, root: &Root) -> Result<(), Reason> {
    Ok(envelope.check(Root::TYPE, &root.keys, &root.roles.root)?)
}

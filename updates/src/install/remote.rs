//! The payload's files, fetched and held against what the channel signed of them.

use std::ops::Range;

use super::InstallError;
use crate::digest::{Digest, Hasher};
use crate::fetch::{FetchError, Request, Sink, Transport, bytes};
use crate::offer::Part;
use crate::tuf::role::{Target, Targets};
use crate::tuf::workflow::Verified;

/// Directory of the targets in a repository.
pub const TARGETS: &str = "targets";

/// A channel's targets and the way to them.
#[derive(Debug)]
pub struct Remote<'a, T> {
    pub transport: &'a T,
    pub verified: &'a Verified,
    pub targets: &'a Targets,
}

impl<T: Transport> Remote<'_, T> {
    pub fn target(&self, name: &str) -> Result<&Target, InstallError> {
        self.targets
            .targets
            .get(name)
            .ok_or_else(|| InstallError::Target(name.to_owned()))
    }

    /// All of a target, with its digest checked.
    pub async fn whole(&self, name: &str) -> Result<Vec<u8>, InstallError> {
        let target = self.target(name)?;
        let request = Request::part(self.path(name, target), 0..target.length);
        let content = bytes(self.transport, &request).await?;
        check(name, Digest::of(&content), target.hashes.sha256)?;
        Ok(content)
    }

    /// A part that is signed by itself, beginning at `start`.
    pub async fn part(&self, name: &str, start: u64, part: Part) -> Result<Vec<u8>, InstallError> {
        let path = self.path(name, self.target(name)?);
        let request = Request::part(path, start..start.saturating_add(part.length));
        let content = bytes(self.transport, &request).await?;
        check(name, Digest::of(&content), part.sha256)?;
        Ok(content)
    }

    /// A part whose content the sink knows how to check.
    pub async fn range(
        &self,
        name: &str,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), InstallError> {
        let path = self.path(name, self.target(name)?);
        Ok(self
            .transport
            .fetch(&Request::part(path, range), sink)
            .await?)
    }

    /// Reads all of a target and drops it: whether it is there, whole and unaltered.
    pub async fn check(
        &self,
        name: &str,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), InstallError> {
        let target = self.target(name)?;
        let mut hasher = Hasher::default();
        let mut sink = |piece: &[u8]| {
            hasher.update(piece);
            progress(piece.len() as u64);
            Ok(())
        };
        // The length is asked for as a limit, not as a range: a longer file is noticed too.
        let request = Request::whole(self.path(name, target), target.length);
        let fetched: Result<(), FetchError> = self.transport.fetch(&request, &mut sink).await;
        fetched?;
        check(name, hasher.finish(), target.hashes.sha256)
    }

    pub fn path(&self, name: &str, target: &Target) -> String {
        format!("{TARGETS}/{}", self.verified.target_path(name, target))
    }
}

pub(super) fn check(name: &str, found: Digest, signed: Digest) -> Result<(), InstallError> {
    if found == signed {
        return Ok(());
    }
    Err(InstallError::Sha256 {
        target: name.to_owned(),
        found,
        signed,
    })
}

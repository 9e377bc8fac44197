//! Making the entries of `Plan::files`.

use super::{Body, FileSpec, Phase};
use crate::config::{Owner, WriteFile, Written};
use crate::substitution::{restore, waits};

/// Directories that lie on the data partition, directly or by a link.
const ON_VAR: &[&str] = &["/var/", "/home/", "/root/", "/opt/", "/srv/", "/mnt/"];

/// When a file at this path can be written, whatever it holds.
pub(super) fn phase_of_path(path: &str) -> Phase {
    if ON_VAR.iter().any(|directory| path.starts_with(directory)) {
        Phase::AfterVar
    } else {
        Phase::BeforeBoot
    }
}

impl FileSpec {
    /// A text file of root's, mode 0644. Markers in the text make it wait for the network.
    pub(super) fn text(
        path: impl Into<String>,
        text: impl Into<String>,
        origin: &'static str,
    ) -> Self {
        Self::new(path.into(), Body::Content(text.into().into_bytes()), origin)
    }

    pub(super) fn symlink(
        path: impl Into<String>,
        target: impl Into<String>,
        origin: &'static str,
    ) -> Self {
        Self::new(path.into(), Body::Symlink(target.into()), origin)
    }

    pub(super) fn new(path: String, body: Body, origin: &'static str) -> Self {
        let own_phase = match &body {
            Body::Source(_) => Phase::Network,
            Body::Content(bytes) | Body::Append(bytes) if waits(bytes) => Phase::Network,
            _ if waits(path.as_bytes()) => Phase::Network,
            _ => Phase::BeforeBoot,
        };
        let body = match body {
            Body::Content(bytes) => Body::Content(restored(bytes)),
            Body::Append(bytes) => Body::Append(restored(bytes)),
            body => body,
        };
        let path = restore(&path).into_owned();
        let phase = own_phase.max(phase_of_path(&path));
        Self {
            path,
            mode: 0o644,
            owner: Owner::default(),
            body,
            phase,
            origin,
        }
    }

    pub(super) fn written(file: &WriteFile) -> Self {
        let body = match &file.written {
            Written::Content(bytes) => Body::Content(bytes.clone()),
            Written::Append(bytes) => Body::Append(bytes.clone()),
            Written::Source(source) => Body::Source(source.clone()),
        };
        let spec = Self::new(file.path.clone(), body, "write_files");
        Self {
            mode: file.mode,
            owner: file.owner.clone(),
            ..spec
        }
    }
}

/// Content that only looks like it waits, such as binary data, is left as it is.
fn restored(bytes: Vec<u8>) -> Vec<u8> {
    if !waits(&bytes) {
        return bytes;
    }
    match String::from_utf8(bytes) {
        Ok(text) => restore(&text).into_owned().into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

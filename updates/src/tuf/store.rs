//! What a machine keeps of a repository between runs: the newest root it trusts and what it has
//! seen, in one file that is replaced as a whole.
//!
//! A file that cannot be read is an error and never taken for "nothing seen yet": that would let
//! whoever can damage it bring back old releases.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::workflow::Seen;

/// A directory on a file system that survives reboots.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The newest root file, as it came.
    pub root: String,
    pub seen: Seen,
}

/// Why the kept trust cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("reading {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is damaged")]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("writing {path}")]
    Write { path: PathBuf, source: io::Error },
}

impl Store {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// None when nothing was ever kept.
    pub fn load(&self) -> Result<Option<Trust>, StoreError> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        match serde_json::from_slice(&bytes) {
            Ok(trust) => Ok(Some(trust)),
            Err(source) => Err(StoreError::Damaged { path, source }),
        }
    }

    /// On return the new trust is on the disk; after a power cut it is the old or the new one.
    pub fn save(&self, trust: &Trust) -> Result<(), StoreError> {
        let path = self.path();
        let bytes = serde_json::to_vec(trust).map_err(io::Error::from);
        bytes
            .and_then(|bytes| replace(&path, &bytes))
            .map_err(|source| StoreError::Write { path, source })
    }

    fn path(&self) -> PathBuf {
        self.dir.join("trust.json")
    }
}

/// Writes a file under a temporary name, syncs it, renames it and syncs the directory.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_read_as_it_was_kept_and_damage_is_no_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("trust"));
        assert_eq!(store.load().unwrap(), None);
        let seen = Seen {
            timestamp: 7,
            ..Seen::default()
        };
        let trust = Trust {
            root: "{}".into(),
            seen,
        };
        store.save(&trust).unwrap();
        store.save(&trust).unwrap();
        assert_eq!(store.load().unwrap(), Some(trust));
        fs::write(store.path(), b"{").unwrap();
        assert!(matches!(store.load(), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_half_written_file_beside_it_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        fs::write(dir.path().join("trust.new"), b"{\"root\":").unwrap();
        assert_eq!(store.load().unwrap(), None);
    }
}

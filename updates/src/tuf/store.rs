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

    /// A copy of a metadata file kept by an earlier run. It proves nothing: check it like any file.
    pub fn copy(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.dir.join("copies").join(name)).ok()
    }

    /// Keeps a copy of a versioned file in place of the role's older ones.
    pub fn keep_copy(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let dir = self.dir.join("copies");
        let path = dir.join(name);
        let failed = |source| StoreError::Write {
            path: path.clone(),
            source,
        };
        replace(&path, bytes).map_err(failed)?;
        let role = role_of(name);
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let other = entry.map_err(failed)?.file_name();
            if other != name && other.to_str().is_some_and(|other| role_of(other) == role) {
                fs::remove_file(dir.join(other)).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.join("trust.json")
    }
}

/// `stable.json` of `12.stable.json`.
fn role_of(name: &str) -> &str {
    match name.split_once('.') {
        Some((version, role)) if version.bytes().all(|byte| byte.is_ascii_digit()) => role,
        _ => name,
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
    fn one_copy_is_kept_per_role() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        for name in ["1.stable.json", "1.snapshot.json", "2.stable.json"] {
            store.keep_copy(name, name.as_bytes()).unwrap();
        }
        assert_eq!(store.copy("1.stable.json"), None);
        assert_eq!(store.copy("2.stable.json").unwrap(), b"2.stable.json");
        assert_eq!(store.copy("1.snapshot.json").unwrap(), b"1.snapshot.json");
    }

    #[test]
    fn a_half_written_file_beside_it_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        fs::write(dir.path().join("trust.new"), b"{\"root\":").unwrap();
        assert_eq!(store.load().unwrap(), None);
    }
}

//! What a reboot has left in the cluster and this machine has to take back once it is healthy:
//! `/state/reboot-pending.json`, there from before the lock is asked for until all is undone.
//!
//! One process at a time deals with it, under a lock on `/run/strake/reboot.lock`.

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};
use strake_updates::time::Timestamp;
use strake_updates::version::Version;

use crate::apply::tree::Node;
use crate::apply::write::{self, write_one};
use crate::root::Root;
use crate::store::etcd;

pub const PATH: &str = "/state/reboot-pending.json";
const LOCK: &str = "/run/strake/reboot.lock";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// In which boot it was begun.
    pub boot: String,
    pub since: Timestamp,
    /// The lock's group.
    pub group: String,
    /// Where the lock is; nothing: none was taken.
    pub store: Option<etcd::Settings>,
    /// The release that is rebooted into, once the cluster counts this machine as trying it.
    #[serde(default)]
    pub target: Option<Version>,
    /// Whether this machine was closed to units for the reboot.
    pub drained: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading {PATH}")]
    Read(#[source] io::Error),
    #[error("{PATH} is damaged; look at `strake lock status`, then remove it")]
    Damaged(#[source] serde_json::Error),
    #[error("writing {PATH}")]
    Write(#[source] write::Error),
}

impl Pending {
    pub fn read(root: &Root) -> Result<Option<Pending>, Error> {
        let text = root.read_optional(PATH).map_err(Error::Read)?;
        let parsed = text.map(|text| serde_json::from_str(&text));
        parsed.transpose().map_err(Error::Damaged)
    }

    /// On return it is on the disk: a machine that dies right after the lock was taken still knows.
    pub fn write(&self, root: &Root) -> Result<(), Error> {
        let text = serde_json::to_string(self).map_err(Error::Damaged)? + "\n";
        let file = Node::File {
            content: text.into(),
            mode: 0o600,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        };
        write_one(root, PATH, file).map_err(Error::Write)
    }

    pub fn remove(root: &Root) -> Result<(), Error> {
        write_one(root, PATH, Node::Absent).map_err(Error::Write)
    }
}

/// Held by whoever takes the lock for this machine or gives it back.
#[derive(Debug)]
pub struct Only(#[allow(dead_code, reason = "held, not read")] File);

/// None when another process has it.
pub fn only(root: &Root) -> io::Result<Option<Only>> {
    let path = root.follow(LOCK.as_ref())?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut options = File::options();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Only(file))),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_survives_and_one_process_deals_with_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        assert_eq!(Pending::read(&root).expect("nothing"), None);
        let pending = Pending {
            boot: "b00t".into(),
            since: Timestamp::from_unix(1_800_000_000),
            group: "workers".into(),
            store: None,
            target: Some("1.2.0".parse().expect("version")),
            drained: true,
        };
        for _ in 0..2 {
            pending.write(&root).expect("written");
            assert_eq!(Pending::read(&root).expect("read"), Some(pending.clone()));
        }
        for _ in 0..2 {
            Pending::remove(&root).expect("removed");
            assert_eq!(Pending::read(&root).expect("nothing"), None);
        }
        let held = only(&root).expect("lock");
        assert!(held.is_some() && only(&root).expect("lock").is_none());
        drop(held);
        assert!(only(&root).expect("lock").is_some());
        std::fs::write(dir.path().join("state/reboot-pending.json"), "{").expect("file");
        assert!(matches!(Pending::read(&root), Err(Error::Damaged(_))));
    }
}

//! What configs have written on this boot. With it, what a new config does not have any more goes
//! at once on a running machine, and not only with the next boot, which makes `/etc` anew.
//!
//! A path that the image has gets the image's file back. What may outlive the boot, such as a file
//! below `/var`, goes only while it is as it was written: it may have become somebody's data.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::tree::{Node, Tree};
use crate::config::record::digest;
use crate::root::Root;

pub const LIST: &str = "/run/strake/config/written.json";
/// The lower layer of `/etc`.
const IMAGE_ETC: &str = "/usr/share/strake/etc";

/// What happens to that which only earlier configs of this boot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    Go,
    /// Until the next boot.
    Stay,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// With the digest of a file that may outlive the boot.
    paths: BTreeMap<PathBuf, Option<String>>,
    users: BTreeSet<String>,
}

/// What a plan meets.
#[derive(Debug)]
pub struct Earlier {
    pub written: Written,
    /// Users that are made no more.
    pub leavers: BTreeSet<String>,
}

impl Written {
    /// A list that cannot be read is empty: the next boot clears up what it named.
    pub fn read(root: &Root) -> Written {
        let text = root.read_text(LIST).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub fn has(&self, path: &Path) -> bool {
        self.paths.contains_key(path)
    }

    /// Whether a config made this user.
    pub fn made(&self, user: &str) -> bool {
        self.users.contains(user)
    }

    pub fn users(&self) -> &BTreeSet<String> {
        &self.users
    }

    /// Users that a config made and none of these names.
    pub fn users_without<'a>(&self, wanted: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
        let mut users = self.users.clone();
        for name in wanted {
            users.remove(name);
        }
        users
    }

    /// The paths that have to go or become the image's again, for `keep` does not have them.
    pub fn without(&self, root: &Root, keep: impl Fn(&Path) -> bool) -> Tree {
        let mut tree = Tree::new();
        for (path, written) in &self.paths {
            let changed = written.as_ref().is_some_and(|written| {
                let found = root.read(path).unwrap_or_default();
                digest(&found) != *written
            });
            if !keep(path) && !changed {
                tree.insert(path.clone(), of_image(root, path).unwrap_or(Node::Absent));
            }
        }
        tree
    }

    /// The list as it is once this tree is in place.
    pub fn followed_by(
        &self,
        tree: &Tree,
        keep: impl Fn(&Path) -> bool,
        users: BTreeSet<String>,
    ) -> Written {
        let kept = self.paths.iter().filter(|(path, _)| keep(path));
        let mut paths: BTreeMap<PathBuf, Option<String>> = kept
            .map(|(path, written)| (path.clone(), written.clone()))
            .collect();
        let wanted = tree.iter().filter(|(_, node)| **node != Node::Absent);
        paths.extend(wanted.map(|(path, node)| (path.clone(), lasting(path, node))));
        Written { paths, users }
    }

    pub fn node(&self) -> Result<Node> {
        Ok(Node::File {
            content: serde_json::to_vec(self).context("writing the list of what was written")?,
            mode: 0o600,
            uid: 0,
            gid: 0,
        })
    }
}

fn lasting(path: &Path, node: &Node) -> Option<String> {
    let made_anew = ["/etc", "/run"].iter().any(|dir| path.starts_with(dir));
    match node {
        Node::File { content, .. } if !made_anew => Some(digest(content)),
        _ => None,
    }
}

/// What the image has at a path of `/etc`.
pub fn of_image(root: &Root, path: &Path) -> Option<Node> {
    let below = path.strip_prefix("/etc").ok()?;
    let real = root.locate(&Path::new(IMAGE_ETC).join(below)).ok()?;
    let metadata = std::fs::symlink_metadata(&real).ok()?;
    if metadata.is_symlink() {
        return std::fs::read_link(real).ok().map(Node::link);
    }
    Some(Node::File {
        content: std::fs::read(real).ok()?,
        mode: metadata.permissions().mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// Whether this tree has the image's `/etc` at hand.
pub fn has_image(root: &Root) -> bool {
    root.follow(IMAGE_ETC.as_ref())
        .is_ok_and(|dir| dir.is_dir())
}

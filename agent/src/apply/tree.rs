//! What has to be on disk: a map from path to node, and how the disk differs from it.
//!
//! Reads only. The same comparison is the dry run, the drift report and the list of what
//! [`super::write`] has to do.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::root::Root;

/// By path, so that parents come before what is below them.
pub type Tree = BTreeMap<PathBuf, Node>;

#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    File {
        content: Vec<u8>,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Link {
        target: PathBuf,
    },
    Absent,
}

impl Node {
    /// A file of root that all may read.
    pub fn text(content: impl Into<Vec<u8>>) -> Node {
        Node::File {
            content: content.into(),
            mode: 0o644,
            uid: 0,
            gid: 0,
        }
    }

    pub fn link(target: impl Into<PathBuf>) -> Node {
        Node::Link {
            target: target.into(),
        }
    }

    /// A link to `/dev/null`, systemd's sign for "not this one".
    pub fn mask() -> Node {
        Node::link("/dev/null")
    }
}

impl std::fmt::Debug for Node {
    // Content may hold secrets and is never shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Node::File {
                content,
                mode,
                uid,
                gid,
            } => {
                write!(f, "file {mode:04o} {uid}:{gid} {} bytes", content.len())
            }
            Node::Link { target } => write!(f, "link to {}", target.display()),
            Node::Absent => f.write_str("absent"),
        }
    }
}

/// How one path differs from what has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    Missing,
    /// It is there and has to go.
    Unwanted,
    Kind,
    Content,
    Mode,
    Owner,
    Target,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Difference::Missing => "missing",
            Difference::Unwanted => "unwanted",
            Difference::Kind => "kind",
            Difference::Content => "content",
            Difference::Mode => "mode",
            Difference::Owner => "owner",
            Difference::Target => "target",
        })
    }
}

/// Nothing when the disk has just this node at `path`.
pub fn difference(root: &Root, path: &Path, node: &Node) -> io::Result<Option<Difference>> {
    let real = root.locate(path)?;
    let metadata = match std::fs::symlink_metadata(&real) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => {
            return Ok((*node != Node::Absent).then_some(Difference::Missing));
        }
        Err(error) => return Err(error),
    };
    Ok(match node {
        Node::Absent => Some(Difference::Unwanted),
        Node::Link { target } => match metadata.is_symlink() {
            true => (std::fs::read_link(&real)? != *target).then_some(Difference::Target),
            false => Some(Difference::Kind),
        },
        Node::File {
            content,
            mode,
            uid,
            gid,
        } => {
            if !metadata.is_file() {
                Some(Difference::Kind)
            } else if metadata.len() != content.len() as u64 || std::fs::read(&real)? != *content {
                Some(Difference::Content)
            } else if metadata.permissions().mode() & 0o7777 != *mode {
                Some(Difference::Mode)
            } else {
                (metadata.uid() != *uid || metadata.gid() != *gid).then_some(Difference::Owner)
            }
        }
    })
}

/// Every path whose node differs, in order of path.
pub fn differences<'a>(
    root: &Root,
    tree: &'a Tree,
) -> io::Result<Vec<(&'a Path, &'a Node, Difference)>> {
    let mut found = Vec::new();
    for (path, node) in tree {
        if let Some(difference) = difference(root, path, node)? {
            found.push((path.as_path(), node, difference));
        }
    }
    Ok(found)
}

// A parent that is a file is found by the pre-flight; to a comparison the path is just not there.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

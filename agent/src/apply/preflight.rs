//! What would stop the tree from being written, found before anything is.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::tree::{Node, Tree};
use crate::root::Root;

/// One reason why a path cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub path: PathBuf,
    pub cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A component above is, or is going to be, a file.
    ParentIsFile(PathBuf),
    IsDirectory,
    ReadOnly(PathBuf),
    NoPermission(PathBuf),
    Unreadable(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            Cause::ParentIsFile(parent) => {
                write!(
                    f,
                    "{path} cannot be written: {} is a file",
                    parent.display()
                )
            }
            Cause::IsDirectory => write!(f, "{path} cannot be written: it is a directory"),
            Cause::ReadOnly(dir) => {
                write!(
                    f,
                    "{path} cannot be written: {} is read-only",
                    dir.display()
                )
            }
            Cause::NoPermission(dir) => {
                write!(
                    f,
                    "{path} cannot be written: no permission in {}",
                    dir.display()
                )
            }
            Cause::Unreadable(cause) => write!(f, "{path} cannot be written: {cause}"),
        }
    }
}

/// Every obstacle, in order of path.
pub fn obstacles(root: &Root, tree: &Tree) -> Vec<Obstacle> {
    let mut parents = Parents {
        root,
        tree,
        known: HashMap::new(),
    };
    tree.iter()
        .filter_map(|(path, node)| {
            let cause = parents
                .check(path.parent()?)
                .or_else(|| own_cause(root, path, node))?;
            Some(Obstacle {
                path: path.clone(),
                cause,
            })
        })
        .collect()
}

fn own_cause(root: &Root, path: &Path, node: &Node) -> Option<Cause> {
    let real = match root.locate(path) {
        Ok(real) => real,
        Err(error) => return Some(Cause::Unreadable(error.to_string())),
    };
    let is_dir = std::fs::symlink_metadata(real).is_ok_and(|metadata| metadata.is_dir());
    (is_dir && *node != Node::Absent).then_some(Cause::IsDirectory)
}

/// Directories already looked at: many paths share few parents.
struct Parents<'a> {
    root: &'a Root,
    tree: &'a Tree,
    known: HashMap<PathBuf, Option<Cause>>,
}

impl Parents<'_> {
    fn check(&mut self, dir: &Path) -> Option<Cause> {
        if let Some(known) = self.known.get(dir) {
            return known.clone();
        }
        let cause = self.look(dir);
        self.known.insert(dir.to_path_buf(), cause.clone());
        cause
    }

    fn look(&mut self, dir: &Path) -> Option<Cause> {
        if matches!(self.tree.get(dir), Some(Node::File { .. })) {
            return Some(Cause::ParentIsFile(dir.to_path_buf()));
        }
        let real = match self.root.follow(dir) {
            Ok(real) => real,
            Err(error) => return Some(Cause::Unreadable(error.to_string())),
        };
        match std::fs::metadata(&real) {
            Ok(metadata) if !metadata.is_dir() => Some(Cause::ParentIsFile(dir.to_path_buf())),
            Ok(_) => match access(&real, AccessFlags::W_OK) {
                Ok(()) => None,
                Err(Errno::EROFS) => Some(Cause::ReadOnly(dir.to_path_buf())),
                Err(_) => Some(Cause::NoPermission(dir.to_path_buf())),
            },
            Err(_) => dir.parent().and_then(|above| self.check(above)),
        }
    }
}

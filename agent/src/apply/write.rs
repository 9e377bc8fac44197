//! The only writer: brings the disk to what the tree says.
//!
//! Two passes. First every file is made complete under a temporary name beside its target and
//! synced, so that a full disk or a refused owner is met while nothing is changed; then all are
//! renamed. On an error every temporary file and every directory made is removed again; what a
//! power cut leaves has a name that the next write uses again.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::tree::{self, Difference, Node, Tree};
use crate::root::Root;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("waiting for another apply to end")]
    Lock(#[source] io::Error),
    #[error("comparing with the disk")]
    Compare(#[source] io::Error),
    #[error("preparing {path}")]
    Stage { path: PathBuf, source: io::Error },
    #[error("putting {path} in place")]
    Commit { path: PathBuf, source: io::Error },
}

/// One path that was changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    pub path: PathBuf,
    pub difference: Difference,
}

/// Writes what differs and returns it; nothing is touched that is equal already.
pub fn write(root: &Root, tree: &Tree) -> Result<Vec<Change>, Error> {
    let _lock = lock(root).map_err(Error::Lock)?;
    let todo = tree::differences(root, tree).map_err(Error::Compare)?;
    let mut stage = Stage::default();
    for (path, node, _) in &todo {
        let staged = root
            .locate(path)
            .and_then(|target| stage.prepare(&target, node));
        if let Err(source) = staged {
            stage.undo();
            return Err(Error::Stage {
                path: path.to_path_buf(),
                source,
            });
        }
    }
    stage.commit()?;
    Ok(todo
        .into_iter()
        .map(|(path, _, difference)| Change {
            path: path.to_path_buf(),
            difference,
        })
        .collect())
}

/// One writer at a time; held until the handle is closed.
fn lock(root: &Root) -> io::Result<File> {
    let dir = File::open(root.follow(Path::new("/"))?)?;
    dir.lock()?;
    Ok(dir)
}

/// Writes one file of the program's own state.
pub fn write_one(root: &Root, path: &str, node: Node) -> Result<(), Error> {
    write(root, &Tree::from([(PathBuf::from(path), node)])).map(drop)
}

#[derive(Default)]
struct Stage {
    /// Temporary name, if any, and target; no temporary name: the target is removed.
    ready: Vec<(Option<PathBuf>, PathBuf)>,
    made_dirs: Vec<PathBuf>,
}

impl Stage {
    fn prepare(&mut self, target: &Path, node: &Node) -> io::Result<()> {
        let dir = target.parent().unwrap_or(Path::new("/"));
        if *node == Node::Absent {
            self.ready.push((None, target.to_path_buf()));
            return Ok(());
        }
        self.make_dir(dir)?;
        let temp = dir.join(format!(".strake-new-{}", self.ready.len()));
        match std::fs::remove_file(&temp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Known before it exists, so that it is removed however making it ends.
        self.ready.push((Some(temp.clone()), target.to_path_buf()));
        match node {
            Node::File {
                content,
                mode,
                uid,
                gid,
            } => make_file(&temp, content, *mode, *uid, *gid),
            Node::Link { target } => symlink(target, &temp),
            Node::Absent => Ok(()),
        }
    }

    fn make_dir(&mut self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(above) = dir.parent() {
            self.make_dir(above)?;
        }
        std::fs::DirBuilder::new().mode(0o755).create(dir)?;
        self.made_dirs.push(dir.to_path_buf());
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
    }

    fn commit(mut self) -> Result<(), Error> {
        let ready = std::mem::take(&mut self.ready);
        let mut dirs = BTreeSet::new();
        for (index, (temp, target)) in ready.iter().enumerate() {
            let done = match temp {
                Some(temp) => std::fs::rename(temp, target),
                None => std::fs::remove_file(target),
            };
            if let Err(source) = done {
                self.ready = ready[index..].to_vec();
                self.undo();
                return Err(Error::Commit {
                    path: target.clone(),
                    source,
                });
            }
            dirs.extend(target.parent().map(Path::to_path_buf));
        }
        for dir in dirs {
            let synced = File::open(&dir).and_then(|dir| dir.sync_all());
            synced.map_err(|source| Error::Commit { path: dir, source })?;
        }
        Ok(())
    }

    // Best effort: the first error is the one to report.
    fn undo(self) {
        for temp in self.ready.into_iter().filter_map(|(temp, _)| temp) {
            let _ = std::fs::remove_file(temp);
        }
        for dir in self.made_dirs.into_iter().rev() {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

fn make_file(path: &Path, content: &[u8], mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (uid, gid) {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> (u32, u32) {
        (
            nix::unistd::geteuid().as_raw(),
            nix::unistd::getegid().as_raw(),
        )
    }

    fn file(content: &str, mode: u32) -> Node {
        let (uid, gid) = me();
        Node::File {
            content: content.into(),
            mode,
            uid,
            gid,
        }
    }

    fn tree(nodes: &[(&str, Node)]) -> Tree {
        nodes
            .iter()
            .map(|(path, node)| (PathBuf::from(path), node.clone()))
            .collect()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let mut todo = vec![dir.to_path_buf()];
        while let Some(at) = todo.pop() {
            for entry in std::fs::read_dir(&at).expect("dir").flatten() {
                let relative = entry.path();
                names.push(
                    relative
                        .strip_prefix(dir)
                        .expect("below")
                        .display()
                        .to_string(),
                );
                if entry.file_type().expect("type").is_dir() {
                    todo.push(entry.path());
                }
            }
        }
        names.sort();
        names
    }

    #[test]
    fn writing_twice_changes_nothing_the_second_time() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        let tree = tree(&[
            ("/etc/a/b.conf", file("x", 0o640)),
            ("/etc/link", Node::mask()),
            ("/etc/gone", Node::Absent),
        ]);
        assert_eq!(write(&root, &tree).expect("first").len(), 2);
        let inode = |path: &str| {
            std::fs::metadata(dir.path().join(path))
                .expect("there")
                .ino()
        };
        let before = inode("etc/a/b.conf");
        assert_eq!(write(&root, &tree).expect("second"), Vec::new());
        assert_eq!(inode("etc/a/b.conf"), before);
        let mode = std::fs::metadata(dir.path().join("etc/a"))
            .expect("dir")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o755);
    }

    #[test]
    fn a_failure_leaves_the_tree_as_it_was() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        std::fs::write(dir.path().join("file"), "content").expect("file");
        let before = names(dir.path());
        let tree = tree(&[
            ("/etc/new/a", file("x", 0o644)),
            ("/file/below", file("y", 0o644)),
        ]);
        assert!(matches!(write(&root, &tree), Err(Error::Stage { .. })));
        assert_eq!(names(dir.path()), before);
    }

    #[test]
    fn kinds_of_difference_are_told_apart() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::new(dir.path());
        std::fs::write(dir.path().join("f"), "x").expect("file");
        std::fs::set_permissions(dir.path().join("f"), std::fs::Permissions::from_mode(0o644))
            .expect("mode");
        let cases = [
            ("/f", file("x", 0o644), None),
            ("/f", file("y", 0o644), Some(Difference::Content)),
            ("/f", file("x", 0o600), Some(Difference::Mode)),
            ("/f", Node::mask(), Some(Difference::Kind)),
            ("/f", Node::Absent, Some(Difference::Unwanted)),
            ("/g", Node::Absent, None),
            ("/g/h", file("x", 0o644), Some(Difference::Missing)),
        ];
        for (path, node, expected) in cases {
            let found = tree::difference(&root, Path::new(path), &node).expect("readable");
            assert_eq!(found, expected, "{path} {node:?}");
        }
    }
}

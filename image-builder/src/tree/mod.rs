//! A file tree in memory: names, owners and modes, with the contents left where they are until
//! they are written out. Package archives carry no extended attributes, so neither does the tree.
//!
//! The builder never has root's files on disk as files, so it needs no root. Paths are relative
//! to the root (`usr/bin/env`), in sorted order, and `/bin`, `/lib` and so on are `/usr/...`.

mod archive;
mod directory;
mod patterns;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub use archive::{read_archive, write_archive};
pub use directory::{read_directory, write_directory};
pub use patterns::Patterns;

#[derive(Debug, Clone, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Directory,
    File(Content),
    Symlink(String),
}

/// A file's bytes, or where they are.
#[derive(Debug, Clone)]
pub enum Content {
    Bytes(Arc<[u8]>),
    Part {
        file: Arc<File>,
        offset: u64,
        size: u64,
    },
}

impl PartialEq for Content {
    /// Equal if they are the same bytes of the same place; used to find hard links.
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Content {
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Part { size, .. } => *size,
        }
    }

    pub fn reader(&self) -> Box<dyn Read + '_> {
        match self {
            Self::Bytes(bytes) => Box::new(&bytes[..]),
            Self::Part { file, offset, size } => Box::new(PartReader {
                file,
                offset: *offset,
                left: *size,
            }),
        }
    }

    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size()).unwrap_or(0));
        self.reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Identifies the place that the bytes are in.
    fn place(&self) -> (usize, u64, u64) {
        match self {
            Self::Bytes(bytes) => (bytes.as_ptr().addr(), 0, bytes.len() as u64),
            Self::Part { file, offset, size } => (Arc::as_ptr(file).addr(), *offset, *size),
        }
    }
}

struct PartReader<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        if read == 0 && self.left > 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Node {
    fn new(mode: u32, kind: Kind) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,

            kind,
        }
    }

    pub fn file(mode: u32, content: impl Into<Arc<[u8]>>) -> Self {
        Self::new(mode, Kind::File(Content::Bytes(content.into())))
    }

    pub fn stored(mode: u32, content: Content) -> Self {
        Self::new(mode, Kind::File(content))
    }

    pub fn symlink(target: &str) -> Self {
        Self::new(0o777, Kind::Symlink(target.to_owned()))
    }

    pub fn directory(mode: u32) -> Self {
        Self::new(mode, Kind::Directory)
    }

    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    pub fn content(&self) -> Option<&Content> {
        match &self.kind {
            Kind::File(content) => Some(content),
            Kind::Directory | Kind::Symlink(_) => None,
        }
    }
}

impl Tree {
    /// Puts a node in its place, with parents that are missing. A directory that is there already
    /// keeps what is in it; anything else is replaced.
    pub fn insert(&mut self, path: &str, node: Node) {
        self.place(merged(path), node);
    }

    fn place(&mut self, path: String, node: Node) {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            if !self.nodes.get(parent).is_some_and(Node::is_directory) {
                self.nodes.insert(parent.to_owned(), Node::directory(0o755));
            }
        }
        if !node.is_directory() && self.nodes.get(&path).is_some_and(Node::is_directory) {
            self.remove(&path);
        }
        self.nodes.insert(path, node);
    }

    /// Lays `other` over this tree.
    pub fn overlay(&mut self, other: &Tree) {
        for (path, node) in &other.nodes {
            let directory = self.nodes.get(path).is_some_and(Node::is_directory);
            if !(directory && node.is_directory()) {
                self.place(path.clone(), node.clone());
            }
        }
    }

    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub fn node_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(path)
    }

    pub fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// Content of a regular file.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        match self.node(path).and_then(Node::content) {
            Some(content) => content.read(),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no file {path}"),
            )),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// What is below a directory, with paths from there.
    pub fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let start = format!("{directory}/");
        self.nodes
            .range(start.clone()..)
            .take_while(move |(path, _)| path.starts_with(&start))
            .map(move |(path, node)| (&path[directory.len() + 1..], node))
    }

    /// Removes a path and what is below it.
    pub fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        let below: Vec<String> = self
            .below(path)
            .map(|(name, _)| format!("{path}/{name}"))
            .collect();
        below.iter().for_each(|path| drop(self.nodes.remove(path)));
    }

    /// A tree of what is below `directory`, placed below `target` (the root if empty).
    pub fn moved(&self, directory: &str, target: &str) -> Tree {
        let mut tree = Tree::default();
        for (path, node) in self.below(directory) {
            let path = if target.is_empty() {
                path.to_owned()
            } else {
                format!("{target}/{path}")
            };
            tree.place(path, node.clone());
        }
        tree
    }

    /// The same tree, placed below `target`.
    pub fn moved_below(&self, target: &str) -> Tree {
        let mut tree = Tree::default();
        self.iter()
            .for_each(|(path, node)| tree.place(format!("{target}/{path}"), node.clone()));
        tree
    }

    /// Modes as a package would have them, whatever the umask was that files were made under.
    pub fn normalize_modes(&mut self) {
        for node in self.nodes.values_mut() {
            node.mode = match node.kind {
                Kind::Directory => 0o755,
                Kind::File(_) => 0o644,
                Kind::Symlink(_) => 0o777,
            };
        }
    }

    /// Keeps the nodes that `keep` accepts, and the directories that lead to them.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Node) -> bool) {
        let mut kept: BTreeMap<String, Node> = BTreeMap::new();
        for (path, node) in std::mem::take(&mut self.nodes).into_iter().rev() {
            let prefix = format!("{path}/");
            let leads = node.is_directory()
                && kept
                    .range(prefix.clone()..)
                    .next()
                    .is_some_and(|(p, _)| p.starts_with(&prefix));
            if leads || keep(&path, &node) {
                kept.insert(path, node);
            }
        }
        self.nodes = kept;
    }

    /// Removes what `patterns` name.
    pub fn trim(&mut self, patterns: &Patterns) {
        let removed = patterns.removed(self.nodes.keys().map(String::as_str));
        self.retain(|path, _| !removed.contains(path));
    }
}

/// Debian has `/bin`, `/lib` and the like merged into `/usr`; packages may still name the old path.
fn merged(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if matches!(first, "bin" | "sbin" | "lib" | "lib32" | "lib64" | "libx32") && first != path {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        paths
            .iter()
            .for_each(|path| tree.insert(path, Node::file(0o644, path.as_bytes())));
        tree
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.iter()
            .filter(|(_, node)| !node.is_directory())
            .map(|(path, _)| path)
            .collect()
    }

    #[test]
    fn parents_are_made_and_old_paths_merged() {
        let tree = tree(&["./lib/x/y", "usr/lib/z"]);
        assert!(tree.node("usr/lib/x").unwrap().is_directory());
        assert_eq!(paths(&tree), ["usr/lib/x/y", "usr/lib/z"]);
    }

    #[test]
    fn what_is_below_usr_can_become_the_root() {
        let usr = tree(&["usr/bin/a", "usr/share/b"]).moved("usr", "");
        assert_eq!(paths(&usr), ["bin/a", "share/b"]);
        let mut below = tree(&["x"]);
        below.overlay(&usr);
        assert_eq!(paths(&below), ["bin/a", "share/b", "x"]);
    }

    #[test]
    fn an_overlay_replaces_files_and_keeps_directories() {
        let mut lower = tree(&["etc/a", "etc/b"]);
        lower.node_mut("etc").unwrap().mode = 0o700;
        let mut upper = Tree::default();
        upper.insert("etc/a", Node::symlink("b"));
        lower.overlay(&upper);
        assert_eq!(lower.node("etc").unwrap().mode, 0o700);
        assert_eq!(lower.node("etc/a").unwrap().kind, Kind::Symlink("b".into()));
    }

    #[test]
    fn a_removed_directory_takes_its_content_but_not_its_neighbours() {
        let mut tree = tree(&["a/b/c", "a/b.d", "a/b-c/d"]);
        tree.remove("a/b");
        assert_eq!(paths(&tree), ["a/b-c/d", "a/b.d"]);
    }

    #[test]
    fn trimming_keeps_the_way_to_what_is_kept() {
        let mut tree = tree(&["usr/share/doc/a/x", "usr/share/doc/b/y", "usr/share/z"]);
        let list = ["usr/share/doc".to_owned(), "!usr/share/doc/b".to_owned()];
        tree.trim(&Patterns::parse(&list).unwrap());
        assert_eq!(paths(&tree), ["usr/share/doc/b/y", "usr/share/z"]);
        assert!(!tree.contains("usr/share/doc/a"));
    }
}

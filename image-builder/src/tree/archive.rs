//! A tree from tar archives (of packages) and to one (for mkfs.erofs).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tar::{Archive, Builder, EntryType, Header};

use super::{Content, Kind, Node, Tree};
use crate::EPOCH;

/// Reads names and places only; contents stay in the archive.
pub fn read_archive(path: &Path) -> Result<Tree> {
    let named = || format!("reading {}", path.display());
    let file = Arc::new(File::open(path).with_context(named)?);
    let mut tree = Tree::default();
    let mut archive = Archive::new(&*file);
    for entry in archive.entries_with_seek().with_context(named)? {
        let entry = entry.with_context(named)?;
        let name = text(&entry.path_bytes()).with_context(named)?;
        let link = entry
            .link_name_bytes()
            .map(|bytes| text(&bytes))
            .transpose()?;
        let (offset, size) = (entry.raw_file_position(), entry.size());
        let header = entry.header();
        let kind = match (header.entry_type(), link) {
            (EntryType::Regular | EntryType::Continuous, _) => Kind::File(Content::Part {
                file: file.clone(),
                offset,
                size,
            }),
            (EntryType::Directory, _) => Kind::Directory,
            (EntryType::Symlink, Some(target)) => Kind::Symlink(target),
            (EntryType::Link, Some(target)) => {
                let target = super::merged(&target);
                let node = tree.node(&target).with_context(|| {
                    format!("{name} is a link to {target}, which is not in the archive")
                })?;
                let node = node.clone();
                tree.insert(&name, node);
                continue;
            }
            // Devices and the like have no place in a read-only /usr.
            (EntryType::Char | EntryType::Block | EntryType::Fifo, _) => continue,
            (kind, _) => bail!("{name} is a {kind:?} entry, which is not supported"),
        };
        let number = |value: std::io::Result<u64>| -> Result<u32> {
            Ok(u32::try_from(value.with_context(named)?)?)
        };
        let node = Node {
            mode: header.mode().with_context(named)? & 0o7777,
            uid: number(header.uid())?,
            gid: number(header.gid())?,
            kind,
        };
        if !super::merged(&name).is_empty() {
            tree.insert(&name, node);
        }
    }
    Ok(tree)
}

fn text(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes);
    Ok(text
        .with_context(|| format!("{} is not UTF-8", bytes.escape_ascii()))?
        .to_owned())
}

/// Writes the tree in order, every time stamp the same; equal places become hard links.
pub fn write_archive(tree: &Tree, output: impl Write) -> Result<()> {
    let mut builder = Builder::new(output);
    let mut places: BTreeMap<(usize, u64, u64), &str> = BTreeMap::new();
    builder.append_data(&mut header(&Node::directory(0o755)), "./", std::io::empty())?;
    for (path, node) in tree.iter() {
        let named = || format!("writing {path} to the archive");
        let mut header = header(node);
        if let Kind::File(content) = &node.kind
            && content.size() > 0
            && let Some(first) = places.get(&content.place())
            && tree.node(first) == Some(node)
        {
            header.set_entry_type(EntryType::Link);
            header.set_size(0);
            builder
                .append_link(&mut header, path, first)
                .with_context(named)?;
            continue;
        }
        match &node.kind {
            Kind::Directory => {
                let path = format!("{path}/");
                builder
                    .append_data(&mut header, path, std::io::empty())
                    .with_context(named)?;
            }
            Kind::Symlink(target) => {
                builder
                    .append_link(&mut header, path, target)
                    .with_context(named)?;
            }
            Kind::File(content) => {
                places.entry(content.place()).or_insert(path);
                let reader = content.reader();
                builder
                    .append_data(&mut header, path, reader)
                    .with_context(named)?;
            }
        }
    }
    builder
        .into_inner()
        .context("ending the archive")?
        .flush()
        .context("ending the archive")
}

fn header(node: &Node) -> Header {
    let mut header = Header::new_gnu();
    let (kind, size) = match &node.kind {
        Kind::Directory => (EntryType::Directory, 0),
        Kind::Symlink(_) => (EntryType::Symlink, 0),
        Kind::File(content) => (EntryType::Regular, content.size()),
    };
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(node.mode);
    header.set_uid(node.uid.into());
    header.set_gid(node.gid.into());
    header.set_mtime(EPOCH);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_modes_and_links_survive() {
        let mut tree = Tree::default();
        let mut node = Node::file(0o4755, &b"program"[..]);
        node.gid = 42;
        let long = format!("usr/share/{}/ő", "n".repeat(150));
        tree.insert("usr/bin/a", node.clone());
        tree.insert("usr/bin/b", node.clone());
        tree.insert(&long, Node::file(0o600, &b"x"[..]));
        tree.insert("usr/link", Node::symlink("bin/a"));
        let file = tempfile::NamedTempFile::new().unwrap();
        write_archive(&tree, file.as_file()).unwrap();
        let again = read_archive(file.path()).unwrap();
        let (a, b) = (
            again.node("usr/bin/a").unwrap(),
            again.node("usr/bin/b").unwrap(),
        );
        assert_eq!(a, b, "hard links share their bytes");
        assert_eq!((a.mode, a.gid), (0o4755, 42));
        assert_eq!(again.read("usr/bin/b").unwrap(), b"program");
        assert_eq!(again.read(&long).unwrap(), b"x");
        assert_eq!(again.node("usr/link"), tree.node("usr/link"));
    }
}

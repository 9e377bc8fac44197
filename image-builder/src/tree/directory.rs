//! A tree from a directory of the host, and to one for programs that want real files.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};

use super::{Kind, Node, Tree};

/// Modes are kept; everything is owned by root, whoever owns it here.
pub fn read_directory(directory: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    read_into(directory, "", &mut tree)?;
    Ok(tree)
}

fn read_into(directory: &Path, prefix: &str, tree: &mut Tree) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("listing {}", directory.display()))?;
        let path = entry.path();
        let named = || format!("reading {}", path.display());
        let name = entry.file_name();
        let name = name
            .to_str()
            .with_context(|| format!("{} is not UTF-8", path.display()))?;
        let name = format!("{prefix}{name}");
        let meta = fs::symlink_metadata(&path).with_context(named)?;
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_dir() {
            tree.insert(&name, Node::directory(mode));
            read_into(&path, &format!("{name}/"), tree)?;
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).with_context(named)?;
            tree.insert(&name, Node::symlink(&target.to_string_lossy()));
        } else {
            tree.insert(
                &name,
                Node::file(mode, fs::read(&path).with_context(named)?),
            );
        }
    }
    Ok(())
}

/// Writes files, directories and links, without owners and attributes.
pub fn write_directory(tree: &Tree, directory: &Path) -> Result<()> {
    for (path, node) in tree.iter() {
        let target = directory.join(path);
        write_node(node, &target).with_context(|| format!("writing {}", target.display()))?;
    }
    Ok(())
}

fn write_node(node: &Node, target: &Path) -> io::Result<()> {
    match &node.kind {
        Kind::Directory => fs::create_dir(target),
        Kind::Symlink(link) => symlink(link, target),
        Kind::File(content) => {
            io::copy(&mut content.reader(), &mut fs::File::create(target)?).map(|_| ())
        }
    }
}

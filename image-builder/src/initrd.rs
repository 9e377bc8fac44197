//! The initrd: strake-init, the modules it loads, and nothing else.

use std::io::Write;

use anyhow::{Context, Result};

use crate::cpio;
use crate::kernel::{Dependencies, MODULES};
use crate::tree::{Content, Node, Tree};

const LEVEL: i32 = 19;

/// Made once per change and kept, so the time for the best compression is well spent.
pub fn write(tree: &Tree, output: impl Write) -> Result<()> {
    let mut encoder = zstd::Encoder::new(output, LEVEL).context("starting the compression")?;
    cpio::write(tree, &mut encoder).context("writing the archive")?;
    encoder
        .finish()
        .context("ending the compression")?
        .flush()
        .context("writing the archive")
}

/// `modules` is the tree of plain modules.
pub fn tree(init: Content, modules: &Tree, kernel: &str, names: &[String]) -> Result<Tree> {
    let mut tree = Tree::default();
    for directory in ["dev", "proc", "run", "sys", "sysroot"] {
        tree.insert(directory, Node::directory(0o755));
    }
    tree.insert("init", Node::stored(0o755, init));
    let directory = format!("{MODULES}/{kernel}");
    let text = |name: &str| -> Result<String> {
        let bytes = modules.read(&format!("{directory}/{name}"));
        let bytes = bytes.with_context(|| format!("reading {name} of the kernel"))?;
        String::from_utf8(bytes).with_context(|| format!("reading {name} of the kernel"))
    };
    let dependencies = Dependencies::parse(&text("modules.dep")?, &text("modules.builtin")?);
    let files = dependencies.closure(names)?;
    for file in &files {
        let path = format!("{directory}/{file}");
        let node = modules
            .node(&path)
            .with_context(|| format!("{path} is missing"))?;
        tree.insert(&path, node.clone());
    }
    let list = names
        .iter()
        .map(|name| format!("{name}\n"))
        .collect::<String>();
    tree.insert(
        "etc/strake-init/modules",
        Node::file(0o644, list.into_bytes()),
    );
    let dep = dependencies.restricted(&files).into_bytes();
    tree.insert(&format!("{directory}/modules.dep"), Node::file(0o644, dep));
    Ok(tree)
}

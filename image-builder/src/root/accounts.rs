//! Users and groups of the image, made by systemd-sysusers from `sysusers.d`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::program;
use crate::tools::Tools;
use crate::tree::{Node, Tree, write_directory};

/// Group that may read the shadow files; base-passwd gives it this id in every Debian.
const SHADOW: u32 = 42;
const FILES: [(&str, u32, u32); 4] = [
    ("passwd", 0o644, 0),
    ("group", 0o644, 0),
    ("shadow", 0o640, SHADOW),
    ("gshadow", 0o640, SHADOW),
];

pub(super) fn make(tools: &Tools, tree: &Tree, scratch: &Path) -> Result<Tree> {
    let mut input = tree.clone();
    input.retain(|path, _| {
        let account = path
            .strip_prefix("etc/")
            .is_some_and(|name| FILES.iter().any(|f| f.0 == name));
        account || path.starts_with("usr/lib/sysusers.d/") || path.starts_with("etc/sysusers.d/")
    });
    input.insert("etc", Node::directory(0o755));
    fs::create_dir(scratch).context("making a directory for the accounts")?;
    write_directory(&input, scratch)?;
    // The shadow files are made unreadable, also for a builder who is not root.
    let script = "systemd-sysusers --root \"$0\"; chmod 600 \"$0\"/etc/*shadow";
    let mut command = tools.command("sh");
    command.args(["-euc", script]).arg(scratch);
    program::run(&mut command).context("making the system's users and groups")?;
    let mut accounts = Tree::default();
    for (name, mode, group) in FILES {
        let content = fs::read(scratch.join("etc").join(name));
        let content = content.with_context(|| format!("reading the image's /etc/{name}"))?;
        let mut node = Node::file(mode, content);
        node.gid = group;
        accounts.insert(&format!("etc/{name}"), node);
    }
    Ok(accounts)
}

/// A file whose owner has no name would belong to whoever gets that id later.
pub(super) fn check_owners(tree: &Tree) -> Result<()> {
    let ids = |file: &str| -> Result<BTreeSet<u32>> {
        let text = tree
            .read(file)
            .with_context(|| format!("reading the image's {file}"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(text
            .lines()
            .filter_map(|line| line.split(':').nth(2)?.parse().ok())
            .collect())
    };
    let (users, groups) = (ids("etc/passwd")?, ids("etc/group")?);
    let shipped = |path: &str| path.starts_with("usr/") || path.starts_with("etc/");
    let unknown: Vec<String> = tree
        .iter()
        .filter(|(path, node)| {
            shipped(path) && !(users.contains(&node.uid) && groups.contains(&node.gid))
        })
        .map(|(path, node)| format!("{path} ({}:{})", node.uid, node.gid))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    bail!(
        "owners without a line in sysusers.d: {}",
        unknown.join(", ")
    )
}

//! Where the account tables come from and go to.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::tree::{Node, Tree};
use crate::accounts::Accounts;
use crate::accounts::table::Table;
use crate::root::Root;

const IDS: &str = "/state/ids.json";

pub fn read(root: &Root) -> Result<Accounts> {
    let table = |path: &str| -> Result<Table> {
        let text = root
            .read_optional(path)
            .with_context(|| format!("reading {path}"))?;
        Ok(Table::parse(&text.unwrap_or_default()))
    };
    let ids = root
        .read_optional(IDS)
        .with_context(|| format!("reading {IDS}"))?;
    Ok(Accounts {
        passwd: table("/etc/passwd")?,
        shadow: table("/etc/shadow")?,
        group: table("/etc/group")?,
        gshadow: table("/etc/gshadow")?,
        // A damaged file costs the numbers kept, not the boot.
        ids: ids
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
    })
}

/// Adds the files whose text changed, with the mode and owner they have.
pub fn add(root: &Root, accounts: &Accounts, tree: &mut Tree) -> Result<()> {
    let before = read(root)?;
    let shadow_gid = accounts.gid("shadow").unwrap_or(0);
    let files = [
        ("/etc/passwd", &before.passwd, &accounts.passwd, 0o644, 0),
        ("/etc/group", &before.group, &accounts.group, 0o644, 0),
        (
            "/etc/shadow",
            &before.shadow,
            &accounts.shadow,
            0o640,
            shadow_gid,
        ),
        (
            "/etc/gshadow",
            &before.gshadow,
            &accounts.gshadow,
            0o640,
            shadow_gid,
        ),
    ];
    for (path, old, new, default_mode, default_gid) in files {
        if old == new {
            continue;
        }
        let metadata = root.follow(path.as_ref()).and_then(std::fs::metadata).ok();
        let (mode, uid, gid) = match metadata {
            Some(there) => (
                there.permissions().mode() & 0o7777,
                there.uid(),
                there.gid(),
            ),
            None => (default_mode, 0, default_gid),
        };
        let content = new.to_string().into_bytes();
        tree.insert(
            PathBuf::from(path),
            Node::File {
                content,
                mode,
                uid,
                gid,
            },
        );
    }
    if before.ids != accounts.ids {
        let text = serde_json::to_string_pretty(&accounts.ids).context("writing ids as JSON")?;
        tree.insert(PathBuf::from(IDS), Node::text(text + "\n"));
    }
    Ok(())
}

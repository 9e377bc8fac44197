//! Certificates that count no more, as this machine knows them: for its own listeners, and on a
//! member for etcd, which reads its list at each handshake.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::authority::Authority;
use super::clock::Clock;
use super::environment;
use super::identity::etcd_user;
use super::identity::own_file;
use crate::apply::tree::Node;
use crate::apply::write::write_one;
use crate::root::Root;

/// A serial in hexadecimal on each line.
const PATH: &str = "/state/cluster/revoked";

pub fn known(root: &Root) -> BTreeSet<String> {
    let text = root.read_text(PATH).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

pub fn keep(root: &Root, serials: &BTreeSet<String>) -> Result<()> {
    let text: String = serials.iter().map(|serial| format!("{serial}\n")).collect();
    let node = own_file(text, 0o644);
    write_one(root, PATH, node).context("keeping the list of revoked certificates")
}

pub fn is_revoked(root: &Root, serial: &str) -> bool {
    known(root).contains(serial)
}

/// For etcd, which lets nobody in without the file and looks at the serials alone.
pub fn tell_etcd(root: &Root, authority: &Authority, clock: Clock) -> Result<()> {
    let content = authority.revocations(&known(root), clock.now())?;
    let (uid, gid) = etcd_user(root);
    let node = Node::File {
        content,
        mode: 0o444,
        uid,
        gid,
    };
    write_one(root, environment::REVOKED, node).context("telling etcd what is revoked")
}

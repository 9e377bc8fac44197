//! The bundle of certificate authorities, as `update-ca-certificates` would make it.

use anyhow::{Context, Result, bail};

use crate::tree::Tree;

pub(super) const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const SOURCE: &str = "usr/share/ca-certificates";

pub(super) fn bundle(packages: &Tree) -> Result<Vec<u8>> {
    let mut bundle = Vec::new();
    for (path, node) in packages
        .below(SOURCE)
        .filter(|(path, _)| path.ends_with(".crt"))
    {
        let Some(content) = node.content() else {
            continue;
        };
        bundle.extend(
            content
                .read()
                .with_context(|| format!("reading {SOURCE}/{path}"))?,
        );
        if bundle.last() != Some(&b'\n') {
            bundle.push(b'\n');
        }
    }
    if bundle.is_empty() {
        bail!("no certificates in {SOURCE}: packages.txt needs ca-certificates");
    }
    Ok(bundle)
}

//! Fetches a release's hash tree, by which everything else is checked.

use std::ops::Range;

use super::remote::{Remote, check};
use super::{Active, InstallError, Report};
use crate::digest::Digest;
use crate::fetch::Transport;
use crate::offer::{Delta, Offer};
use crate::payload::BLOCK;
use crate::payload::ladder::Rung;
use crate::payload::patch::{self, InvalidPatch, Table};
use crate::payload::tree::{Shape, Tree};

/// The new tree, from a patch when that is smaller. From here on every block is known.
pub(super) async fn fetch<T: Transport>(
    remote: &Remote<'_, T>,
    offer: &Offer,
    base: Option<(&Active, &Delta)>,
    report: &mut Report,
) -> Result<Tree, InstallError> {
    let name = &offer.usr.tree;
    let target = remote.target(name)?;
    let shape = Shape {
        data_blocks: offer.usr.size / BLOCK,
        salt: offer.salt(),
        root_hash: offer.usr.root_hash,
    };
    let parse = |bytes| {
        Tree::parse(bytes, shape.clone()).map_err(|source| InstallError::Tree {
            target: name.clone(),
            source,
        })
    };
    if let Some((active, delta)) = base
        && let patch = remote.target(&delta.tree.target)?
        && patch.length < target.length
    {
        report.fetched_bytes += patch.length;
        match patched(
            remote,
            &delta.tree.target,
            active.tree.bytes(),
            target.length,
        )
        .await
        {
            Ok(bytes) if Digest::of(&bytes) == target.hashes.sha256 => return parse(bytes),
            Ok(bytes) => {
                let wrong = check(&delta.tree.target, Digest::of(&bytes), target.hashes.sha256);
                let reason = wrong.map_or_else(|error| error.to_text(), |()| String::new());
                report.given_up.push((Rung::Patch, reason));
            }
            Err(error) => report.given_up.push((Rung::Patch, error.to_text())),
        }
    }
    report.fetched_bytes += target.length;
    parse(remote.whole(name).await?)
}

/// A small file made from a patch that is held in memory.
async fn patched<T: Transport>(
    remote: &Remote<'_, T>,
    name: &str,
    old: &[u8],
    size: u64,
) -> Result<Vec<u8>, InstallError> {
    let invalid = |source| InstallError::Patch {
        target: name.to_owned(),
        source,
    };
    let bytes = remote.whole(name).await?;
    let table = Table::parse(table_of(&bytes), bytes.len() as u64).map_err(invalid)?;
    if table.new_size != size || table.old_size != old.len() as u64 {
        return Err(invalid(InvalidPatch::Head));
    }
    let part =
        |bytes: &[u8], range: &Range<u64>| bytes[range.start as usize..range.end as usize].to_vec();
    let mut made = Vec::with_capacity(size as usize);
    for extent in &table.extents {
        let (old, body) = (part(old, &extent.old), part(&bytes, &extent.body));
        made.extend(patch::decode(extent, &old, &body).map_err(invalid)?);
    }
    Ok(made)
}

/// The table at the beginning of a whole patch; what it must be is checked when it is parsed.
pub(super) fn table_of(patch: &[u8]) -> &[u8] {
    &patch[..patch::table_length(patch).min(patch.len() as u64) as usize]
}

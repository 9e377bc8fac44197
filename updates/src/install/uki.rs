//! Fetches a release's boot entry into a file, which the caller gives a name the loader sees.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::partitions::{device, drop_cache};
use super::remote::{Remote, check};
use super::tree::table_of;
use super::{Active, InstallError};
use crate::digest::{Digest, Hasher};
use crate::fetch::Transport;
use crate::offer::{Delta, Offer};
use crate::payload::patch::{self, InvalidPatch, Table};

/// On return the file is complete, synced, and was read back. A file left by an interrupted run is
/// gone on with. The number of bytes fetched is returned.
pub async fn fetch<T: Transport>(
    remote: &Remote<'_, T>,
    offer: &Offer,
    active: Option<&Active>,
    path: &Path,
) -> Result<u64, InstallError> {
    let target = remote.target(&offer.uki)?;
    let (length, signed) = (target.length, target.hashes.sha256);
    let options = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = options.map_err(device("opening the boot entry"))?;
    if size(&file)? == length && digest(&file)? == signed {
        return Ok(0);
    }
    let mut fetched = 0;
    let base = active.and_then(|active| {
        let delta = offer.delta_from(active.tree.shape().root_hash)?;
        Some((active.uki.as_ref()?, delta))
    });
    if let Some((old, delta)) = base
        && remote.target(&delta.uki.target)?.length < length
    {
        fetched += remote.target(&delta.uki.target)?.length;
        let patched = by_patch(remote, delta, old, &file, length).await;
        if patched.is_ok() && settled(&file)? == signed {
            return Ok(fetched);
        }
        truncate(&file, 0)?;
    }
    let mut start = size(&file)?;
    if start >= length {
        start = 0;
    }
    truncate(&file, start)?;
    loop {
        fetched += length - start;
        append(remote, &offer.uki, start..length, &file).await?;
        let found = settled(&file)?;
        if found == signed || start == 0 {
            return check(&offer.uki, found, signed).map(|()| fetched);
        }
        // What the earlier run left was not the beginning of this file.
        truncate(&file, 0)?;
        start = 0;
    }
}

async fn append<T: Transport>(
    remote: &Remote<'_, T>,
    name: &str,
    range: std::ops::Range<u64>,
    file: &File,
) -> Result<(), InstallError> {
    let mut at = range.start;
    let mut sink = |piece: &[u8]| {
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
        Ok(())
    };
    remote.range(name, range, &mut sink).await
}

async fn by_patch<T: Transport>(
    remote: &Remote<'_, T>,
    delta: &Delta,
    old: &File,
    new: &File,
    length: u64,
) -> Result<(), InstallError> {
    let name = &delta.uki.target;
    let invalid = |source| InstallError::Patch {
        target: name.clone(),
        source,
    };
    let bytes = remote.whole(name).await?;
    let table = Table::parse(table_of(&bytes), bytes.len() as u64).map_err(invalid)?;
    if table.new_size != length {
        return Err(invalid(InvalidPatch::Head));
    }
    for extent in &table.extents {
        let mut reference = vec![0; (extent.old.end - extent.old.start) as usize];
        let read = old.read_exact_at(&mut reference, extent.old.start);
        read.map_err(device("reading the active boot entry"))?;
        let body = &bytes[extent.body.start as usize..extent.body.end as usize];
        let made = patch::decode(extent, &reference, body).map_err(invalid)?;
        let written = new.write_all_at(&made, extent.new.start);
        written.map_err(device("writing the boot entry"))?;
    }
    truncate(new, length)
}

fn size(file: &File) -> Result<u64, InstallError> {
    Ok(file
        .metadata()
        .map_err(device("reading the boot entry"))?
        .len())
}

fn truncate(file: &File, length: u64) -> Result<(), InstallError> {
    file.set_len(length)
        .map_err(device("writing the boot entry"))
}

/// The digest of what is on the disk.
fn settled(file: &File) -> Result<Digest, InstallError> {
    file.sync_all()
        .and_then(|()| drop_cache(file))
        .map_err(device("writing the boot entry"))?;
    digest(file)
}

fn digest(file: &File) -> Result<Digest, InstallError> {
    let read = |mut file: &File| -> io::Result<Digest> {
        file.seek(SeekFrom::Start(0))?;
        let mut hasher = Hasher::default();
        let mut piece = vec![0; 256 << 10];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hasher.finish()),
                length => hasher.update(&piece[..length]),
            }
        }
    };
    read(file).map_err(device("reading the boot entry back"))
}

//! FAT volumes of a fixed tree: the EFI system partition and CONFIG.
//!
//! Microsoft's FAT specification 1.03: FAT16 or FAT32 by the number of clusters, long names, every
//! file in one run of clusters. The volume is written into a file that is all zero, so what is
//! empty stays a hole.

mod directory;
mod geometry;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::tree::{Content, Kind, Tree};
use directory::{Directory, ENTRY, Item};
use geometry::{FATS, Geometry, MEDIA, ROOT_ENTRIES, SECTOR, Width, boot_sector, info_sector};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a FAT volume cannot have {0} bytes")]
    Size(u64),
    #[error("the FAT volume is too small for its files")]
    Full,
    #[error("{0} cannot be on a FAT volume")]
    Unsupported(String),
    #[error("writing the volume")]
    Write(#[from] io::Error),
}

/// A run of clusters and what is in it.
struct Run<'a> {
    first: u32,
    count: u32,
    content: Source<'a>,
}

enum Source<'a> {
    Bytes(Vec<u8>),
    File(&'a Content),
}

/// Writes a volume over a file that is all zero.
pub fn write(volume: &File, label: &str, id: u32, tree: &Tree) -> Result<(), Error> {
    let geometry = Geometry::of(volume.metadata()?.len())?;
    let (runs, root) = contents(&geometry, label, tree)?;
    let used: u32 = runs.iter().map(|run| run.count).sum();
    if u64::from(used) > geometry.clusters {
        return Err(Error::Full);
    }
    let boot = boot_sector(&geometry, label, id);
    volume.write_all_at(&boot, 0)?;
    if geometry.width == Width::Fat32 {
        let info = info_sector(&geometry, used);
        // Sectors 6 and 7 are the backups of 0 and 1.
        for (sector, bytes) in [(1, &info), (6, &boot), (7, &info)] {
            volume.write_all_at(bytes, sector * SECTOR)?;
        }
    }
    let fat = fat(&geometry, &runs);
    for copy in 0..FATS {
        let sector = geometry.reserved + copy * geometry.fat_sectors;
        volume.write_all_at(&fat, sector * SECTOR)?;
    }
    let root_start = (geometry.reserved + FATS * geometry.fat_sectors) * SECTOR;
    volume.write_all_at(&root, root_start)?;
    for run in &runs {
        let offset = geometry.offset(run.first);
        match &run.content {
            Source::Bytes(bytes) => volume.write_all_at(bytes, offset)?,
            Source::File(content) => copy(content, volume, offset)?,
        }
    }
    Ok(())
}

fn copy(content: &Content, volume: &File, mut offset: u64) -> io::Result<()> {
    let mut reader = content.reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        volume.write_all_at(&buffer[..read], offset)?;
        offset += read as u64;
    }
}

/// Directories with their items, the root as the empty path.
type Listing<'a> = BTreeMap<&'a str, Vec<(&'a str, &'a Kind)>>;
/// First cluster and number of clusters of each path.
type Places = BTreeMap<String, (u32, u32)>;

fn listing(tree: &Tree) -> Result<Listing<'_>, Error> {
    let mut listing = Listing::from([("", Vec::new())]);
    for (path, node) in tree.iter() {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        listing.entry(parent).or_default().push((name, &node.kind));
        match node.kind {
            Kind::Directory => drop(listing.entry(path).or_default()),
            Kind::File(_) => {}
            Kind::Symlink(_) => return Err(Error::Unsupported(format!("the link {path}"))),
        }
    }
    Ok(listing)
}

/// Gives every directory, then every file its clusters. Sizes of directories do not depend on
/// places, so this comes first.
fn places(geometry: &Geometry, listing: &Listing<'_>, tree: &Tree) -> Result<Places, Error> {
    let mut next: u32 = 2;
    let mut take = |bytes: u64| -> Result<(u32, u32), Error> {
        let count = bytes.div_ceil(geometry.cluster_size());
        let count = u32::try_from(count).map_err(|_| Error::Full)?;
        let first = next;
        next = next.checked_add(count).ok_or(Error::Full)?;
        Ok((if count == 0 { 0 } else { first }, count))
    };
    let mut places = Places::new();
    for (path, items) in listing {
        let size = directory::size(path.is_empty(), items.iter().map(|(name, _)| *name));
        // FAT16 has its root directory outside the clusters.
        let outside = path.is_empty() && geometry.width == Width::Fat16;
        let place = if outside { (0, 0) } else { take(size as u64)? };
        places.insert((*path).to_owned(), place);
    }
    for (path, node) in tree.iter() {
        if let Some(content) = node.content() {
            places.insert(path.to_owned(), take(content.size())?);
        }
    }
    Ok(places)
}

fn directory(
    label: &str,
    path: &str,
    items: &[(&str, &Kind)],
    places: &Places,
) -> Result<Vec<u8>, Error> {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    // The root is cluster 0 in `..`, wherever it is.
    let above = if parent.is_empty() {
        0
    } else {
        places[parent].0
    };
    let mut directory = match path.is_empty() {
        true => Directory::root(label),
        false => Directory::below(places[path].0, above),
    };
    for (name, kind) in items {
        let full = if path.is_empty() {
            (*name).to_owned()
        } else {
            format!("{path}/{name}")
        };
        let size = match kind {
            Kind::File(content) => Some(content.size()),
            Kind::Directory | Kind::Symlink(_) => None,
        };
        let item = Item {
            name,
            first: places[&full].0,
            size,
        };
        directory.add(&item).ok_or(Error::Unsupported(full))?;
    }
    Ok(directory.into_bytes())
}

/// What goes where. The second value is FAT16's root directory.
fn contents<'a>(
    geometry: &Geometry,
    label: &str,
    tree: &'a Tree,
) -> Result<(Vec<Run<'a>>, Vec<u8>), Error> {
    let listing = listing(tree)?;
    let places = places(geometry, &listing, tree)?;
    let (mut runs, mut root) = (Vec::new(), Vec::new());
    for (path, items) in &listing {
        let bytes = directory(label, path, items, &places)?;
        match places[*path] {
            (_, 0) => root = bytes,
            (first, count) => runs.push(Run {
                first,
                count,
                content: Source::Bytes(bytes),
            }),
        }
    }
    if root.len() as u64 > ROOT_ENTRIES * ENTRY as u64 {
        return Err(Error::Full);
    }
    for (path, node) in tree.iter() {
        let (first, count) = places[path];
        if let Some(content) = node.content().filter(|_| count > 0) {
            runs.push(Run {
                first,
                count,
                content: Source::File(content),
            });
        }
    }
    Ok((runs, root))
}

fn fat(geometry: &Geometry, runs: &[Run<'_>]) -> Vec<u8> {
    let end = runs
        .iter()
        .map(|run| run.first + run.count)
        .max()
        .unwrap_or(2);
    let mut chain: Vec<u32> = vec![0; end as usize];
    // The first two entries repeat the media byte and say that the volume is clean.
    chain[0] = 0x0fff_ff00 | u32::from(MEDIA);
    chain[1] = 0x0fff_ffff;
    for run in runs {
        for cluster in run.first..run.first + run.count {
            let last = cluster + 1 == run.first + run.count;
            chain[cluster as usize] = if last { 0x0fff_ffff } else { cluster + 1 };
        }
    }
    match geometry.width {
        Width::Fat32 => chain.iter().flat_map(|entry| entry.to_le_bytes()).collect(),
        Width::Fat16 => chain
            .iter()
            .flat_map(|entry| (*entry as u16).to_le_bytes())
            .collect(),
    }
}

/// Makes the file and the volume in it.
pub fn create(path: &Path, size: u64, label: &str, id: u32, tree: &Tree) -> Result<(), Error> {
    let file = File::create_new(path)?;
    file.set_len(size)?;
    write(&file, label, id, tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_does_not_fit_is_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(16 * MIB).unwrap();
        let mut tree = Tree::default();
        tree.insert("large", Node::file(0o644, vec![1; 17 << 20]));
        assert!(matches!(write(&file, "X", 1, &tree), Err(Error::Full)));
        let mut tree = Tree::default();
        tree.insert("link", Node::symlink("x"));
        assert!(matches!(
            write(&file, "X", 1, &tree),
            Err(Error::Unsupported(_))
        ));
    }
}

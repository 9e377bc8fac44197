//! The disk this machine runs from: which slot is active, and the devices of the other one.
//!
//! Labels alone choose nothing, because a second disk may carry the same ones: the active slot's
//! device under dm-verity says which disk is meant. Works on `/sys` and `/dev` of any root.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use strake_updates::digest::Digest;
use strake_updates::install::partitions::{Partitions, read_tree};
use strake_updates::install::{Active, InstallError};
use strake_updates::payload::BLOCK;
use strake_updates::payload::tree::{InvalidTree, Shape, Tree};
use strake_updates::slot::Slot;

use crate::root::Root;

const BLOCKS: &str = "/sys/class/block";

#[derive(Debug, Clone)]
pub struct Disk {
    root: Root,
    pub active: Slot,
    /// Of the release that runs.
    pub root_hash: Digest,
    partitions: Vec<Partition>,
}

#[derive(Debug, Clone)]
struct Partition {
    label: String,
    device: String,
    disk: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("/run/strake/init.json does not say which slot runs")]
    Slot,
    #[error("no device-mapper device named usr: /usr is not a slot of Strake")]
    NoVerity,
    #[error("the disk of the running slot has no partition {0}")]
    Missing(&'static str),
    #[error("opening {0}")]
    Open(PathBuf, #[source] io::Error),
    #[error("reading the hash tree on {0}")]
    Tree(&'static str, #[source] InstallError),
    #[error("the hash tree on {0} is damaged")]
    Damaged(&'static str, #[source] InvalidTree),
    #[error("block {block} of {place} is damaged")]
    Block { place: &'static str, block: u64 },
}

impl Disk {
    pub fn find(root: &Root) -> Result<Disk, Error> {
        let init = root.read_text("/run/strake/init.json").unwrap_or_default();
        let init: serde_json::Value = serde_json::from_str(&init).unwrap_or_default();
        let active = match init["slot"].as_str() {
            Some("A") => Slot::A,
            Some("B") => Slot::B,
            _ => return Err(Error::Slot),
        };
        let hash = init["root_hash"]
            .as_str()
            .and_then(|hash| hash.parse().ok());
        let root_hash = hash.ok_or(Error::Slot)?;
        let below = under_verity(root).ok_or(Error::NoVerity)?;
        let all = partitions(root);
        let disk = all
            .iter()
            .find(|partition| below.contains(&partition.device));
        let disk = disk
            .map(|partition| partition.disk.clone())
            .ok_or(Error::NoVerity)?;
        let on_disk = all.into_iter().filter(|partition| partition.disk == disk);
        Ok(Disk {
            root: root.clone(),
            active,
            root_hash,
            partitions: on_disk.collect(),
        })
    }

    /// What runs, as the source of known blocks.
    pub fn active(&self, uki: Option<File>) -> Result<Active, Error> {
        let data = Path::new("/dev/mapper/usr");
        let tree = self.open(self.active.verity_label(), Access::Read)?;
        Ok(Active {
            data: self.open_path(data, Access::Read)?,
            tree: tree_of(&tree, self.active.verity_label(), self.root_hash)?,
            uki,
        })
    }

    /// The slot that may be written.
    pub fn passive(&self) -> Result<Partitions, Error> {
        let slot = !self.active;
        Ok(Partitions {
            data: self.open(slot.data_label(), Access::Write)?,
            tree: self.open(slot.verity_label(), Access::Write)?,
        })
    }

    /// Bytes a slot can hold.
    pub fn slot_size(&self) -> Result<u64, Error> {
        let label = (!self.active).data_label();
        let file = self.open(label, Access::Read)?;
        size(&file).map_err(|error| Error::Open(PathBuf::from(label), error))
    }

    /// Whether the passive slot's tree is that of a release; its blocks are not looked at.
    pub fn passive_holds(&self, root_hash: Digest) -> Result<(), Error> {
        self.passive_tree(root_hash).map(drop)
    }

    /// Reads all of the passive slot, past the page cache.
    pub fn verify_passive(
        &self,
        root_hash: Digest,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Error> {
        let place = (!self.active).data_label();
        let tree = self.passive_tree(root_hash)?;
        let file = self.open(place, Access::Read)?;
        let failed = |error| Error::Open(PathBuf::from(place), error);
        nix::fcntl::posix_fadvise(
            &file,
            0,
            0,
            nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        )
        .map_err(|error| failed(error.into()))?;
        let blocks = tree.shape().data_blocks;
        let mut batch = vec![0; 256 * BLOCK as usize];
        let mut block = 0;
        while block < blocks {
            let count = (blocks - block).min(256);
            let batch = &mut batch[..(count * BLOCK) as usize];
            file.read_exact_at(batch, block * BLOCK).map_err(failed)?;
            for content in batch.chunks(BLOCK as usize) {
                if !tree.holds(block, content) {
                    return Err(Error::Block { place, block });
                }
                block += 1;
            }
            progress(block * BLOCK, blocks * BLOCK);
        }
        Ok(())
    }

    fn passive_tree(&self, root_hash: Digest) -> Result<Tree, Error> {
        let label = (!self.active).verity_label();
        tree_of(&self.open(label, Access::Read)?, label, root_hash)
    }

    fn open(&self, label: &'static str, access: Access) -> Result<File, Error> {
        let partition = self.partitions.iter().find(|known| known.label == label);
        let partition = partition.ok_or(Error::Missing(label))?;
        self.open_path(&Path::new("/dev").join(&partition.device), access)
    }

    fn open_path(&self, path: &Path, access: Access) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::Write);
        let opened = self.root.follow(path).and_then(|path| options.open(path));
        opened.map_err(|error| Error::Open(path.to_path_buf(), error))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn size(mut file: &File) -> io::Result<u64> {
    io::Seek::seek(&mut file, io::SeekFrom::End(0))
}

/// Reads and checks the tree on a partition; its superblock says how long it is.
fn tree_of(partition: &File, label: &'static str, root_hash: Digest) -> Result<Tree, Error> {
    let mut head = [0; BLOCK as usize];
    partition
        .read_exact_at(&mut head, 0)
        .map_err(|error| Error::Open(PathBuf::from(label), error))?;
    let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    let data_blocks = number(72);
    let salt = usize::from(u16::from_le_bytes([head[80], head[81]])).min(256);
    let shape = Shape {
        data_blocks,
        salt: head[88..88 + salt].to_vec(),
        root_hash,
    };
    let bytes = read_tree(partition, data_blocks).map_err(|error| Error::Tree(label, error))?;
    Tree::parse(bytes, shape).map_err(|error| Error::Damaged(label, error))
}

/// Devices below `/dev/mapper/usr`.
fn under_verity(root: &Root) -> Option<Vec<String>> {
    let names = root
        .list(BLOCKS)
        .into_iter()
        .filter_map(|name| name.into_string().ok());
    let dm = names.into_iter().find(|name| {
        let name = root.read_text(format!("{BLOCKS}/{name}/dm/name"));
        name.is_ok_and(|name| name.trim() == "usr")
    })?;
    let below = root.list(format!("{BLOCKS}/{dm}/slaves")).into_iter();
    Some(below.filter_map(|name| name.into_string().ok()).collect())
}

fn partitions(root: &Root) -> Vec<Partition> {
    let names = root
        .list(BLOCKS)
        .into_iter()
        .filter_map(|name| name.into_string().ok());
    let read = |device: String| {
        let at = format!("{BLOCKS}/{device}");
        let facts = root.read_text(format!("{at}/uevent")).ok()?;
        let label = facts
            .lines()
            .find_map(|line| line.strip_prefix("PARTNAME="))?;
        let place = std::fs::canonicalize(root.follow(at.as_ref()).ok()?).ok()?;
        Some(Partition {
            label: label.to_owned(),
            disk: place.parent()?.to_path_buf(),
            device,
        })
    };
    names.filter_map(read).collect()
}

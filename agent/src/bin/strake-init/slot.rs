//! The slot that belongs to the root hash, and the other partitions of the disk it is on. Labels
//! alone choose nothing: several disks may carry the same ones, so all partitions of a boot come
//! from one disk, the first one that is complete.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use crate::block::{self, Partition, Uevents};
use crate::device_mapper::{self, Target};
use crate::timeline::{Deadline, Timeline};
use crate::verity::{self, RootHash, Superblock};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Slot {
    A,
    B,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "USR-{self:?}")
    }
}

/// What a boot needs of one disk.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) slot: Slot,
    superblock: Superblock,
    data: Partition,
    hash: Partition,
    pub(crate) oem: Partition,
    pub(crate) state: Partition,
    pub(crate) config: Option<Partition>,
}

/// Waits for the slot until the deadline.
pub(crate) fn find(
    wanted: &RootHash,
    uevents: &Uevents,
    deadline: Deadline,
    timeline: &mut Timeline,
) -> Result<Found> {
    loop {
        let (matches, others) = search(&block::partitions()?, wanted, first_blocks);
        if matches.is_empty() {
            if uevents.wait(deadline)? {
                continue;
            }
            let others = if others.is_empty() {
                "none at all".into()
            } else {
                others.join(", ")
            };
            bail!("no slot has root hash {wanted}; verity partitions seen: {others}");
        }
        for found in &matches {
            block::settle(&found.hash.disk)?;
        }
        let partitions = block::partitions()?;
        let complete = matches.into_iter().map(|found| found.complete(&partitions));
        let (found, incomplete): (Vec<_>, Vec<_>) = complete.partition(Result::is_ok);
        let mut found = found.into_iter().flatten();
        let Some(first) = found.next() else {
            let first_error = incomplete.into_iter().find_map(Result::err);
            return Err(first_error.unwrap_or_else(|| anyhow!("the disk vanished")));
        };
        for other in found.filter(|other| other.hash.disk != first.hash.disk) {
            timeline.warn(format_args!(
                "disks {} and {} carry the same release; using {}",
                first.hash.disk, other.hash.disk, first.hash.disk
            ));
        }
        timeline.debug(format_args!("{first}"));
        return Ok(first);
    }
}

/// A verity partition whose tree has the wanted root hash.
#[derive(Debug)]
struct Match {
    slot: Slot,
    superblock: Superblock,
    hash: Partition,
}

/// Pure but for `read`, which gives a partition's first two blocks. Also returns what was seen
/// instead, for the failure's line.
fn search(
    partitions: &[Partition],
    wanted: &RootHash,
    read: impl Fn(&Partition) -> io::Result<Vec<u8>>,
) -> (Vec<Match>, Vec<String>) {
    let (mut matches, mut others) = (Vec::new(), Vec::new());
    for partition in partitions {
        let slot = match partition.label.as_str() {
            "USR-A-VERITY" => Slot::A,
            "USR-B-VERITY" => Slot::B,
            _ => continue,
        };
        let verdict = read(partition)
            .map_err(anyhow::Error::from)
            .and_then(|blocks| {
                let (first, tree) = blocks
                    .split_at_checked(verity::BLOCK)
                    .context("too small")?;
                let superblock = Superblock::parse(first)?;
                let root_hash = superblock.root_hash(tree);
                Ok((superblock, root_hash))
            });
        let hash = partition.clone();
        match verdict {
            Ok((superblock, root)) if root == *wanted => {
                matches.push(Match {
                    slot,
                    superblock,
                    hash,
                });
            }
            Ok((_, root)) => others.push(format!("{} on {}: {root}", hash.label, hash.device)),
            Err(error) => others.push(format!("{} on {}: {error:#}", hash.label, hash.device)),
        }
    }
    (matches, others)
}

fn first_blocks(partition: &Partition) -> io::Result<Vec<u8>> {
    let mut blocks = vec![0; 2 * verity::BLOCK];
    File::open(partition.path())?.read_exact(&mut blocks)?;
    Ok(blocks)
}

impl Match {
    fn complete(self, partitions: &[Partition]) -> Result<Found> {
        let disk = &self.hash.disk;
        let labelled = |label: &str| {
            let on_disk =
                |partition: &&Partition| partition.disk == *disk && partition.label == label;
            let mut found = partitions.iter().filter(on_disk);
            match (found.next(), found.next()) {
                (found, None) => Ok(found.cloned()),
                _ => Err(anyhow!(
                    "disk {disk} has more than one partition labelled {label}"
                )),
            }
        };
        let needed = |label: &str| {
            let missing = || anyhow!("disk {disk} has no partition labelled {label}");
            labelled(label)?.ok_or_else(missing)
        };
        let found = Found {
            slot: self.slot,
            data: needed(&self.slot.to_string())?,
            oem: needed("OEM")?,
            state: needed("STATE")?,
            config: labelled("CONFIG")?,
            superblock: self.superblock,
            hash: self.hash,
        };
        let (sectors, room) = (found.superblock.sectors(), found.data.sectors);
        if sectors > room {
            let (slot, disk) = (found.slot, &found.data.disk);
            bail!("{slot} on {disk} has {room} sectors, its tree covers {sectors}");
        }
        Ok(found)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.slot, self.data.path())
    }
}

impl Found {
    /// Opens the slot's data under dm-verity; returns the device's path.
    pub(crate) fn open_verity(&self, root_hash: &RootHash) -> Result<String> {
        // The form udev and veritysetup know a verity device by.
        let uuid = format!("CRYPT-VERITY-{}-usr", verity::hex(&self.superblock.uuid));
        let parameters = self
            .superblock
            .table(&self.data.number, &self.hash.number, root_hash);
        let sectors = self.superblock.sectors();
        let target = Target {
            kind: "verity",
            sectors,
            parameters: &parameters,
        };
        let minor = device_mapper::open("usr", &uuid, &target)?;
        let name = format!("../dm-{minor}");
        symlink(name, "/dev/mapper/usr").context("linking /dev/mapper/usr")?;
        Ok("/dev/mapper/usr".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verity::tests::superblock;

    /// Partitions written as `disk:label`, device names counted up.
    fn disks(list: &str) -> Vec<Partition> {
        let partition = |(index, item): (usize, &str)| {
            let (disk, label) = item.split_once(':').unwrap();
            Partition {
                device: format!("{disk}{index}"),
                disk: disk.into(),
                label: label.into(),
                number: format!("254:{index}"),
                sectors: 8000,
            }
        };
        list.split_whitespace().enumerate().map(partition).collect()
    }

    /// Every verity partition holds a tree that starts with its own device name.
    fn read(partition: &Partition) -> io::Result<Vec<u8>> {
        let mut blocks = superblock(&[1; 32]);
        blocks.extend(tree(&partition.device));
        Ok(blocks)
    }

    fn tree(device: &str) -> Vec<u8> {
        let mut block = vec![0; verity::BLOCK];
        block[..device.len()].copy_from_slice(device.as_bytes());
        block
    }

    fn hash_of(device: &str) -> RootHash {
        Superblock::parse(&superblock(&[1; 32]))
            .unwrap()
            .root_hash(&tree(device))
    }

    const WHOLE: &str = "vda:USR-A vda:USR-A-VERITY vda:USR-B vda:USR-B-VERITY vda:OEM \
                         vda:CONFIG vda:STATE vda:DATA";

    #[track_caller]
    fn check(list: &str, hash_device: &str, expected: &str) {
        let partitions = disks(list);
        let (matches, _) = search(&partitions, &hash_of(hash_device), read);
        let outcome = matches
            .into_iter()
            .map(|found| match found.complete(&partitions) {
                Ok(found) => format!(
                    "{} data {} state {} config {}",
                    found.slot,
                    found.data.device,
                    found.state.device,
                    found.config.map_or("none".into(), |config| config.device)
                ),
                Err(error) => error.to_string(),
            });
        assert_eq!(outcome.collect::<Vec<_>>().join("; "), expected);
    }

    #[test]
    fn the_root_hash_chooses_the_slot() {
        check(WHOLE, "vda1", "USR-A data vda0 state vda6 config vda5");
        check(WHOLE, "vda3", "USR-B data vda2 state vda6 config vda5");
        check(WHOLE, "vdb1", "");
        check("", "vda1", "");
    }

    #[test]
    fn every_partition_comes_from_the_disk_of_the_slot() {
        let two = format!("{WHOLE} {}", WHOLE.replace("vda", "vdb"));
        check(&two, "vdb9", "USR-A data vdb8 state vdb14 config vdb13");
        let elsewhere = WHOLE.replace("vda:STATE", "vdb:STATE");
        check(
            &elsewhere,
            "vda1",
            "disk vda has no partition labelled STATE",
        );
        let elsewhere = WHOLE.replace("vda:CONFIG", "vdb:CONFIG");
        check(&elsewhere, "vda1", "USR-A data vda0 state vda6 config none");
    }

    #[test]
    fn a_disk_with_a_label_twice_is_refused() {
        let twice = format!("{WHOLE} vda:STATE");
        check(
            &twice,
            "vda1",
            "disk vda has more than one partition labelled STATE",
        );
    }

    #[test]
    fn what_was_seen_instead_is_told() {
        let (_, others) = search(&disks("vda:USR-A-VERITY"), &hash_of("x"), read);
        assert_eq!(
            others,
            [format!("USR-A-VERITY on vda0: {}", hash_of("vda0"))]
        );
        let broken = |_: &Partition| Err(io::Error::from_raw_os_error(5));
        let (_, others) = search(&disks("vda:USR-B-VERITY"), &hash_of("x"), broken);
        assert_eq!(
            others,
            ["USR-B-VERITY on vda0: Input/output error (os error 5)"]
        );
        let short = |_: &Partition| Ok(vec![0; 100]);
        let (_, others) = search(&disks("vda:USR-B-VERITY"), &hash_of("x"), short);
        assert_eq!(others, ["USR-B-VERITY on vda0: too small"]);
    }

    #[test]
    fn a_data_partition_smaller_than_its_tree_is_refused() {
        let mut partitions = disks(WHOLE);
        partitions[0].sectors = 7999;
        let (mut matches, _) = search(&partitions, &hash_of("vda1"), read);
        let error = matches.remove(0).complete(&partitions).unwrap_err();
        assert_eq!(
            error.to_string(),
            "USR-A on vda has 7999 sectors, its tree covers 8000"
        );
    }
}

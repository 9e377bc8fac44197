//! What the next start of the machine would come to.

use std::cell::RefCell;
use std::collections::HashMap;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::choice::{Candidate, Counter, order};
use super::fat::{Fat, File};
use super::slot::Slots;
use super::{Part, uki};
use crate::blocklog::Reader;

const ENTRIES: &str = "EFI/Linux";
const LOADER: (&str, &str) = ("EFI/BOOT", "BOOTX64.EFI");

/// A release as it was published.
#[derive(Debug, Clone)]
pub struct Release {
    pub version: String,
    pub root_hash: String,
    pub uki: Vec<u8>,
}

#[derive(Debug)]
pub struct Model {
    esp: Part,
    releases: Vec<Release>,
    loader: Vec<u8>,
    pub slots: Slots,
    /// What a file is, by its name and what was written into it.
    known: RefCell<HashMap<(String, u64), Option<Entry>>>,
}

/// Something the loader lists.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    version: String,
    root_hash: String,
    /// The release whose UKI this is to the last byte.
    release: Option<usize>,
}

/// A start that ends in a whole release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub file: String,
    pub release: usize,
    pub counter: Counter,
    /// What is started when the tries of the first are used up.
    pub then: Option<usize>,
}

impl Model {
    /// `disk` as it is before anything is written to it.
    pub fn new(
        esp: Part,
        releases: Vec<Release>,
        slots: Slots,
        disk: &impl Reader,
    ) -> Result<Self> {
        let fat = Fat::open(disk, &esp)?;
        let loader = fat
            .find(LOADER.0, LOADER.1)?
            .context("the disk has no loader")?;
        let loader = fat.content(&loader)?;
        Ok(Self {
            esp,
            releases,
            loader,
            slots,
            known: RefCell::default(),
        })
    }

    pub fn touches_esp(&self, sector: u64) -> bool {
        self.esp.contains(&(sector * crate::blocklog::SECTOR))
    }

    /// The files the loader would choose among, in its order.
    pub fn entries(&self, disk: &impl Reader) -> Result<Vec<String>> {
        let listed = self.listed(disk)?;
        Ok(listed
            .into_iter()
            .map(|(candidate, _)| candidate.file)
            .collect())
    }

    /// Fails with the reason when what would be started is not wholly a known release.
    pub fn start(&self, disk: &impl Reader) -> Result<Start> {
        self.check_loader(disk)?;
        let listed = self.listed(disk)?;
        let mut bootable = listed.iter().map(|(candidate, entry)| {
            self.bootable(entry)
                .with_context(|| format!("{} is taken", candidate.file))
        });
        let release = bootable.next().context("there is no boot entry")??;
        let then = bootable.find_map(Result::ok);
        let (first, _) = &listed[0];
        Ok(Start {
            file: first.file.clone(),
            release,
            counter: first.counter,
            then,
        })
    }

    fn check_loader(&self, disk: &impl Reader) -> Result<()> {
        let fat = Fat::open(disk, &self.esp)?;
        let file = fat
            .find(LOADER.0, LOADER.1)?
            .context("the loader is gone")?;
        let key = (LOADER.1.to_owned(), fat.stamp(&file)?);
        if !self.known.borrow().contains_key(&key) {
            anyhow::ensure!(fat.content(&file)? == self.loader, "the loader was changed");
            self.known.borrow_mut().insert(key, None);
        }
        Ok(())
    }

    fn listed(&self, disk: &impl Reader) -> Result<Vec<(Candidate, Entry)>> {
        let fat = Fat::open(disk, &self.esp)?;
        let mut found = HashMap::new();
        for file in fat.list(ENTRIES)? {
            let is_program = file.name.to_ascii_lowercase().ends_with(".efi");
            if is_program && let Some(entry) = self.entry(&fat, &file)? {
                found.insert(file.name, entry);
            }
        }
        let candidate = |(file, entry): (&String, &Entry)| Candidate::new(file, &entry.version);
        let candidates = order(found.iter().map(candidate).collect());
        let with_entry = |candidate: Candidate| {
            let entry = found.remove(&candidate.file).expect("comes from there");
            (candidate, entry)
        };
        Ok(candidates.into_iter().map(with_entry).collect())
    }

    fn entry<R: Reader>(&self, fat: &Fat<'_, R>, file: &File) -> Result<Option<Entry>> {
        let key = (file.name.clone(), fat.stamp(file)?);
        if let Some(known) = self.known.borrow().get(&key) {
            return Ok(known.clone());
        }
        let content = fat.content(file)?;
        let digest = Sha256::digest(&content);
        let release = self
            .releases
            .iter()
            .position(|release| release.uki[..] == digest[..]);
        let entry = uki::facts(&content).map(|facts| Entry {
            version: facts.version,
            root_hash: facts.root_hash,
            release,
        });
        self.known.borrow_mut().insert(key, entry.clone());
        Ok(entry)
    }

    fn bootable(&self, entry: &Entry) -> Result<usize> {
        let release = entry.release.context("its bytes are those of no release")?;
        let Release {
            version, root_hash, ..
        } = &self.releases[release];
        anyhow::ensure!(
            (version, root_hash) == (&entry.version, &entry.root_hash),
            "release {version} was published with another root hash"
        );
        self.slots.whole(release).with_context(|| {
            let missing = self.slots.missing(release);
            format!(
                "no slot holds all of {version}: {missing} blocks are wrong where it is nearest"
            )
        })?;
        Ok(release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::fat::tests::Image;
    use crate::loader::tree::Tree;
    use crate::loader::tree::tests::{block, tree_over};
    use crate::loader::uki::tests::program;

    const ESP: u64 = 49152;

    struct Published {
        data: Vec<u8>,
        tree: Tree,
        uki: Vec<u8>,
        release: Release,
    }

    fn published(version: &str, first: u32) -> Published {
        let data: Vec<Vec<u8>> = [first, 8, 9].map(block).into();
        let (bytes, root) = tree_over(&data);
        let root_hash = root.map(|byte| format!("{byte:02x}")).concat();
        let osrel = format!("ID=strake\nIMAGE_VERSION={version}\n");
        let cmdline = format!("usrhash={root_hash} quiet");
        let uki = program(&[(".osrel", &osrel), (".cmdline", &cmdline)]);
        Published {
            data: data.concat(),
            tree: Tree::parse(bytes, &root).unwrap(),
            release: Release {
                version: version.into(),
                root_hash,
                uki: Sha256::digest(&uki).to_vec(),
            },
            uki,
        }
    }

    /// A file system with these entries, then both slots; `damage` is done last.
    fn start(entries: &[(&str, usize)], damage: impl Fn(&mut Vec<u8>)) -> Result<Start> {
        let releases = [published("1.0.0", 1), published("1.1.0", 2)];
        let files: Vec<(&str, &[u8])> = entries
            .iter()
            .map(|(name, release)| (*name, &releases[*release].uki[..]))
            .collect();
        let image = Image::with(&files);
        let mut disk = image.0.clone();
        disk.resize(ESP as usize, 0);
        let mut places = Vec::new();
        for Published { data, tree, .. } in &releases {
            for content in [data, &tree.bytes] {
                let from = disk.len() as u64;
                disk.extend(content);
                disk.resize(disk.len().next_multiple_of(16384), 0);
                places.push(from..disk.len() as u64);
            }
        }
        let trees = releases.iter().map(|one| one.tree.clone()).collect();
        let known = releases.iter().map(|one| one.release.clone()).collect();
        let whole = Image::with(&[]);
        damage(&mut disk);
        let slots = Slots::read(places.try_into().unwrap(), trees, &disk).unwrap();
        let model = Model::new(image.part(), known, slots, &whole.0).unwrap();
        model.start(&disk)
    }

    const OLD: (&str, usize) = ("strake_1.0.0.efi", 0);
    const NEW: (&str, usize) = ("strake_1.1.0+3.efi", 1);

    #[test]
    fn the_newest_whole_release_is_started_with_the_other_behind_it() {
        for (entries, release, then) in [
            (&[OLD][..], 0, None),
            (&[OLD, ("strake_1.1.0.partial", 1)], 0, None),
            (&[OLD, NEW], 1, Some(0)),
            (&[OLD, ("strake_1.1.0+0-3.efi", 1)], 0, Some(1)),
        ] {
            let start = start(entries, |_| {}).unwrap();
            assert_eq!((start.release, start.then), (release, then), "{entries:?}");
        }
    }

    #[test]
    fn what_is_not_whole_is_told_with_its_reason() {
        let refused = |entries: &[_], damage: fn(&mut Vec<u8>)| {
            format!("{:#}", start(entries, damage).unwrap_err())
        };
        let slot_b = |disk: &mut Vec<u8>| disk[ESP as usize + 2 * 16384 + 5000] ^= 1;
        let text = refused(&[OLD, NEW], slot_b);
        assert!(
            text.contains("no slot holds all of 1.1.0: 1 blocks"),
            "{text}"
        );
        let uki = |disk: &mut Vec<u8>| disk[(1 + 5) * 512 + 20] ^= 1;
        let text = refused(&[NEW, OLD], uki);
        assert!(text.contains("its bytes are those of no release"), "{text}");
        let loader = |disk: &mut Vec<u8>| disk[(1 + 61) * 512] ^= 1;
        let text = refused(&[OLD], loader);
        assert!(text.contains("the loader was changed"), "{text}");
        assert!(refused(&[], |_| {}).contains("no boot entry"));
    }
}

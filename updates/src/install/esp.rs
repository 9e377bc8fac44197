//! Boot entries in `EFI/Linux` of the EFI system partition.
//!
//! The loader takes every `.efi` file there for bootable, so a file gets that name last, and loses
//! it first: `retire` comes before the slot is written, `activate` after it was read back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::InstallError;
use super::partitions::device;
use crate::entry::Entry;
use crate::version::Version;

/// The directory of the entries.
#[derive(Clone, Debug)]
pub struct Entries {
    dir: PathBuf,
}

impl Entries {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The releases the loader would show; other files are none of ours.
    pub fn list(&self) -> Result<Vec<Entry>, InstallError> {
        let names = self.names()?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Removes every entry but those of the release that runs, and what earlier installations of
    /// other releases left. From here on the passive slot may be written.
    pub fn retire(&self, running: Version, coming: Version) -> Result<(), InstallError> {
        let kept = part_name(coming);
        self.withdraw(|version| version != running)?;
        for name in self.names()? {
            if is_part(&name) && name != kept {
                self.remove(&name)?;
            }
        }
        self.sync()
    }

    /// Refuses an entry the partition has no room for, counting what is there of it already.
    pub fn check_space(&self, coming: Version, needed: u64) -> Result<(), InstallError> {
        let state = statvfs(&self.dir).map_err(io::Error::from);
        let state = state.map_err(device("measuring the ESP"))?;
        let there = fs::metadata(self.part(coming)).map_or(0, |metadata| metadata.len());
        let found = state
            .f_bavail
            .saturating_mul(state.f_frsize)
            .saturating_add(there);
        if found < needed {
            return Err(InstallError::TooSmall {
                place: "the ESP",
                needed,
                found,
            });
        }
        Ok(())
    }

    /// Where a release's entry is put together, under a name the loader ignores.
    pub fn part(&self, version: Version) -> PathBuf {
        self.dir.join(part_name(version))
    }

    /// Makes the complete part of a release bootable, with all its tries.
    pub fn activate(&self, version: Version) -> Result<Entry, InstallError> {
        let entry = Entry::fresh(version);
        let place = self.dir.join(entry.to_string());
        let moved = File::open(self.part(version))
            .and_then(|part| part.sync_all())
            .and_then(|()| fs::rename(self.part(version), &place));
        moved.map_err(device("activating the boot entry"))?;
        self.sync()?;
        Ok(entry)
    }

    /// Takes a release's entry away from the loader.
    pub fn discard(&self, version: Version) -> Result<(), InstallError> {
        if self.withdraw(|found| found == version)? {
            self.remove(&part_name(version))?;
        }
        self.sync()
    }

    /// Gives entries a name the loader ignores, and has that on the disk before anything of them
    /// goes: FAT keeps a file's name and its content's place apart, and a power cut in a removal
    /// may leave an entry with half of a content.
    fn withdraw(&self, which: impl Fn(Version) -> bool) -> Result<bool, InstallError> {
        let mut found = false;
        for name in self.names()? {
            if let Ok(entry) = name.parse::<Entry>()
                && which(entry.version)
            {
                fs::rename(self.dir.join(&name), self.part(entry.version))
                    .map_err(device("withdrawing a boot entry"))?;
                found = true;
            }
        }
        self.sync().map(|()| found)
    }

    fn names(&self) -> Result<Vec<String>, InstallError> {
        let read = || -> io::Result<Vec<String>> {
            let entries: io::Result<Vec<_>> = fs::read_dir(&self.dir)?.collect();
            let names = entries?
                .into_iter()
                .map(|entry| entry.file_name().into_string());
            Ok(names.filter_map(Result::ok).collect())
        };
        read().map_err(device("reading the ESP"))
    }

    fn remove(&self, name: &str) -> Result<(), InstallError> {
        fs::remove_file(self.dir.join(name)).map_err(device("removing a boot entry"))
    }

    fn sync(&self) -> Result<(), InstallError> {
        let synced = File::open(&self.dir as &Path).and_then(|dir| dir.sync_all());
        synced.map_err(device("syncing the ESP"))
    }
}

fn part_name(version: Version) -> String {
    format!("strake_{version}.part")
}

fn is_part(name: &str) -> bool {
    let version = name
        .strip_prefix("strake_")
        .and_then(|rest| rest.strip_suffix(".part"));
    version.is_some_and(|version| version.parse::<Version>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn entries(names: &[&str]) -> (tempfile::TempDir, Entries) {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), b"entry").unwrap();
        }
        let entries = Entries::new(dir.path());
        (dir, entries)
    }

    fn names(entries: &Entries) -> Vec<String> {
        let mut names = entries.names().unwrap();
        names.sort();
        names
    }

    #[test]
    fn an_installation_never_leaves_more_than_two_entries() {
        let (_dir, entries) = entries(&[
            "strake_1.0.0+1-2.efi",
            "strake_1.1.0.efi",
            "strake_0.9.0.part",
            "strake_1.2.0.part",
            "recovery.efi",
            "notes.part",
        ]);
        let (running, coming) = (version("1.1.0"), version("1.2.0"));
        entries.retire(running, coming).unwrap();
        let kept = [
            "notes.part",
            "recovery.efi",
            "strake_1.1.0.efi",
            "strake_1.2.0.part",
        ];
        assert_eq!(names(&entries), kept);
        assert_eq!(
            entries.activate(coming).unwrap().to_string(),
            "strake_1.2.0+3.efi"
        );
        assert_eq!(entries.list().unwrap().len(), 2);
        entries.discard(coming).unwrap();
        assert_eq!(
            names(&entries),
            ["notes.part", "recovery.efi", "strake_1.1.0.efi"]
        );
    }

    /// A removal is two writes on FAT, so none may touch a file while the loader shows it.
    #[test]
    fn an_entry_of_the_coming_release_becomes_its_part_again() {
        let (dir, entries) = entries(&["strake_1.1.0.efi", "strake_1.2.0+0-3.efi"]);
        let (running, coming) = (version("1.1.0"), version("1.2.0"));
        entries.retire(running, coming).unwrap();
        assert_eq!(names(&entries), ["strake_1.1.0.efi", "strake_1.2.0.part"]);
        assert_eq!(
            fs::read(dir.path().join("strake_1.2.0.part")).unwrap(),
            b"entry"
        );
        entries.discard(coming).unwrap();
        assert_eq!(names(&entries), ["strake_1.1.0.efi", "strake_1.2.0.part"]);
    }

    #[test]
    fn nothing_is_activated_that_was_not_put_together() {
        let (_dir, entries) = entries(&["strake_1.1.0.efi"]);
        assert!(entries.activate(version("1.2.0")).is_err());
        assert_eq!(names(&entries), ["strake_1.1.0.efi"]);
    }

    #[test]
    fn an_entry_that_does_not_fit_is_refused() {
        let (_dir, entries) = entries(&[]);
        entries.check_space(version("1.2.0"), 1).unwrap();
        let refused = entries.check_space(version("1.2.0"), u64::MAX);
        assert!(matches!(
            refused,
            Err(InstallError::TooSmall {
                place: "the ESP",
                ..
            })
        ));
    }
}

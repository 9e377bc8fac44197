//! The boot entries on the ESP, seen from the release that runs.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use strake_updates::digest::Digest;
use strake_updates::entry::{Counter, Entry};
use strake_updates::install::InstallError;
use strake_updates::install::esp;
use strake_updates::version::Version;

use crate::root::Root;

pub const DIR: &str = "/efi/EFI/Linux";

#[derive(Debug, Clone)]
pub struct Entries {
    dir: PathBuf,
    pub all: Vec<Entry>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading the boot entries in {DIR}")]
    Read(#[source] InstallError),
    #[error("reading the boot entries in {DIR}")]
    Locate(#[source] io::Error),
    #[error("renaming {from} to {to} in {DIR}")]
    Rename {
        from: String,
        to: String,
        source: io::Error,
    },
}

impl Entries {
    pub fn read(root: &Root) -> Result<Entries, Error> {
        let dir = root.follow(DIR.as_ref()).map_err(Error::Locate)?;
        let all = esp::Entries::new(&dir).list().map_err(Error::Read)?;
        Ok(Entries { dir, all })
    }

    /// For writing: what the library does with them.
    pub fn library(&self) -> esp::Entries {
        esp::Entries::new(&self.dir)
    }

    pub fn of(&self, version: Version) -> Option<Entry> {
        self.all
            .iter()
            .copied()
            .find(|entry| entry.version == version)
    }

    /// The release in the passive slot: the newest entry that is not the running release's.
    pub fn other(&self, running: Version) -> Option<Entry> {
        let others = self.all.iter().filter(|entry| entry.version != running);
        others.max_by_key(|entry| entry.version).copied()
    }

    pub fn open(&self, entry: Entry) -> Option<File> {
        File::open(self.dir.join(entry.to_string())).ok()
    }

    /// The root hash on an entry's command line: the `/usr` it boots, and no other.
    pub fn root_hash(&self, entry: Entry) -> Option<Digest> {
        let uki = fs::read(self.dir.join(entry.to_string())).ok()?;
        let key = b"usrhash=";
        let places = uki.windows(key.len()).enumerate();
        let mut places = places.filter(|(_, window)| window == key);
        places.find_map(|(at, _)| {
            let digits = uki.get(at + key.len()..at + key.len() + 64)?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        })
    }

    /// The loader takes the newest entry. For an older one to be booted, the newer one that runs
    /// loses its tries: then it comes last, and is taken again when the older one has none left.
    pub fn yield_to(&self, own: Entry, next: Version) -> Result<(), Error> {
        if next < own.version && own.counter == Counter::Blessed {
            self.recount(own, Counter::Trying { left: 0, done: 0 })?;
        }
        Ok(())
    }

    /// Gives an entry another counter. One rename, then a sync: it has the old name or the new.
    pub fn recount(&self, entry: Entry, counter: Counter) -> Result<Entry, Error> {
        let new = Entry { counter, ..entry };
        let (from, to) = (entry.to_string(), new.to_string());
        let renamed = fs::rename(self.dir.join(&from), self.dir.join(&to))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        renamed.map_err(|source| Error::Rename { from, to, source })?;
        Ok(new)
    }
}

/// Whether the loader prefers every other entry to this one.
pub fn is_given_up(entry: &Entry) -> bool {
    matches!(entry.counter, Counter::Trying { left: 0, .. })
}

//! A recording in a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::SECTOR;
use super::format::{self, Entry, InvalidLog, Kind};

#[derive(Debug)]
pub struct Log {
    file: File,
    pub entries: Vec<Entry>,
}

impl Log {
    pub fn open(path: &Path) -> Result<Self> {
        let named = || format!("reading the recording {}", path.display());
        let file = File::open(path).with_context(named)?;
        let entries = entries(&file).with_context(named)?;
        Ok(Self { file, entries })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes written, and flushes.
    pub fn totals(&self) -> (u64, usize) {
        let written = self
            .entries
            .iter()
            .map(|entry| entry.data_sectors() * SECTOR)
            .sum();
        let is_flush = |entry: &&Entry| entry.kind == Kind::Flush;
        (written, self.entries.iter().filter(is_flush).count())
    }
}

fn entries(file: &File) -> Result<Vec<Entry>> {
    let length = file.metadata()?.len();
    let sector_at = |offset, number| {
        let mut sector = [0; SECTOR as usize];
        match file.read_exact_at(&mut sector, offset) {
            Ok(()) => Ok(sector),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(InvalidLog::Short { number }.into())
            }
            Err(error) => Err(anyhow::Error::from(error)),
        }
    };
    let count = format::superblock(&sector_at(0, 0)?)?;
    let mut entries = Vec::new();
    let mut at = SECTOR;
    for number in 0..count {
        let entry = format::entry(&sector_at(at, number)?, number, at + SECTOR)?;
        at = entry.data + entry.data_sectors() * SECTOR;
        if at > length {
            return Err(InvalidLog::Short { number }.into());
        }
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::blocklog::format::tests::sector;
    use std::io::Write;

    /// A recording of writes (sector, bytes), flushes (no bytes) in a file.
    pub(crate) fn recorded(entries: &[(u64, &[u8])]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let count = entries.len() as u64;
        file.write_all(&sector(&[0x006a_7366_7773_6872, 1, count, 512]))
            .unwrap();
        for (place, bytes) in entries {
            let flags = u64::from(bytes.is_empty());
            file.write_all(&sector(&[*place, bytes.len() as u64 / SECTOR, flags, 0]))
                .unwrap();
            file.write_all(bytes).unwrap();
        }
        file
    }

    #[test]
    fn entries_are_found_behind_each_others_data() {
        let file = recorded(&[(5, &[1; 1024]), (0, &[]), (9, &[2; 512])]);
        let log = Log::open(file.path()).unwrap();
        let places: Vec<_> = log
            .entries
            .iter()
            .map(|e| (e.kind, e.sector, e.data))
            .collect();
        let write = Kind::Write { forced: false };
        assert_eq!(
            places,
            [(write, 5, 1024), (Kind::Flush, 0, 2560), (write, 9, 3072)]
        );
        assert_eq!(log.totals(), (1536, 1));
    }

    #[test]
    fn no_bytes_make_the_reader_fail_otherwise_than_with_a_reason() {
        let whole = std::fs::read(recorded(&[(5, &[1; 512]), (0, &[])]).path()).unwrap();
        let changed = (0..whole.len()).step_by(3).map(|place| {
            let mut bytes = whole.clone();
            bytes[place] ^= 0xff;
            bytes
        });
        let cut = (0..whole.len())
            .step_by(64)
            .map(|length| whole[..length].to_vec());
        for bytes in changed.chain(cut) {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&bytes).unwrap();
            if let Err(error) = Log::open(file.path()) {
                assert!(error.root_cause().is::<InvalidLog>(), "{error:#}");
            }
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&whole[..whole.len() - 600]).unwrap();
        assert!(Log::open(file.path()).is_err());
    }
}

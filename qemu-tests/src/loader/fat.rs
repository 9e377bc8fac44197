//! Files of a FAT32 file system, as the firmware finds them: the first FAT, long names.

use std::io;

use super::{Part, Reader};

const ENTRY: usize = 32;
const LONG_NAME: u8 = 0x0f;
const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// A chain this long has come round to where it was.
const MOST_CLUSTERS: usize = 1 << 22;
const LARGEST_DIRECTORY: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum InvalidFat {
    #[error("reading the file system")]
    Io(#[from] io::Error),
    #[error("it is no FAT32 file system")]
    Head,
    #[error("the chain of clusters of {0} ends nowhere")]
    Chain(String),
}

/// A file or directory, not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub size: u64,
    is_directory: bool,
    first: u32,
}

#[derive(Debug)]
pub struct Fat<'a, R> {
    disk: &'a R,
    start: u64,
    fat: u64,
    data: u64,
    cluster: u64,
    clusters: u32,
    root: u32,
}

impl<'a, R: Reader> Fat<'a, R> {
    pub fn open(disk: &'a R, part: &Part) -> Result<Self, InvalidFat> {
        let mut head = [0; 512];
        disk.read_at(part.start, &mut head)?;
        let number = |at: usize, length: usize| {
            head[at..at + length]
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (sector, per_cluster, reserved) = (number(11, 2), number(13, 1), number(14, 2));
        let (fats, sectors, fat_size) = (number(16, 1), number(32, 4), number(36, 4));
        let root = u32::try_from(number(44, 4)).map_err(|_| InvalidFat::Head)?;
        let first_data = reserved + fats * fat_size;
        let sound = head[510..] == [0x55, 0xaa]
            && sector == 512
            && per_cluster.is_power_of_two()
            && fats > 0
            && fat_size > 0
            && number(17, 2) == 0
            && sectors > first_data
            && sectors * sector <= part.end - part.start;
        if !sound {
            return Err(InvalidFat::Head);
        }
        let clusters = ((sectors - first_data) / per_cluster + 2).min(fat_size * sector / 4);
        Ok(Self {
            disk,
            start: part.start,
            fat: part.start + reserved * sector,
            data: part.start + first_data * sector,
            cluster: per_cluster * sector,
            clusters: u32::try_from(clusters).map_err(|_| InvalidFat::Head)?,
            root,
        })
    }

    /// What lies in a directory such as `EFI/Linux`; nothing when it is not there.
    pub fn list(&self, path: &str) -> Result<Vec<File>, InvalidFat> {
        let mut entries = self.directory("/", self.root)?;
        for part in path.split('/') {
            let found = entries
                .iter()
                .find(|file| file.is_directory && file.name.eq_ignore_ascii_case(part));
            let Some(first) = found.map(|file| file.first) else {
                return Ok(Vec::new());
            };
            entries = self.directory(path, first)?;
        }
        Ok(entries
            .into_iter()
            .filter(|file| !file.is_directory)
            .collect())
    }

    pub fn find(&self, directory: &str, name: &str) -> Result<Option<File>, InvalidFat> {
        let files = self.list(directory)?;
        Ok(files
            .into_iter()
            .find(|file| file.name.eq_ignore_ascii_case(name)))
    }

    pub fn content(&self, file: &File) -> Result<Vec<u8>, InvalidFat> {
        let mut bytes = Vec::new();
        for run in self.runs(&file.name, file.first)? {
            let from = bytes.len();
            let length = usize::try_from(run.end - run.start).map_err(|_| InvalidFat::Head)?;
            bytes.resize(from + length, 0);
            self.disk.read_at(run.start, &mut bytes[from..])?;
        }
        let size = usize::try_from(file.size).unwrap_or(usize::MAX);
        if bytes.len() < size {
            return Err(InvalidFat::Chain(file.name.clone()));
        }
        bytes.truncate(size);
        Ok(bytes)
    }

    /// Equal while neither the file's place nor anything in it was written.
    pub fn stamp(&self, file: &File) -> Result<u64, InvalidFat> {
        let runs = self.runs(&file.name, file.first)?;
        let stamps = runs
            .iter()
            .map(|run| (run.start, self.disk.stamp(run.start, run.end - run.start)));
        Ok(stamps.fold(file.size, |sum, (start, stamp)| {
            sum.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ start ^ stamp
        }))
    }

    /// Neighbouring clusters in one piece, as places on the disk.
    fn runs(&self, name: &str, first: u32) -> Result<Vec<Part>, InvalidFat> {
        let broken = || InvalidFat::Chain(name.to_owned());
        let (mut runs, mut next): (Vec<Part>, u32) = (Vec::new(), first);
        let (mut table, mut table_at) = ([0; 512], u64::MAX);
        for _ in 0..MOST_CLUSTERS {
            if next >= 0x0fff_fff8 || (next == 0 && runs.is_empty()) {
                return Ok(runs);
            }
            if !(2..self.clusters).contains(&next) {
                return Err(broken());
            }
            let place = self.data + u64::from(next - 2) * self.cluster;
            match runs.last_mut() {
                Some(last) if last.end == place => last.end += self.cluster,
                _ => runs.push(place..place + self.cluster),
            }
            let entry = self.fat + u64::from(next) * 4;
            if entry / 512 != table_at {
                table_at = entry / 512;
                self.disk.read_at(table_at * 512, &mut table)?;
            }
            let at = usize::try_from(entry % 512).expect("below 512");
            let bytes = table[at..at + 4].try_into().expect("four bytes");
            next = u32::from_le_bytes(bytes) & 0x0fff_ffff;
        }
        Err(broken())
    }

    fn directory(&self, name: &str, first: u32) -> Result<Vec<File>, InvalidFat> {
        let runs = self.runs(name, first)?;
        let total: u64 = runs.iter().map(|run| run.end - run.start).sum();
        if total > LARGEST_DIRECTORY as u64 * self.cluster {
            return Err(InvalidFat::Chain(name.to_owned()));
        }
        let whole = File {
            name: name.to_owned(),
            size: total,
            is_directory: true,
            first,
        };
        Ok(entries(&self.content(&whole)?))
    }

    /// Where the file system lies.
    pub fn start(&self) -> u64 {
        self.start
    }
}

/// Short entries with the long names before them; a long name that belongs to no entry is dropped.
fn entries(bytes: &[u8]) -> Vec<File> {
    let (mut files, mut long) = (Vec::new(), LongName::default());
    for entry in bytes.chunks_exact(ENTRY) {
        match (entry[0], entry[11]) {
            (0, _) => break,
            (0xe5, _) => long = LongName::default(),
            (_, attributes) if attributes & 0x3f == LONG_NAME => long.add(entry),
            (_, attributes) if attributes & VOLUME != 0 => long = LongName::default(),
            (_, attributes) => {
                let word = |at: usize| u32::from(entry[at]) | u32::from(entry[at + 1]) << 8;
                let short = short_name(entry);
                let name = std::mem::take(&mut long).of(&entry[..11]).unwrap_or(short);
                if name != "." && name != ".." {
                    files.push(File {
                        name,
                        size: u64::from(word(28)) | u64::from(word(30)) << 16,
                        is_directory: attributes & DIRECTORY != 0,
                        first: word(20) << 16 | word(26),
                    });
                }
            }
        }
    }
    files
}

fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match (part(&entry[..8]), part(&entry[8..11])) {
        (stem, extension) if extension.is_empty() => stem,
        (stem, extension) => format!("{stem}.{extension}"),
    }
}

/// The pieces of a long name come last first, each with the checksum of the short one.
#[derive(Debug, Default)]
struct LongName {
    pieces: Vec<Vec<u16>>,
    checksum: u8,
    expected: u8,
}

impl LongName {
    fn add(&mut self, entry: &[u8]) {
        let (number, is_last) = (entry[0] & 0x1f, entry[0] & 0x40 != 0);
        let follows = !is_last && number + 1 == self.expected && entry[13] == self.checksum;
        if !is_last && !follows {
            *self = Self::default();
            return;
        }
        if is_last {
            self.pieces.clear();
        }
        (self.checksum, self.expected) = (entry[13], number);
        let places = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain([28, 30]);
        let unit = |at: usize| u16::from(entry[at]) | u16::from(entry[at + 1]) << 8;
        self.pieces
            .push(places.map(unit).take_while(|unit| *unit != 0).collect());
    }

    fn of(self, short: &[u8]) -> Option<String> {
        let sum = short
            .iter()
            .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let complete = self.expected == 1 && self.checksum == sum && !self.pieces.is_empty();
        let units: Vec<u16> = self.pieces.into_iter().rev().flatten().collect();
        complete.then(|| String::from_utf16_lossy(&units))
    }
}

#[cfg(test)]
#[path = "fat_tests.rs"]
pub(super) mod tests;

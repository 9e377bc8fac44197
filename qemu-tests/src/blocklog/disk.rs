//! The disk after a cut, as a map over the disk it began with and the recording.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::cut::{Cut, Survivors, flushed};
use super::format::{Entry, Kind};
use super::log::Log;
use super::{Loss, SECTOR};

/// In the map: as the disk began. No data lie there, the superblock does.
const UNTOUCHED: u64 = 0;
/// In the map: discarded. Odd, as no sector's place is.
const ZEROS: u64 = 1;

/// What a model of the loader reads from.
pub trait Reader {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Equal while nothing in the range was written; says nothing about equal content.
    fn stamp(&self, offset: u64, length: u64) -> u64;
}

#[derive(Debug)]
pub struct Disk {
    base: File,
    log: Log,
    /// Where each sector lies in the recording. What is behind is not looked at.
    places: Vec<u64>,
    /// Entries that are on the disk, all before it.
    durable: usize,
}

/// Sectors that were changed, with where they lay before.
#[derive(Debug, Default)]
pub struct Changes(Vec<(u64, u64)>);

impl Changes {
    pub fn sectors(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(sector, _)| *sector)
    }
}

impl Disk {
    /// Only the first `length` bytes of the disk are followed.
    pub fn new(base: File, log: Log, length: u64) -> Self {
        let sectors = usize::try_from(length / SECTOR).expect("disks fit into memory's sizes");
        Self {
            base,
            log,
            places: vec![UNTOUCHED; sectors],
            durable: 0,
        }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Brings the disk to the last flush before the cut. Cuts must come in the order of prefixes.
    pub fn settle(&mut self, cut: &Cut) -> Changes {
        let until = flushed(&self.log.entries, cut.prefix);
        let mut changes = Changes::default();
        for number in self.durable..until {
            let entry = self.log.entries[number].clone();
            self.apply(&entry, Survivors::All, &mut changes);
        }
        self.durable = self.durable.max(until);
        changes
    }

    /// Adds what the cut let through of the writes since the last flush.
    pub fn cut(&mut self, cut: &Cut) -> Changes {
        let mut changes = Changes::default();
        for number in self.durable..cut.prefix {
            let entry = self.log.entries[number].clone();
            let survivors = cut.survivors(&entry, number, self.durable);
            self.apply(&entry, survivors, &mut changes);
        }
        changes
    }

    pub fn undo(&mut self, changes: &Changes) {
        for (sector, before) in changes.0.iter().rev() {
            self.places[usize::try_from(*sector).expect("was an index")] = *before;
        }
    }

    fn apply(&mut self, entry: &Entry, mut survivors: Survivors, changes: &mut Changes) {
        for number in 0..entry.sectors {
            if !survivors.has_next() {
                continue;
            }
            let sector = entry.sector + number;
            let place = match entry.kind {
                Kind::Write { .. } => entry.data + number * SECTOR,
                Kind::Discard => ZEROS,
                Kind::Flush | Kind::Mark => return,
            };
            let index = usize::try_from(sector).unwrap_or(usize::MAX);
            let Some(now) = self.places.get_mut(index) else {
                return;
            };
            changes.0.push((sector, std::mem::replace(now, place)));
        }
    }

    fn place(&self, sector: u64) -> u64 {
        let index = usize::try_from(sector).unwrap_or(usize::MAX);
        self.places.get(index).copied().unwrap_or(UNTOUCHED)
    }
}

impl Reader for Disk {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (sector, skip) = (at / SECTOR, at % SECTOR);
            let first = self.place(sector);
            let wanted = (bytes.len() - done) as u64 + skip;
            // Sectors that lie behind each other are read in one piece.
            let follows = |number: &u64| match first {
                UNTOUCHED | ZEROS => self.place(sector + number) == first,
                place => self.place(sector + number) == place + number * SECTOR,
            };
            let run = (1..wanted.div_ceil(SECTOR)).take_while(follows).count() as u64 + 1;
            let length = (run * SECTOR - skip).min((bytes.len() - done) as u64);
            let piece = &mut bytes[done..done + usize::try_from(length).expect("is a part of it")];
            match first {
                UNTOUCHED => self.base.read_exact_at(piece, at)?,
                ZEROS => piece.fill(0),
                place => self.log.file().read_exact_at(piece, place + skip)?,
            }
            done += piece.len();
        }
        Ok(())
    }

    fn stamp(&self, offset: u64, length: u64) -> u64 {
        let sectors = offset / SECTOR..(offset + length).div_ceil(SECTOR);
        // FNV-1a, over places and not over bytes.
        sectors.fold(0xcbf2_9ce4_8422_2325, |sum: u64, sector| {
            (sum ^ self.place(sector)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

/// Writes entries to a disk image, whole.
pub fn write_out(log: &Log, entries: std::ops::Range<usize>, image: &File) -> io::Result<()> {
    for entry in &log.entries[entries] {
        let mut bytes = vec![0; usize::try_from(entry.sectors * SECTOR).unwrap_or(usize::MAX)];
        match entry.kind {
            Kind::Write { .. } => log.file().read_exact_at(&mut bytes, entry.data)?,
            Kind::Discard => {}
            Kind::Flush | Kind::Mark => continue,
        }
        image.write_all_at(&bytes, entry.sector * SECTOR)?;
    }
    Ok(())
}

impl Survivors {
    fn has_next(&mut self) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some(random) => random.happens(500),
        }
    }
}

impl Cut {
    /// The plain end of the recording's first entries.
    pub fn after(prefix: usize) -> Self {
        Self {
            prefix,
            loss: Loss::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocklog::log::tests::recorded;
    use std::io::{Seek, SeekFrom, Write};

    /// A disk of eight sectors of `9`, and the recording over it.
    fn disk(entries: &[(u64, &[u8])]) -> Disk {
        let mut base = tempfile::tempfile().unwrap();
        base.write_all(&[9; 8 * 512]).unwrap();
        base.seek(SeekFrom::Start(0)).unwrap();
        Disk::new(base, Log::open(recorded(entries).path()).unwrap(), 8 * 512)
    }

    fn content(disk: &Disk) -> Vec<u8> {
        let mut bytes = vec![0; 8 * 512];
        disk.read_at(0, &mut bytes).unwrap();
        bytes.chunks(512).map(|sector| sector[0]).collect()
    }

    #[test]
    fn a_cut_shows_its_writes_and_undone_it_shows_none() {
        let mut disk = disk(&[(1, &[1; 1024]), (0, &[]), (2, &[2; 512]), (7, &[3; 1024])]);
        let before = disk.stamp(0, 4096);
        for (prefix, loss, expected) in [
            (1, Loss::Everything, [9, 9, 9, 9, 9, 9, 9, 9]),
            (1, Loss::Nothing, [9, 1, 1, 9, 9, 9, 9, 9]),
            (3, Loss::Everything, [9, 1, 1, 9, 9, 9, 9, 9]),
            (3, Loss::Nothing, [9, 1, 2, 9, 9, 9, 9, 9]),
            (4, Loss::Nothing, [9, 1, 2, 9, 9, 9, 9, 3]),
        ] {
            let cut = Cut { prefix, loss };
            disk.settle(&cut);
            let changes = disk.cut(&cut);
            assert_eq!(content(&disk), expected, "{cut:?}");
            disk.undo(&changes);
        }
        assert_eq!(content(&disk), [9, 1, 1, 9, 9, 9, 9, 9]);
        assert_ne!(disk.stamp(0, 4096), before);
        assert_eq!(disk.stamp(4096, 4096), disk.stamp(8192, 4096));
    }

    #[test]
    fn a_torn_write_has_old_and_new_sectors() {
        let mut disk = disk(&[(0, &[1; 4096])]);
        let torn = (0..50).filter(|seed| {
            let changes = disk.cut(&Cut {
                prefix: 1,
                loss: Loss::LastTorn(*seed),
            });
            let content = content(&disk);
            disk.undo(&changes);
            content.contains(&9) && content.contains(&1)
        });
        assert!(torn.count() > 40);
    }

    #[test]
    fn reads_may_begin_and_end_anywhere() {
        let mut disk = disk(&[(1, &[1; 512]), (2, &[2; 512])]);
        disk.cut(&Cut::after(2));
        let mut bytes = [0; 1026];
        disk.read_at(511, &mut bytes).unwrap();
        assert_eq!((bytes[0], bytes[1], bytes[513], bytes[1025]), (9, 1, 2, 9));
    }

    #[test]
    fn an_image_gets_what_the_map_shows() {
        let mut disk = disk(&[(1, &[1; 1024]), (0, &[]), (2, &[2; 512])]);
        let image = disk.base.try_clone().unwrap();
        disk.cut(&Cut::after(3));
        let mapped = content(&disk);
        write_out(&disk.log, 0..3, &image).unwrap();
        disk.places.fill(UNTOUCHED);
        assert_eq!(content(&disk), mapped);
    }
}

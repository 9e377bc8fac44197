//! FAT volumes of a fixed tree: the EFI system partition and CONFIG.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use fatfs::{Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use crate::tree::{Kind, Tree};

/// The project's epoch as FAT writes it.
#[derive(Debug)]
struct Epoch;

const DATE: Date = Date {
    year: 2026,
    month: 1,
    day: 1,
};
const TIME: Time = Time {
    hour: 0,
    min: 0,
    sec: 0,
    millis: 0,
};

impl TimeProvider for Epoch {
    fn get_current_date(&self) -> Date {
        DATE
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: DATE,
            time: TIME,
        }
    }
}

/// Makes a volume of `size` bytes. Its type (FAT16 or FAT32) follows from the size.
pub fn write(path: &Path, size: u64, label: &str, id: u32, tree: &Tree) -> Result<()> {
    let named = || format!("making the FAT volume {label}");
    let mut name = [b' '; 11];
    name[..label.len()].copy_from_slice(label.as_bytes());
    let mut open = File::options();
    let mut file = open
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .with_context(named)?;
    file.set_len(size).with_context(named)?;
    let options = FormatVolumeOptions::new().volume_id(id).volume_label(name);
    fatfs::format_volume(&mut file, options).with_context(named)?;
    let options = FsOptions::new().time_provider(&Epoch);
    let volume = FileSystem::new(file, options).with_context(named)?;
    let root = volume.root_dir();
    for (path, node) in tree.iter() {
        let named = || format!("writing {path} to the FAT volume {label}");
        match &node.kind {
            Kind::Directory => drop(root.create_dir(path).with_context(named)?),
            Kind::File(content) => {
                let file = root.create_file(path).with_context(named)?;
                let mut file = BufWriter::with_capacity(1 << 16, file);
                io::copy(&mut content.reader(), &mut file).with_context(named)?;
                file.flush().with_context(named)?;
            }
            Kind::Symlink(_) => anyhow::bail!("{path} is a link, which FAT does not have"),
        }
    }
    drop(root);
    volume.unmount().with_context(named)
}

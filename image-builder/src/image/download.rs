//! The disk image in the forms it is downloaded in.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use zstd::stream::raw::CParameter;

use crate::program;
use crate::sparse;
use crate::tools::Tools;

/// With long windows the size is that of level 15 and more at a fraction of the time.
const LEVEL: i32 = 9;
/// 128 MiB: the largest window that zstd decompresses without being told to.
const WINDOW_LOG: u32 = 27;
/// The result does not depend on the number of workers, only on there being any.
const WORKERS: u32 = 4;

/// A zstd block of one repeated byte: three bytes of header, then the byte.
const RLE_MAX: u64 = 128 * 1024;

pub(super) fn qcow2(tools: &Tools, raw: &Path, target: &Path) -> Result<()> {
    let mut command = tools.command("qemu-img");
    command
        .args(["convert", "-q", "-f", "raw", "-O", "qcow2", "-c", "-m", "4"])
        .args(["-o", "compression_type=zstd"])
        .args([raw, target]);
    program::run(&mut command).context("making the qcow2 image")?;
    Ok(())
}

/// Data is compressed run by run, and holes are written as frames of their own that cost nothing
/// to make; one stream decompresses to the whole disk.
pub(super) fn zst(raw: &Path, target: &Path) -> Result<()> {
    let named = || format!("compressing to {}", target.display());
    let disk = File::open(raw).with_context(named)?;
    let size = disk.metadata().with_context(named)?.len();
    let output = File::create_new(target).with_context(named)?;
    let mut output = BufWriter::with_capacity(1 << 18, output);
    let mut position = 0;
    for (start, end) in merged(sparse::extents(&disk).with_context(named)?) {
        zeros(start - position, &mut output).with_context(named)?;
        let run = Run {
            disk: &disk,
            position: start,
            end,
        };
        compress(run, &mut output).with_context(named)?;
        position = end;
    }
    zeros(size - position, &mut output).with_context(named)?;
    output.flush().with_context(named)
}

/// Small holes stay inside a run, where matches may cross them.
fn merged(extents: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    const HOLE: u64 = 16 << 20;
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (start, end) in extents {
        match runs.last_mut() {
            Some(last) if start - last.1 < HOLE => last.1 = end,
            _ => runs.push((start, end)),
        }
    }
    runs
}

fn compress(mut run: Run<'_>, output: &mut impl Write) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(output, LEVEL)?;
    encoder.set_pledged_src_size(Some(run.end - run.position))?;
    encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    encoder.set_parameter(CParameter::NbWorkers(WORKERS))?;
    encoder.include_checksum(true)?;
    io::copy(&mut run, &mut encoder)?;
    encoder.finish().map(drop)
}

/// A frame of `count` zeros (RFC 8878): an 8-byte content size, a small window, repeated blocks.
fn zeros(count: u64, output: &mut impl Write) -> io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    const MAGIC: u32 = 0xfd2f_b528;
    const SIZE_OF_8_BYTES: u8 = 0b1100_0000;
    /// 128 KiB.
    const WINDOW: u8 = 7 << 3;
    const RLE: u32 = 1 << 1;
    output.write_all(&MAGIC.to_le_bytes())?;
    output.write_all(&[SIZE_OF_8_BYTES, WINDOW])?;
    output.write_all(&count.to_le_bytes())?;
    let mut left = count;
    while left > 0 {
        let size = left.min(RLE_MAX);
        left -= size;
        let header = (size as u32) << 3 | RLE | u32::from(left == 0);
        output.write_all(&header.to_le_bytes()[..3])?;
        output.write_all(&[0])?;
    }
    Ok(())
}

struct Run<'a> {
    disk: &'a File,
    position: u64,
    end: u64,
}

impl Read for Run<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.disk.read_at(&mut buffer[..wanted], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_disk_comes_back_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (raw, target) = (directory.path().join("raw"), directory.path().join("zst"));
        let file = File::create(&raw).unwrap();
        file.set_len((100 << 20) + 7).unwrap();
        file.write_all_at(b"start", 0).unwrap();
        file.write_all_at(&[5; 300_000], 40 << 20).unwrap();
        zst(&raw, &target).unwrap();
        let again = zstd::decode_all(File::open(&target).unwrap()).unwrap();
        assert!(again == std::fs::read(&raw).unwrap());
        assert!(target.metadata().unwrap().len() < 10_000);
    }

    #[test]
    fn runs_of_zeros_of_every_size_are_frames() {
        for count in [1, RLE_MAX - 1, RLE_MAX, RLE_MAX + 1, 3 * RLE_MAX] {
            let mut bytes = Vec::new();
            zeros(count, &mut bytes).unwrap();
            let again = zstd::decode_all(&bytes[..]).unwrap();
            assert_eq!(again.len() as u64, count);
            assert!(again.iter().all(|byte| *byte == 0));
        }
    }
}

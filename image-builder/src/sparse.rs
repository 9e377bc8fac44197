//! Sparse files: where their data is.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// Runs of data in a sparse file, as start and end.
pub fn extents(file: &File) -> io::Result<Vec<(u64, u64)>> {
    let end = i64::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut extents = Vec::new();
    let mut position = 0;
    while position < end {
        let start = match lseek(file.as_fd(), position, Whence::SeekData) {
            Ok(start) => start,
            Err(Errno::ENXIO) => break,
            Err(error) => return Err(error.into()),
        };
        position = lseek(file.as_fd(), start, Whence::SeekHole)?;
        extents.push((start.cast_unsigned(), position.cast_unsigned()));
    }
    Ok(extents)
}

//! Puts a disk image together: partition table and contents, with holes where nothing is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::gpt;
use crate::layout::Layout;
use crate::sparse::extents;

const CHUNK: usize = 1 << 16;

/// Writes the disk; `contents` pairs partition labels with the files that fill them.
pub fn write(path: &Path, layout: &Layout, contents: &[(&str, PathBuf)]) -> Result<()> {
    let named = || format!("writing {}", path.display());
    let disk = File::create_new(path).with_context(named)?;
    disk.set_len(layout.size).with_context(named)?;
    let (primary, backup) = gpt::tables(layout);
    disk.write_all_at(&primary, 0).with_context(named)?;
    disk.write_all_at(&backup, layout.size - backup.len() as u64)
        .with_context(named)?;
    for (label, content) in contents {
        let partition = layout.partition(label);
        let source =
            File::open(content).with_context(|| format!("opening {}", content.display()))?;
        let size = source.metadata().with_context(named)?.len();
        anyhow::ensure!(
            size <= partition.size,
            "{} has {size} bytes; partition {label} holds {}",
            content.display(),
            partition.size
        );
        copy_sparse(&source, &disk, partition.start)
            .with_context(|| format!("writing partition {label}"))?;
    }
    Ok(())
}

fn copy_sparse(source: &File, target: &File, offset: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    for (start, end) in extents(source)? {
        let mut position = start;
        while position < end {
            let wanted = usize::try_from(end - position).map_or(CHUNK, |left| left.min(CHUNK));
            let chunk = &mut buffer[..wanted];
            source.read_exact_at(chunk, position)?;
            if chunk.iter().any(|byte| *byte != 0) {
                target.write_all_at(chunk, offset + position)?;
            }
            position += wanted as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_sparse_file_is_copied_with_its_holes() {
        let (source, mut target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        source.set_len(1 << 24).unwrap();
        source.write_all_at(b"one", 5).unwrap();
        source.write_all_at(b"two", (1 << 24) - 3).unwrap();
        target.set_len(1 << 25).unwrap();
        copy_sparse(&source, &target, 100).unwrap();
        let mut bytes = Vec::new();
        target.read_to_end(&mut bytes).unwrap();
        assert_eq!(
            (&bytes[105..108], &bytes[(1 << 24) + 97..][..3]),
            (&b"one"[..], &b"two"[..])
        );
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 6);
    }
}

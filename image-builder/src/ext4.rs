//! ext4 file systems by mkfs.ext4 of the tools tree, the same bytes each time.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

use crate::identity::Uuid;
use crate::program;
use crate::tools::Tools;

#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub label: &'static str,
    pub size: u64,
    /// The journal cannot grow with the file system, so it fits the size that one will have.
    pub journal_mib: u32,
    /// Largest size, in blocks, that group descriptors are kept free for. The kernel goes on
    /// beyond it with meta_bg.
    pub grows_to: Option<u32>,
}

pub const BLOCK: u64 = 4096;

pub fn make(tools: &Tools, path: &Path, shape: &Shape) -> Result<()> {
    let Shape {
        label,
        size,
        journal_mib,
        grows_to,
    } = *shape;
    let file = File::create_new(path).with_context(|| format!("making {}", path.display()))?;
    file.set_len(size)
        .with_context(|| format!("making {}", path.display()))?;
    let uuid = Uuid::named(&format!("ext4 {label}"));
    let seed = Uuid::named(&format!("ext4 hash {label}"));
    // The file is all zero, so what is "lazy" is done already, except for the inode tables, whose
    // initialisation would otherwise run in the first minutes of every new machine.
    let mut extended =
        format!("hash_seed={seed},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=1,nodiscard");
    if let Some(blocks) = grows_to {
        extended += &format!(",resize={blocks}");
    }
    let mut command = tools.command("mkfs.ext4");
    command
        .args([
            "-q",
            "-F",
            "-L",
            label,
            "-U",
            &uuid.to_string(),
            "-E",
            &extended,
        ])
        .args([
            "-J",
            &format!("size={journal_mib}"),
            "-b",
            &BLOCK.to_string(),
        ])
        .args(["-i", "16384", "-I", "256", "-m", "1"])
        .arg(path);
    program::run(&mut command).with_context(|| format!("making the file system {label}"))?;
    Ok(())
}

//! The slot's file system: uncompressed erofs, by mkfs.erofs of the tools tree.
//!
//! The tree is streamed to it as a tar archive, so owners and modes need no root.

use std::fs;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::identity::Uuid;
use crate::layout::USR_SIZE;
use crate::tools::Tools;
use crate::tree::{Tree, write_archive};
use crate::{EPOCH, program};

pub fn make(tools: &Tools, path: &Path, tree: &Tree) -> Result<()> {
    let mut command = tools.command("mkfs.erofs");
    command
        .args(["--quiet", "--all-time", "--tar=f", "-T", &EPOCH.to_string()])
        .args(["-U", &Uuid::named("usr").to_string(), "-L", "usr"])
        .arg(path);
    program::run_fed(&mut command, |input| {
        write_archive(tree, BufWriter::with_capacity(1 << 18, input))
    })
    .context("making the erofs file system")?;
    let size = fs::metadata(path)
        .context("reading the size of the erofs file system")?
        .len();
    if size > USR_SIZE {
        bail!("/usr has {size} bytes; a slot holds {USR_SIZE}");
    }
    Ok(())
}

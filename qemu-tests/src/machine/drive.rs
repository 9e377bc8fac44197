//! A second disk with the configuration: vfat made by mtools, or an ISO image made by xorriso.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::spec::Filesystem;
use crate::tools::{Tools, run};

/// In the machine's directory.
pub(super) const IMAGE: &str = "config.img";
const SIZE: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Drive<'a> {
    /// The machine's directory.
    pub(super) scratch: &'a Path,
    pub(super) label: &'static str,
    pub(super) filesystem: Filesystem,
}

impl Drive<'_> {
    /// `content` are names on the disk and their texts.
    pub(super) fn make(&self, content: &[(&str, &str)], tools: &Tools) -> Result<()> {
        match self.filesystem {
            Filesystem::Vfat => self.vfat(content, tools),
            Filesystem::Iso9660 => self.iso(content, tools),
        }
    }

    fn vfat(&self, content: &[(&str, &str)], tools: &Tools) -> Result<()> {
        let drive = self.scratch.join(IMAGE);
        fs::File::create(&drive)?.set_len(SIZE)?;
        let drive = drive.to_str().context("the machine's path is not UTF-8")?;
        tools.run("mkfs.vfat", ["-n", self.label, drive])?;
        let mut made = Vec::new();
        for (name, text) in content {
            let parents = Path::new(name)
                .ancestors()
                .skip(1)
                .filter(|path| *path != Path::new(""));
            for parent in parents.collect::<Vec<_>>().into_iter().rev() {
                if !made.contains(&parent) {
                    tools.run("mmd", ["-i", drive, &format!("::{}", parent.display())])?;
                    made.push(parent);
                }
            }
            copy_into(drive, name, text, self.scratch, tools)?;
        }
        Ok(())
    }

    fn iso(&self, content: &[(&str, &str)], tools: &Tools) -> Result<()> {
        let tree = self.scratch.join("config");
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        for (name, text) in content {
            let file = tree.join(name);
            fs::create_dir_all(file.parent().unwrap_or(&tree))?;
            fs::write(file, text)?;
        }
        let drive = self.scratch.join(IMAGE);
        if drive.exists() {
            fs::remove_file(&drive)?;
        }
        let mut command = tools.command("xorrisofs");
        command.args(["-quiet", "-J", "-r", "-V", self.label, "-o"]);
        run(command.arg(&drive).arg(&tree))?;
        Ok(())
    }
}

/// Puts a text into a file system image, or into one inside a disk image (`IMAGE@@OFFSET`).
pub(super) fn copy_into(
    image: &str,
    name: &str,
    text: &str,
    scratch: &Path,
    tools: &Tools,
) -> Result<()> {
    let source = scratch.join("handed-over");
    fs::write(&source, text)?;
    let mut command = tools.command("mcopy");
    command
        .args(["-o", "-i", image])
        .arg(&source)
        .arg(format!("::{name}"));
    run(&mut command)?;
    Ok(())
}

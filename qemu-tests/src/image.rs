//! The image under test: built by `strake-image`, found by its `release.json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::tools::{Tools, run, run_visibly};
use crate::workspace::Workspace;

/// What of `release.json` the lab needs.
#[derive(Debug, Clone, Deserialize)]
pub struct Release {
    pub version: String,
    pub root_hash: String,
}

#[derive(Debug, Clone)]
pub struct Image {
    pub directory: PathBuf,
    pub disk: PathBuf,
    pub release: Release,
}

impl Image {
    /// Builds what changed and opens the result.
    pub fn build(workspace: &Workspace, tools: &Tools) -> Result<Self> {
        run_visibly(tools.strake_image().args(["build", "--format", "raw"]))?;
        Self::open(&workspace.images().join("latest"))
    }

    pub fn open(directory: &Path) -> Result<Self> {
        let directory = fs::canonicalize(directory)
            .with_context(|| format!("no image at {}", directory.display()))?;
        let path = directory.join("release.json");
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let release: Release =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        let disk = directory.join(format!("strake_{}.raw", release.version));
        anyhow::ensure!(disk.is_file(), "the image has no disk: {}", disk.display());
        Ok(Self {
            directory,
            disk,
            release,
        })
    }

    /// The same image under a name that a later build does not touch, since machines read their
    /// disk from it for as long as they run.
    pub fn kept_in(&self, directory: &Path) -> Result<Self> {
        let disk = directory.join(format!("{}.raw", self.release.root_hash));
        if !disk.exists() && fs::hard_link(&self.disk, &disk).is_err() {
            // Another file system. The copy is sparse and made once.
            let mut copy = Command::new("cp");
            run(copy
                .args(["--reflink=auto", "--sparse=always"])
                .arg(&self.disk)
                .arg(&disk))
            .context("keeping the image")?;
        }
        Ok(Self {
            disk,
            ..self.clone()
        })
    }
}

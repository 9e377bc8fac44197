//! The image under test: built by `strake-image`, found by its `release.json`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::tools::{Tools, run_visibly};
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
}

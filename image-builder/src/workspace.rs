//! Where everything made at run time lives: `target/strake/` of the checkout, or `--dir`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// `given` is `--dir` or `STRAKE_DIR`; without it the nearest parent with a `.git` counts.
    pub fn locate(given: Option<PathBuf>) -> Result<Self> {
        let current = std::env::current_dir().context("reading the current directory")?;
        let root = match given {
            Some(path) => current.join(path),
            None => {
                let checkout = current.ancestors().find(|dir| dir.join(".git").exists());
                checkout.unwrap_or(&current).join("target/strake")
            }
        };
        fs::create_dir_all(&root)
            .with_context(|| format!("making {} (is --dir right?)", root.display()))?;
        let root = fs::canonicalize(&root)
            .with_context(|| format!("finding the real path of {}", root.display()))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    pub fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }
}

//! Where things are: the checkout, cargo's output and everything made at run time.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The programs for the image are built for this target, static.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
    work: PathBuf,
}

impl Workspace {
    /// The checkout is the one the current directory is in. `work` overrides where things made at
    /// run time live; without it `target/strake` does.
    pub fn find(work: Option<&Path>) -> Result<Self> {
        let here = env::current_dir().context("reading the current directory")?;
        let Some(root) = here
            .ancestors()
            .find(|path| path.join("qemu-tests/Cargo.toml").is_file())
        else {
            bail!("no Strake checkout at or above {}", here.display());
        };
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |target| root.join(target));
        let work = work.map_or_else(|| target.join("strake"), |work| here.join(work));
        fs::create_dir_all(&work).with_context(|| format!("creating {}", work.display()))?;
        Ok(Self {
            root: root.to_owned(),
            target,
            work,
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `target/strake`, or what `--dir` says.
    pub fn work(&self) -> &Path {
        &self.work
    }

    pub fn labs(&self) -> PathBuf {
        self.work.join("lab")
    }

    pub fn tests(&self) -> PathBuf {
        self.work.join("test")
    }

    pub fn images(&self) -> PathBuf {
        self.work.join("images")
    }

    /// A static release program, as the image gets it.
    pub fn program(&self, name: &str) -> PathBuf {
        self.target.join(TARGET).join("release").join(name)
    }
}

//! `release.json`: what a build made.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub root_hash: Digest,
    pub salt: Digest,
    pub verity_uuid: String,
    pub kernel: String,
    pub usr_size: u64,
    pub data_blocks: u64,
    pub artifacts: Vec<Artifact>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub name: String,
    pub size: u64,
    pub sha256: Digest,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    DiskRaw,
    DiskQcow2,
    DiskZst,
    Usr,
    UsrVerity,
    Uki,
    Packages,
    Sbom,
}

impl Artifact {
    pub fn of(directory: &Path, name: String, kind: Kind) -> Result<Self> {
        let path = directory.join(&name);
        let named = || format!("reading {}", path.display());
        let size = path.metadata().with_context(named)?.len();
        let sha256 = Digest::of_file(&path).with_context(named)?;
        Ok(Self {
            name,
            size,
            sha256,
            kind,
        })
    }
}

impl Release {
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("writing release.json")? + "\n")
    }
}

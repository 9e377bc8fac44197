//! What a disk image or a build's directory holds.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::BadInput;
use crate::gpt::{self, PRIMARY_SIZE};
use crate::image::Release;

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Findings {
    Release(Box<Release>),
    Disk(Vec<Partition>),
}

#[derive(Debug, Serialize)]
pub struct Partition {
    pub label: String,
    pub start: u64,
    pub size: u64,
    pub kind: String,
    pub uuid: String,
}

pub fn inspect(path: &Path) -> Result<Findings> {
    let named = || format!("reading {}", path.display());
    if path.is_dir() {
        let text = fs::read(path.join("release.json"));
        let text = text.map_err(|_| bad(path, "has no release.json"))?;
        let release =
            serde_json::from_slice(&text).map_err(|error| bad(path, &error.to_string()))?;
        return Ok(Findings::Release(release));
    }
    let file = File::open(path).map_err(|error| bad(path, &error.to_string()))?;
    let mut primary = Vec::new();
    file.take(PRIMARY_SIZE as u64)
        .read_to_end(&mut primary)
        .with_context(named)?;
    let entries = gpt::read(&primary).map_err(|error| bad(path, &error.to_string()))?;
    let partition = |entry: gpt::Entry| Partition {
        label: entry.label,
        start: entry.start,
        size: entry.size,
        kind: entry.kind.to_string(),
        uuid: entry.uuid.to_string(),
    };
    Ok(Findings::Disk(entries.into_iter().map(partition).collect()))
}

fn bad(path: &Path, why: &str) -> anyhow::Error {
    let text = format!(
        "{}: {why}; give a raw disk image or a build's directory",
        path.display()
    );
    BadInput(text).into()
}

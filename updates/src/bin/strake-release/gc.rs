//! Removes files that nothing names any more. Not to be run beside `add`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use strake_updates::time::Span;
use strake_updates::tuf::role::Targets;

use crate::Outcome;
use crate::repository::Repository;

pub(crate) fn run(repository: &Repository, grace: Span, dry_run: bool) -> anyhow::Result<Outcome> {
    let named = named(repository)?;
    let mut removed = 0;
    for path in files(&repository.metadata())?
        .into_iter()
        .chain(files(&repository.targets())?)
    {
        let is_root = path.to_string_lossy().ends_with(".root.json");
        if is_root || named.contains(&path) || age(&path)? < grace {
            continue;
        }
        removed += 1;
        if dry_run {
            println!("would remove {}", path.display());
        } else {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            println!("removed {}", path.display());
        }
    }
    Ok(if removed == 0 {
        println!("nothing to remove");
        Outcome::NothingToDo
    } else {
        Outcome::Done
    })
}

/// Every file that the published state or a draft names.
fn named(repository: &Repository) -> anyhow::Result<BTreeSet<PathBuf>> {
    let published = repository.published()?;
    let snapshot = published.snapshot.body();
    let metadata = repository.metadata();
    let mut named = BTreeSet::from([
        metadata.join("timestamp.json"),
        metadata.join(format!("{}.snapshot.json", snapshot.head.version)),
    ]);
    let mut roles: BTreeSet<String> = BTreeSet::new();
    for (name, meta) in &snapshot.meta {
        named.insert(metadata.join(format!("{}.{name}", meta.version)));
        roles.insert(name.trim_end_matches(".json").to_owned());
    }
    let mut targets: Vec<Targets> = Vec::new();
    for role in &roles {
        targets.extend(
            repository
                .published_targets(&published, role)?
                .map(|e| e.into_body()),
        );
        targets.extend(repository.draft::<Targets>(role)?.map(|e| e.into_body()));
    }
    for (name, target) in targets.iter().flat_map(|targets| &targets.targets) {
        let file = format!("{}.{name}", target.hashes.sha256);
        named.insert(repository.targets().join(file));
    }
    Ok(named)
}

/// All files below a directory, in order.
fn files(dir: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    if !dir.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.insert(entry.path());
        }
    }
    Ok(found)
}

/// A file from the future is young.
fn age(path: &Path) -> anyhow::Result<Span> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let modified = modified.with_context(|| format!("reading {}", path.display()))?;
    Ok(Span(modified.elapsed().map_or(0, |age| age.as_secs())))
}

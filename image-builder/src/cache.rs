//! Results of stages, each in a directory named by the digest of the stage's inputs.
//!
//! A result is made in a temporary directory beside its place and renamed when it is complete, so
//! a killed build leaves nothing that a later one could take for a result. One lock per workspace
//! keeps builds apart.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::digest::{Digest, Inputs};
use crate::progress::Progress;

/// Results of a stage that are kept; the longest unused go first.
const KEPT: usize = 4;
const PARTIAL: &str = ".partial-";

#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    _lock: File,
}

/// One stage's result.
#[derive(Debug, Clone)]
pub struct Entry {
    directory: PathBuf,
    key: Digest,
}

impl Entry {
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Stands for the result in the inputs of the next stage.
    pub fn key(&self) -> &Digest {
        &self.key
    }
}

impl Cache {
    pub fn open(root: &Path, progress: &Progress) -> Result<Self> {
        let _lock = lock(root, progress)?;
        Ok(Self {
            root: root.to_owned(),
            _lock,
        })
    }

    pub fn stage(
        &self,
        progress: &Progress,
        name: &'static str,
        inputs: &Inputs,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Entry> {
        let running = progress.stage(name);
        let key = inputs.digest();
        let stage = self.root.join(name);
        let entry = Entry {
            directory: stage.join(key.short()),
            key,
        };
        if entry.directory.is_dir() {
            touch(&entry.directory);
            running.cached();
            return Ok(entry);
        }
        // The process id keeps this apart from what programs of a killed build still write.
        let partial = stage.join(format!("{PARTIAL}{}-{}", key.short(), std::process::id()));
        fs::create_dir_all(&stage).with_context(|| format!("making {}", stage.display()))?;
        prune(&stage, KEPT - 1);
        fs::create_dir(&partial).with_context(|| format!("making {}", partial.display()))?;
        make(&partial).with_context(|| format!("stage {name}"))?;
        fs::rename(&partial, &entry.directory)
            .with_context(|| format!("keeping the result of stage {name}"))?;
        running.done();
        Ok(entry)
    }
}

/// Takes the lock of a directory and says so when that means waiting.
pub fn lock(directory: &Path, progress: &Progress) -> Result<File> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let path = directory.join(".lock");
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.line(&format!(
                "waiting for another build that holds {}",
                path.display()
            ));
            file.lock()
                .with_context(|| format!("locking {}", path.display()))?;
        }
        Err(TryLockError::Error(source)) => {
            return Err(source).with_context(|| format!("locking {}", path.display()));
        }
    }
    Ok(file)
}

/// Removes what killed builds left, and complete results beyond the newest `kept`.
pub fn prune(directory: &Path, kept: usize) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let mut complete = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(PARTIAL) {
            remove(&entry.path());
        } else if let Ok(meta) = entry.metadata()
            && meta.is_dir()
        {
            let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            complete.push((used, entry.path()));
        }
    }
    complete.sort();
    let surplus = complete.len().saturating_sub(kept);
    complete[..surplus]
        .iter()
        .for_each(|(_, path)| remove(path));
}

/// A result disappears from its place before its files do, so that it is never half there.
fn remove(path: &Path) {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let doomed = path.with_file_name(format!("{PARTIAL}{}", name.trim_start_matches(PARTIAL)));
    if doomed == path || fs::rename(path, &doomed).is_ok() {
        // What cannot be removed now is tried again at the next pruning.
        let _ = fs::remove_dir_all(&doomed);
    }
}

fn touch(directory: &Path) {
    // The time only orders pruning.
    let _ = File::open(directory).and_then(|file| file.set_modified(SystemTime::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(root: &Path) -> (Cache, Progress) {
        let progress = Progress::on_stderr();
        (Cache::open(root, &progress).unwrap(), progress)
    }

    #[test]
    fn a_result_is_made_once_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let (cache, progress) = cache(root.path());
        let inputs = Inputs::new("one");
        let make = |dir: &Path| Ok(fs::write(dir.join("out"), "made")?);
        let entry = cache.stage(&progress, "one", &inputs, make).unwrap();
        assert_eq!(fs::read(entry.path("out")).unwrap(), b"made");
        cache
            .stage(&progress, "one", &inputs, |_| unreachable!("it is cached"))
            .unwrap();
    }

    #[test]
    fn a_failed_or_killed_stage_leaves_no_result() {
        let root = tempfile::tempdir().unwrap();
        let (cache, progress) = cache(root.path());
        let inputs = Inputs::new("one");
        let fail = |dir: &Path| {
            fs::write(dir.join("half"), "")?;
            anyhow::bail!("power cut")
        };
        assert!(cache.stage(&progress, "one", &inputs, fail).is_err());
        let entry = cache.stage(&progress, "one", &inputs, |_| Ok(())).unwrap();
        assert!(!entry.path("half").exists());
    }

    #[test]
    fn old_results_are_pruned() {
        let root = tempfile::tempdir().unwrap();
        let (cache, progress) = cache(root.path());
        for number in 0..10_u32 {
            let inputs = Inputs::new("one").with(number.to_le_bytes());
            cache.stage(&progress, "one", &inputs, |_| Ok(())).unwrap();
        }
        assert_eq!(fs::read_dir(root.path().join("one")).unwrap().count(), KEPT);
    }
}

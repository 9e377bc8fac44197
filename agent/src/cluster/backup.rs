//! Copies of the whole store, and members made anew from one.
//!
//! A copy ends in the digest that etcd puts there; it is checked when it is made and when it is
//! used. Restoring makes a new cluster with the old content: all members from the same copy.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::environment::{DATA, member_name, peer_url};
use super::identity::{Identity, etcd_user};
use super::settings::Settings;
use super::store::Store;
use crate::root::Root;

const DIGEST: usize = 32;
/// etcd's file consists of pages; with the digest that many bytes are over.
const PAGE: u64 = 512;
const FORMED: &str = "/var/lib/etcd/strake.formed";
const FRESH: &str = "/var/lib/etcd/strake.restoring";
const BEFORE: &str = "/var/lib/etcd/strake.before-restore";

/// Returns its length in bytes. The file appears whole or not at all.
pub async fn backup(settings: &Settings, identity: &Identity, to: &Path) -> Result<u64> {
    let name = to.file_name().context("the backup needs a file name")?;
    let mut partial = name.to_os_string();
    partial.push(".partial");
    let partial = to.with_file_name(partial);
    let taken = take(settings, identity, &partial).await;
    if let Err(error) = taken {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    let length = check(&partial)?.length;
    fs::rename(&partial, to).with_context(|| format!("putting {} in place", to.display()))?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = File::open(dir.unwrap_or(Path::new(".")));
    dir.and_then(|dir| dir.sync_all())
        .context("syncing the directory")?;
    Ok(length)
}

async fn take(settings: &Settings, identity: &Identity, to: &Path) -> Result<()> {
    let mut file = File::create(to).with_context(|| format!("making {}", to.display()))?;
    // The whole store may be long on its way.
    let mut store = Store::connect(&settings.seeds, &settings.ca, identity, None).await?;
    store.snapshot(|part| file.write_all(part)).await?;
    file.sync_all().context("syncing the backup")
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub length: u64,
    /// Hexadecimal.
    pub digest: String,
}

/// Whether a copy is whole.
pub fn check(path: &Path) -> Result<Copy> {
    let told = || path.display().to_string();
    let mut file = File::open(path).with_context(|| format!("opening {}", told()))?;
    let length = file.metadata().with_context(told)?.len();
    ensure!(
        length > DIGEST as u64 && length % PAGE == DIGEST as u64,
        "{} is no whole backup: its length is {length}",
        told()
    );
    let mut hash = Sha256::new();
    let body = length - DIGEST as u64;
    io::copy(
        &mut Read::by_ref(&mut file).take(body),
        &mut HashWriter(&mut hash),
    )
    .with_context(told)?;
    let mut trailer = [0; DIGEST];
    file.read_exact(&mut trailer).with_context(told)?;
    let found: [u8; DIGEST] = hash.finalize().into();
    ensure!(
        found == trailer,
        "{} is damaged: its digest is wrong",
        told()
    );
    let digest = trailer.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Copy { length, digest })
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes this member's data from a copy; etcd must not run. What was there is kept beside it.
pub async fn restore(
    root: &Root,
    settings: &Settings,
    own: IpAddr,
    from: &Path,
    tool: &[&str],
) -> Result<()> {
    let copy = check(from)?;
    let path = |path: &str| {
        root.follow(Path::new(path))
            .with_context(|| path.to_string())
    };
    let (data, fresh, before) = (path(DATA)?, path(FRESH)?, path(BEFORE)?);
    remove(&fresh)?;
    let members = settings.seeds.iter();
    let members = members.map(|seed| format!("{}={}", member_name(*seed), peer_url(*seed)));
    let (program, words) = tool.split_first().context("no program to restore with")?;
    let output = Command::new(program)
        .args(words)
        .args(["snapshot", "restore"])
        .arg(from)
        .arg("--data-dir")
        .arg(&fresh)
        .args(["--name", &member_name(own)])
        .args(["--initial-advertise-peer-urls", &peer_url(own)])
        .args(["--initial-cluster", &members.collect::<Vec<_>>().join(",")])
        // All members made from one copy are one cluster, and no other.
        .args([
            "--initial-cluster-token",
            &format!("{}-{}", settings.name, &copy.digest[..16]),
        ])
        .output()
        .await
        .with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let (uid, gid) = etcd_user(root);
    hand_over(&fresh, uid, gid)?;
    remove(&before)?;
    if data.exists() {
        fs::rename(&data, &before).context("setting the data aside")?;
    }
    // The new cluster has had no leader yet.
    remove(&path(FORMED)?)?;
    fs::rename(&fresh, &data).context("putting the restored data in place")
}

fn remove(path: &PathBuf) -> Result<()> {
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn hand_over(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let told = || format!("handing {} to etcd", path.display());
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).with_context(told)?;
    if !path.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(told)? {
        hand_over(&entry.with_context(told)?.path(), uid, gid)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_cut_or_changed_is_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("copy");
        let mut whole = vec![7; 4096];
        let digest: [u8; DIGEST] = Sha256::digest(&whole).into();
        whole.extend(digest);
        let put = |bytes: &[u8]| fs::write(&path, bytes).expect("file");
        put(&whole);
        assert_eq!(check(&path).expect("whole").length, 4096 + 32);
        for at in [0, 4095, 4096, 4127] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            put(&changed);
            assert!(check(&path).is_err(), "byte {at}");
        }
        for length in [0, 31, 32, 4095, 4096, 4127] {
            put(&whole[..length]);
            assert!(check(&path).is_err(), "length {length}");
        }
    }
}

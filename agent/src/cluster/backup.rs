//! Copies of the whole store, and members made anew from one.
//!
//! A copy ends in the digest that etcd puts there; it is checked when it is made and when it is
//! used. Restoring makes a new cluster with the old content: all members from the same copy, or one
//! alone, which takes the others in when they come empty.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::environment::{DATA, member_name, peer_url};
use super::identity::{Identity, etcd_user, own_file};
use super::member::{FORMED, RESTORED};
use super::settings::Settings;
use super::store::Store;
use crate::apply::write::write_one;
use crate::root::Root;

const DIGEST: usize = 32;
/// etcd's file consists of pages; with the digest that many bytes are over.
const PAGE: u64 = 512;
/// bbolt's file, which etcd holds locked.
const FILE: &str = "/var/lib/etcd/strake/member/snap/db";
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

/// Who begins the new cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Founders {
    /// All seeds, each from the same copy.
    All,
    /// This member; the others come in empty.
    Alone,
}

/// Makes this member's data from a copy; etcd must not run. What was there is kept beside it.
pub async fn restore(
    root: &Root,
    settings: &Settings,
    own: IpAddr,
    (from, founders): (&Path, Founders),
    tool: &[&str],
) -> Result<()> {
    let copy = check(from)?;
    not_in_use(root)?;
    let fresh = locate(root, FRESH)?;
    remove(&fresh)?;
    let members = match founders {
        Founders::All => settings.seeds.clone(),
        Founders::Alone => vec![own],
    };
    let made = make(&fresh, from, &copy, (own, &members), settings, tool).await;
    if let Err(error) = made {
        // The first error is the one to report.
        let _ = remove(&fresh);
        return Err(error);
    }
    let (uid, gid) = etcd_user(root);
    hand_over(&fresh, uid, gid)?;
    set_aside(root)?;
    if founders == Founders::Alone {
        // Empty members are to be taken in by this one and must not found a cluster of their own.
        let node = own_file(RESTORED, 0o644);
        write_one(root, FORMED, node).context("writing down that the cluster is")?;
    }
    fs::rename(&fresh, locate(root, DATA)?).context("putting the restored data in place")
}

async fn make(
    fresh: &Path,
    from: &Path,
    copy: &Copy,
    (own, members): (IpAddr, &[IpAddr]),
    settings: &Settings,
    tool: &[&str],
) -> Result<()> {
    let members = members.iter();
    let members = members.map(|seed| format!("{}={}", member_name(*seed), peer_url(*seed)));
    let (program, words) = tool.split_first().context("no program to restore with")?;
    let output = Command::new(program)
        .args(words)
        .args(["snapshot", "restore"])
        .arg(from)
        .arg("--data-dir")
        .arg(fresh)
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
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        bail!("{} cannot be restored: {program}: {last}", from.display());
    }
    Ok(())
}

/// Sets this member's data aside, so that it comes back empty. Nothing: there was none.
pub fn discard(root: &Root) -> Result<Option<PathBuf>> {
    not_in_use(root)?;
    match locate(root, DATA)?.exists() {
        true => set_aside(root).map(Some),
        false => Ok(None),
    }
}

/// The new cluster has had no leader yet.
fn set_aside(root: &Root) -> Result<PathBuf> {
    let (data, before) = (locate(root, DATA)?, locate(root, BEFORE)?);
    if data.exists() {
        remove(&before)?;
        fs::rename(&data, &before).context("setting the data aside")?;
    }
    remove(&locate(root, FORMED)?)?;
    Ok(before)
}

fn not_in_use(root: &Root) -> Result<()> {
    let path = locate(root, FILE)?;
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => bail!("etcd runs on this data; nothing was changed"),
        Err(TryLockError::Error(error)) => Err(error).context("asking whether etcd runs"),
    }
}

fn locate(root: &Root, path: &str) -> Result<PathBuf> {
    let found = root.follow(Path::new(path));
    found.with_context(|| path.to_string())
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

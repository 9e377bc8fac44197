//! Turns the calling process into one that runs inside the tools tree.
//!
//! Own mount namespace (and user namespace when not root), the host's directories with data bound
//! at the same paths, then chroot. Nothing outlives the process; the network stays the host's.
//! Must be called while the process has one thread.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, chroot};

/// Directories of the host that the tools tree has itself.
const OWN: [&str; 10] = [
    "bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr", "var",
];

pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

pub fn enter(tree: &Path, visible: &[&Path]) -> Result<()> {
    let current = std::env::current_dir().context("reading the current directory")?;
    let bound = bound_directories(visible, &current)?;
    isolate()?;
    for path in bound {
        let target = tree.join(path.strip_prefix("/").unwrap_or(&path));
        fs::create_dir_all(&target).with_context(|| format!("making {}", target.display()))?;
        bind(&path, &target)?;
    }
    for file in ["/etc/resolv.conf", "/etc/hosts"] {
        if let Ok(source) = fs::canonicalize(file) {
            let target = tree.join(&file[1..]);
            if !target.is_file() {
                File::create(&target).with_context(|| format!("making {}", target.display()))?;
            }
            bind(&source, &target)?;
        }
    }
    chroot(tree).with_context(|| format!("entering {}", tree.display()))?;
    std::env::set_current_dir(&current)
        .with_context(|| format!("entering {} in the tools tree", current.display()))
}

fn bound_directories(visible: &[&Path], current: &Path) -> Result<Vec<PathBuf>> {
    let mut bound = Vec::new();
    for entry in fs::read_dir("/").context("listing /")? {
        let entry = entry.context("listing /")?;
        let own = OWN.iter().any(|name| entry.file_name() == *name);
        // A symlink is followed by whoever uses it, inside the tree as well.
        if !own && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            bound.push(entry.path());
        }
    }
    let wanted = visible
        .iter()
        .copied()
        .chain([current, Path::new("/var/tmp")]);
    for path in wanted {
        if path != Path::new("/") && !bound.iter().any(|parent| path.starts_with(parent)) {
            bound.push(path.to_owned());
        }
    }
    Ok(bound)
}

fn isolate() -> Result<()> {
    let (user, group) = (Uid::effective(), Gid::effective());
    if user.is_root() {
        unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
            .context("making a user namespace (is kernel.unprivileged_userns_clone off?)")?;
        let write = |name: &str, text: String| {
            fs::write(format!("/proc/self/{name}"), text)
                .with_context(|| format!("writing {name} of the user namespace"))
        };
        write("setgroups", "deny".into())?;
        write("uid_map", format!("0 {user} 1"))?;
        write("gid_map", format!("0 {group} 1"))?;
    }
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("making the mounts private")
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    let none: Option<&str> = None;
    mount(
        Some(source),
        target,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )
    .with_context(|| format!("showing {} in the tools tree", source.display()))
}

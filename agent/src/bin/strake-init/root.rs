//! The root: a tmpfs with /usr of the slot, entered in place of the initrd, whose files are then
//! deleted to give their memory back.

use std::fs::{DirBuilder, Permissions, set_permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};

use anyhow::{Context, Result};
use nix::dir::{Dir, Type};
use nix::fcntl::{AtFlags, OFlag};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, chdir, chroot, unlinkat};

use crate::mounts::Mount;

const ROOT: &str = "/sysroot";
const MOVED: [&str; 4] = ["dev", "proc", "sys", "run"];
const DIRECTORIES: [(&str, u32); 9] = [
    ("usr", 0o755),
    ("etc", 0o755),
    ("oem", 0o755),
    ("state", 0o755),
    ("var", 0o755),
    ("media", 0o755),
    ("boot", 0o755),
    ("efi", 0o755),
    ("config", 0o700),
];
const LINKS: [(&str, &str); 9] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("home", "var/home"),
    ("root", "var/roothome"),
    ("opt", "var/opt"),
    ("srv", "var/srv"),
    ("mnt", "var/mnt"),
];

pub(crate) fn build_and_enter(usr: &str) -> Result<()> {
    let (flags, options) = (MsFlags::MS_NODEV, "mode=0755,size=10%");
    Mount {
        kind: "tmpfs",
        source: "tmpfs",
        target: ROOT,
        flags,
        options,
    }
    .mount()?;
    chdir(ROOT).with_context(|| format!("entering {ROOT}"))?;
    for (name, mode) in DIRECTORIES {
        let made = DirBuilder::new().mode(mode).create(name);
        made.with_context(|| format!("making /{name}"))?;
    }
    let made = DirBuilder::new().create("tmp");
    made.and_then(|()| set_permissions("tmp", Permissions::from_mode(0o1777)))
        .context("making /tmp")?;
    for (name, target) in LINKS {
        symlink(target, name).with_context(|| format!("linking /{name}"))?;
    }
    let (target, flags) = ("usr", MsFlags::MS_RDONLY | MsFlags::MS_NODEV);
    Mount {
        kind: "erofs",
        source: usr,
        target,
        flags,
        options: "",
    }
    .mount()?;
    enter()
}

/// Leaves the initrd for the current directory. The initrd is the kernel's first root, which can
/// be covered but not unmounted, so its files are deleted through a handle kept from before.
fn enter() -> Result<()> {
    let open = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let initrd = Dir::open("/", open, Mode::empty()).context("opening the initrd")?;
    let move_mount = |from: &str, to: &str| {
        mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .with_context(|| format!("moving the mount {from}"))
    };
    for name in MOVED {
        let made = DirBuilder::new().mode(0o755).create(name);
        made.with_context(|| format!("making /{name}"))?;
        move_mount(&format!("/{name}"), name)?;
    }
    move_mount(".", "/")?;
    chroot(".")
        .and_then(|()| chdir("/"))
        .context("entering the new root")?;
    let device = fstatat(&initrd, ".", AtFlags::empty())
        .context("examining the initrd")?
        .st_dev;
    delete_content(initrd, device).context("deleting the initrd")
}

/// Never leaves the file system `device`: what is mounted below stays as it is.
fn delete_content(mut directory: Dir, device: u64) -> nix::Result<()> {
    let entries = directory.iter().collect::<nix::Result<Vec<_>>>()?;
    for entry in entries {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if stat.st_dev != device {
            continue;
        }
        if entry.file_type() == Some(Type::Directory) {
            let open = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            delete_content(Dir::openat(&directory, name, open, Mode::empty())?, device)?;
            unlinkat(&directory, name, UnlinkatFlags::RemoveDir)?;
        } else {
            unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir)?;
        }
    }
    Ok(())
}

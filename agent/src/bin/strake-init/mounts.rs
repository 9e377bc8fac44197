//! What is mounted where, with which flags.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::slot::Found;
use crate::timeline::Timeline;

/// Flags of a file system that holds data and no programs.
const DATA_ONLY: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

pub(crate) struct Mount<'a> {
    pub(crate) kind: &'a str,
    pub(crate) source: &'a str,
    pub(crate) target: &'a str,
    pub(crate) flags: MsFlags,
    pub(crate) options: &'a str,
}

impl Mount<'_> {
    pub(crate) fn mount(&self) -> Result<()> {
        let Mount {
            kind,
            source,
            target,
            flags,
            options,
        } = *self;
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(target)
            .with_context(|| format!("making the directory {target}"))?;
        let result = mount(Some(source), target, Some(kind), flags, Some(options));
        let result = result.map_err(|error| match error {
            Errno::ENODEV => anyhow::anyhow!("the kernel has no {kind} (module not loaded)"),
            Errno::EINVAL => anyhow::anyhow!("there is no valid {kind} (EINVAL)"),
            error => error.into(),
        });
        result.with_context(|| format!("mounting {kind} from {source} on {target}"))
    }
}

/// The flags are those systemd gives these mounts; it keeps the ones it finds.
pub(crate) fn kernel_filesystems() -> Result<()> {
    let table = [
        ("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755"),
        ("proc", "/proc", DATA_ONLY, ""),
        ("sysfs", "/sys", DATA_ONLY, ""),
        (
            "tmpfs",
            "/run",
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            "mode=0755,size=20%",
        ),
    ];
    for (kind, target, flags, options) in table {
        match (Mount {
            kind,
            source: kind,
            target,
            flags,
            options,
        })
        .mount()
        {
            Err(error) if error.downcast_ref() == Some(&Errno::EBUSY) => {}
            result => result?,
        }
    }
    // The kernel found no /dev/console before devtmpfs was there; children inherit this one.
    let console = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console");
    let console = console.or_else(|_| {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
    });
    let console = console.context("opening /dev/console")?;
    nix::unistd::dup2_stdin(&console)
        .and_then(|()| nix::unistd::dup2_stdout(&console))
        .and_then(|()| nix::unistd::dup2_stderr(&console))
        .context("taking the console as standard output")
}

/// OEM and STATE are needed: without STATE the machine would come up as somebody else. A CONFIG
/// that cannot be read leaves the machine with its last good configuration.
pub(crate) fn partitions(found: &Found, timeline: &mut Timeline) -> Result<()> {
    let oem = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mount = |partition: &crate::block::Partition, kind, target, flags, options| {
        Mount {
            kind,
            source: &partition.path(),
            target,
            flags,
            options,
        }
        .mount()
    };
    mount(&found.oem, "ext4", "/oem", oem, "")?;
    mount(
        &found.state,
        "ext4",
        "/state",
        DATA_ONLY | MsFlags::MS_NOATIME,
        "",
    )?;
    let Some(config) = &found.config else {
        timeline.warn("there is no partition labelled CONFIG");
        return Ok(());
    };
    if let Err(error) = mount(
        config,
        "vfat",
        "/config",
        DATA_ONLY | MsFlags::MS_RDONLY,
        "umask=0077",
    ) {
        timeline.warn(format_args!("CONFIG is not used: {error:#}"));
    }
    Ok(())
}

/// The default /etc of the release with an upper layer in memory: edits end with the boot.
pub(crate) fn etc() -> Result<()> {
    for directory in ["/run/strake/etc/upper", "/run/strake/etc/work"] {
        fs::create_dir_all(directory).with_context(|| format!("making {directory}"))?;
    }
    let options = "lowerdir=/usr/share/strake/etc,upperdir=/run/strake/etc/upper,\
                   workdir=/run/strake/etc/work";
    let flags = MsFlags::empty();
    Mount {
        kind: "overlay",
        source: "etc",
        target: "/etc",
        flags,
        options,
    }
    .mount()
}

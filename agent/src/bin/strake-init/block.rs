//! Partitions as the kernel knows them (sysfs), and the kernel's announcements of new ones
//! (netlink), so that waiting for a disk is a poll and not a sleep.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::timeline::Deadline;

const CLASS: &str = "/sys/class/block";
/// The multicast group in which the kernel itself speaks (udev uses the second).
const KERNEL_GROUP: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Name below /dev.
    pub(crate) device: String,
    /// Name below /dev of the disk it is on.
    pub(crate) disk: String,
    pub(crate) label: String,
    /// `major:minor`
    pub(crate) number: String,
    pub(crate) sectors: u64,
}

impl Partition {
    pub(crate) fn path(&self) -> String {
        format!("/dev/{}", self.device)
    }

    /// Pure: from the `uevent` file, the resolved path and the `size` file of a device in sysfs.
    /// None for what is not a labelled partition.
    fn parse(uevent: &str, path: &Path, size: &str) -> Option<Partition> {
        let value = |key: &str| {
            uevent
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        if value("DEVTYPE") != Some("partition") {
            return None;
        }
        let disk = path.parent()?.file_name()?.to_str()?;
        Some(Partition {
            device: value("DEVNAME")?.to_owned(),
            disk: disk.replace('!', "/"),
            label: value("PARTNAME")?.to_owned(),
            number: format!("{}:{}", value("MAJOR")?, value("MINOR")?),
            sectors: size.trim().parse().ok()?,
        })
    }
}

/// All labelled partitions, ordered by device name so that every boot chooses alike.
pub(crate) fn partitions() -> Result<Vec<Partition>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(CLASS).with_context(|| format!("reading {CLASS}"))? {
        let path = entry.with_context(|| format!("reading {CLASS}"))?.path();
        let read = || -> io::Result<_> {
            let uevent = fs::read_to_string(path.join("uevent"))?;
            let size = fs::read_to_string(path.join("size"))?;
            Ok(Partition::parse(&uevent, &fs::canonicalize(&path)?, &size))
        };
        // A device that vanishes while it is read is no partition.
        found.extend(read().ok().flatten());
    }
    found.sort_by(|a, b| a.device.cmp(&b.device));
    Ok(found)
}

/// Opening a disk waits for a scan of its partition table that is under way.
pub(crate) fn settle(disk: &str) -> Result<()> {
    File::open(format!("/dev/{disk}"))
        .map(drop)
        .with_context(|| format!("opening /dev/{disk}"))
}

#[derive(Debug)]
pub(crate) struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    pub(crate) fn open() -> Result<Uevents> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let opened = || {
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
            Ok::<_, Errno>(Uevents { socket })
        };
        opened().context("listening for the kernel's device events")
    }

    /// Waits for news of block devices; false when the deadline came first.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<bool> {
        let mut buffer = [0; 8192];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) if is_block_event(&buffer[..length]) => return Ok(true),
                Ok(_) => continue,
                // More events than the kernel could keep: whatever they said, look again.
                Err(Errno::ENOBUFS) => return Ok(true),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error).context("reading the kernel's device events"),
            }
            let left = deadline.left();
            if left.is_zero() {
                return Ok(false);
            }
            let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut sockets, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("waiting for block devices"),
            }
        }
    }
}

/// A message is `action@path` and then `KEY=VALUE` fields, each ended by a zero byte.
fn is_block_event(message: &[u8]) -> bool {
    message
        .split(|byte| *byte == 0)
        .skip(1)
        .any(|field| field == b"SUBSYSTEM=block")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UEVENT: &str = "MAJOR=254\nMINOR=3\nDEVNAME=vda3\nDEVTYPE=partition\nDISKSEQ=1\n\
                          PARTN=3\nPARTNAME=USR-A VERITY\n";

    #[test]
    fn a_partition_is_read_from_sysfs() {
        let path = Path::new("/sys/devices/pci0/virtio0/block/vda/vda3");
        let partition = Partition {
            device: "vda3".into(),
            disk: "vda".into(),
            label: "USR-A VERITY".into(),
            number: "254:3".into(),
            sectors: 65536,
        };
        assert_eq!(Partition::parse(UEVENT, path, "65536\n"), Some(partition));
        let nested = Path::new("/sys/devices/block/cciss!c0d0/cciss!c0d0p1");
        assert_eq!(
            Partition::parse(UEVENT, nested, "1").unwrap().disk,
            "cciss/c0d0"
        );
    }

    #[test]
    fn what_is_no_labelled_partition_is_passed_over() {
        let path = Path::new("/sys/devices/block/vda/vda3");
        for (uevent, size) in [
            (UEVENT.replace("=partition", "=disk"), "1"),
            (UEVENT.replace("PARTNAME", "PARTNAMES"), "1"),
            (UEVENT.replace("MAJOR=254", "MAJOR"), "1"),
            (UEVENT.to_owned(), "-1"),
            (UEVENT.to_owned(), ""),
            (String::new(), "1"),
        ] {
            assert_eq!(
                Partition::parse(&uevent, path, size),
                None,
                "{uevent}{size}"
            );
        }
        assert_eq!(Partition::parse(UEVENT, Path::new("/"), "1"), None);
    }

    #[test]
    fn only_events_of_block_devices_count() {
        let event = b"add@/devices/block/vda\0ACTION=add\0SUBSYSTEM=block\0SEQNUM=7\0";
        assert!(is_block_event(event));
        assert!(!is_block_event(b"add@/x\0SUBSYSTEM=blocks\0"));
        assert!(!is_block_event(b"SUBSYSTEM=block"));
        assert!(!is_block_event(b""));
    }
}

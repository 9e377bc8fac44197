//! Device nodes of modules that are loaded when somebody opens the node, such as `/dev/net/tun`.
//! The kernel's package lists them in `modules.devname`. They are root's alone until udev gives
//! each the owner and mode of its rules. None is needed for the boot: what fails is a warning.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::timeline::Timeline;

/// `/usr` must be mounted.
pub(crate) fn make(timeline: &mut Timeline) {
    if let Err(error) = make_listed(timeline) {
        timeline.warn(format_args!("device nodes: {error:#}"));
    }
}

fn make_listed(timeline: &mut Timeline) -> Result<()> {
    let system = nix::sys::utsname::uname().context("asking for the kernel's release")?;
    let list = Path::new("/usr/lib/modules")
        .join(system.release())
        .join("modules.devname");
    let list = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    for node in list.lines().filter_map(Node::parse) {
        if let Err(error) = node.make(Path::new("/dev")) {
            timeline.warn(format_args!(
                "device nodes: making {}: {error:#}",
                node.name
            ));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node<'a> {
    name: &'a str,
    kind: SFlag,
    major: u64,
    minor: u64,
}

impl<'a> Node<'a> {
    /// A line `MODULE NAME cMAJOR:MINOR`; the name may have a directory.
    fn parse(line: &'a str) -> Option<Node<'a>> {
        let line = line.split('#').next()?;
        let mut words = line.split_whitespace();
        let (name, number) = (words.nth(1)?, words.next()?);
        let (kind, number) = match number.split_at_checked(1)? {
            ("c", number) => (SFlag::S_IFCHR, number),
            ("b", number) => (SFlag::S_IFBLK, number),
            _ => return None,
        };
        let (major, minor) = number.split_once(':')?;
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return None;
        }
        let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
        Some(Node {
            name,
            kind,
            major,
            minor,
        })
    }

    fn make(&self, dev: &Path) -> Result<()> {
        let path = dev.join(self.name);
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(parent)?;
        }
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        match mknod(&path, self.kind, mode, makedev(self.major, self.minor)) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_nodes_or_nothing() {
        let node = |name, kind, major, minor| {
            Some(Node {
                name,
                kind,
                major,
                minor,
            })
        };
        for (line, expected) in [
            (
                "tun net/tun c10:200",
                node("net/tun", SFlag::S_IFCHR, 10, 200),
            ),
            ("loop loop0 b7:0", node("loop0", SFlag::S_IFBLK, 7, 0)),
            ("# Device nodes to trigger", None),
            ("", None),
            ("tun net/tun", None),
            ("tun net/tun p10:200", None),
            ("tun net/tun c10", None),
            ("tun net/tun c10:x", None),
            ("tun ../etc/x c10:200", None),
            ("tun /etc/x c10:200", None),
        ] {
            assert_eq!(Node::parse(line), expected, "{line:?}");
        }
    }
}

//! The config drive: a small disk with the label `config-2` (OpenStack's layout) or `cidata`
//! (NoCloud's). Found by reading superblocks, mounted read-only, read, and unmounted.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};

use strake_cloud_config::metadata;

use super::described::{Described, Document, Kind};
use super::remote::Answer;
use super::{LIMIT, Text, module, superblock};
use crate::root::Root;

/// What the drive held, for the rest of the boot. Readable by root only.
pub const KEPT: &str = "/run/strake/config/drive.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    OpenStack,
    NoCloud,
}

impl Layout {
    fn of_label(label: &str) -> Option<Layout> {
        match label.to_ascii_lowercase().as_str() {
            "config-2" => Some(Layout::OpenStack),
            "cidata" => Some(Layout::NoCloud),
            _ => None,
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Layout::OpenStack => "config-2",
            Layout::NoCloud => "cidata",
        }
    }

    pub fn user_data(self) -> &'static str {
        match self {
            Layout::OpenStack => "openstack/latest/user_data",
            Layout::NoCloud => "user-data",
        }
    }

    /// Documents of the metadata: where they are, and their names.
    fn documents(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Layout::OpenStack => &[
                ("openstack/latest/meta_data.json", "meta_data.json"),
                ("openstack/latest/network_data.json", "network_data.json"),
            ],
            Layout::NoCloud => &[
                ("meta-data", "meta-data"),
                ("network-config", "network-config"),
            ],
        }
    }

    fn kind(self) -> Kind {
        match self {
            Layout::OpenStack => Kind::OpenStack,
            Layout::NoCloud => Kind::NoCloud,
        }
    }
}

/// The drive's user-data, when it has any.
pub fn user_data(drive: &Answer) -> Option<Text> {
    let layout = Layout::of_label(&drive.remote)?;
    Some(Text {
        name: format!("{}:{}", drive.remote, layout.user_data()),
        bytes: drive.user_data.as_ref()?.0.clone(),
    })
}

// The image's own partitions are never a config drive and need not be opened.
const OWN_PARTITIONS: [&str; 9] = [
    "EFI-SYSTEM",
    "USR-A",
    "USR-A-VERITY",
    "USR-B",
    "USR-B-VERITY",
    "OEM",
    "CONFIG",
    "STATE",
    "DATA",
];

// Stacked devices; and opening a floppy drive waits for its motor.
const NEVER_A_DRIVE: [&str; 7] = ["loop", "ram", "zram", "dm-", "md", "nbd", "fd"];

/// The first config drive, OpenStack's before NoCloud's.
pub fn find(root: &Root) -> Result<Option<Answer>> {
    let mut found: Vec<_> = root
        .list("/sys/class/block")
        .into_iter()
        .filter_map(|name| candidate(root, name.to_str()?))
        .collect();
    found.sort_by_key(|(layout, _, _)| *layout != Layout::OpenStack);
    let Some((layout, kind, device)) = found.into_iter().next() else {
        return Ok(None);
    };
    read(root, layout, kind, &device)
        .with_context(|| format!("reading the config drive {}", device.display()))
        .map(Some)
}

fn candidate(root: &Root, name: &str) -> Option<(Layout, superblock::Kind, PathBuf)> {
    if NEVER_A_DRIVE.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let uevent = root
        .read_text(format!("/sys/class/block/{name}/uevent"))
        .unwrap_or_default();
    let partition = uevent
        .lines()
        .find_map(|line| line.strip_prefix("PARTNAME="));
    if partition.is_some_and(|label| OWN_PARTITIONS.contains(&label)) {
        return None;
    }
    let device = Path::new("/dev").join(name);
    let mut head = Vec::with_capacity(superblock::HEAD);
    let file = File::open(root.locate(&device).ok()?).ok()?;
    file.take(superblock::HEAD as u64)
        .read_to_end(&mut head)
        .ok()?;
    let (kind, label) = superblock::label(&head)?;
    Some((Layout::of_label(&label)?, kind, device))
}

fn read(root: &Root, layout: Layout, kind: superblock::Kind, device: &Path) -> Result<Answer> {
    let at = root.locate(&Path::new("/run/strake/media").join(layout.label()))?;
    std::fs::create_dir_all(&at).context("making the mount point")?;
    let device = root.locate(device)?;
    mount_read_only(&device, &at, kind.name()).context("mounting")?;
    let held = contents(layout, &at);
    umount(&at).context("unmounting")?;
    held.context("reading what it holds")
}

/// A drive that somebody else has mounted, in either layout.
pub fn mounted_at(at: &Path) -> io::Result<Answer> {
    let layout = match at.join("openstack").is_dir() {
        true => Layout::OpenStack,
        false => Layout::NoCloud,
    };
    if layout == Layout::NoCloud && !at.join("meta-data").exists() && !at.join("user-data").exists()
    {
        let text = "there is neither openstack nor meta-data in it";
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    contents(layout, at)
}

fn contents(layout: Layout, at: &Path) -> io::Result<Answer> {
    let mut described = Described::new(layout.kind());
    for (path, name) in layout.documents() {
        described.add(name, optional(&at.join(path))?);
    }
    // OpenStack's older way: Debian's text in a file that its document names.
    let document = described.documents.get("meta_data.json");
    let named = document.and_then(|document| metadata::openstack(&document.0).ok());
    if let Some(path) = named.and_then(|found| found.network_path) {
        described.add("network", optional(&at.join("openstack").join(path))?);
    }
    Ok(Answer {
        remote: layout.label().to_string(),
        user_data: optional(&at.join(layout.user_data()))?.map(Document),
        metadata: Some(described),
    })
}

pub(super) fn mount_read_only(device: &Path, at: &Path, kind: &str) -> Result<()> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let attempt = || mount(Some(device), at, Some(kind), flags, None::<&str>);
    match attempt() {
        // The kernel's own request for the module finds no modprobe before PID 1 runs.
        Err(Errno::ENODEV) => {
            let module = if kind == "iso9660" { "isofs" } else { kind };
            module::load(module)?;
            attempt().map_err(Into::into)
        }
        done => done.map_err(Into::into),
    }
}

pub(super) fn optional(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these block devices: name, partition label, first bytes.
    fn machine(devices: &[(&str, &str, Vec<u8>)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir(dir.path().join("dev")).expect("dev");
        for (name, label, head) in devices {
            let sysfs = dir.path().join("sys/class/block").join(name);
            std::fs::create_dir_all(&sysfs).expect("sysfs");
            let uevent = format!("DEVNAME={name}\nPARTNAME={label}\n");
            std::fs::write(sysfs.join("uevent"), uevent).expect("uevent");
            std::fs::write(dir.path().join("dev").join(name), head).expect("device");
        }
        let root = Root::new(dir.path());
        (dir, root)
    }

    fn vfat(label: &str) -> Vec<u8> {
        let mut head = vec![0; 4096];
        head[510..512].copy_from_slice(b"\x55\xaa");
        head[71..90].copy_from_slice(format!("{label:11}FAT32   ").as_bytes());
        head
    }

    #[test]
    fn a_drive_is_known_by_its_label() {
        let (_dir, root) = machine(&[
            ("vda", "", vfat("other")),
            ("vda7", "CONFIG", vfat("config-2")),
            ("vdb", "", vfat("CIDATA")),
            ("vdc", "", vfat("config-2")),
            ("loop0", "", vfat("config-2")),
            ("sr0", "", Vec::new()),
        ]);
        let layout = |name| candidate(&root, name).map(|(layout, _, _)| layout);
        assert_eq!(layout("vdb"), Some(Layout::NoCloud));
        assert_eq!(layout("vdc"), Some(Layout::OpenStack));
        for name in ["vda", "vda7", "loop0", "sr0", "gone"] {
            assert_eq!(layout(name), None, "{name}");
        }
    }

    #[test]
    fn metadata_and_network_of_both_layouts_are_read() {
        let dir = tempfile::tempdir().expect("temp dir");
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("dir");
            std::fs::write(path, text).expect("file");
        };
        let document = r#"{"hostname": "n1", "network_config": {"content_path": "/content/7"}}"#;
        put("openstack/latest/meta_data.json", document);
        put("openstack/content/7", "iface eth7 inet dhcp\n");
        put("user-data", "#cloud-config\n");
        put("meta-data", "local-hostname: n2\n");
        put(
            "network-config",
            "version: 2\nethernets: {eth2: {dhcp4: true}}\n",
        );
        let cases = [
            (Layout::OpenStack, "n1", "10-eth7.network", None),
            (
                Layout::NoCloud,
                "n2",
                "10-eth2.network",
                Some("cidata:user-data"),
            ),
        ];
        for (layout, hostname, network, name) in cases {
            let answer = contents(layout, dir.path()).expect("readable");
            let described = answer.metadata.as_ref().expect("always there");
            let (metadata, problems) = described.read();
            assert_eq!(problems, Vec::<String>::new());
            assert_eq!(metadata.hostname.as_deref(), Some(hostname));
            assert_eq!(metadata.network[0].name, network);
            let user_data = user_data(&answer).map(|text| text.name);
            assert_eq!(user_data.as_deref(), name);
        }
    }

    #[test]
    fn a_machine_without_one_has_none() {
        let (_dir, root) = machine(&[("vda", "", vfat("DATA"))]);
        assert_eq!(find(&root).expect("readable"), None);
    }
}

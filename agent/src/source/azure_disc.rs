//! Azure's provisioning disc: a DVD with `ovf-env.xml`, in the drive until the machine is
//! provisioned. What it said is kept in STATE for the boots after that.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use strake_cloud_config::metadata;

use super::Text;
use super::described::{Described, Document, Kind};
use super::drive;
use crate::apply::tree::Node;
use crate::root::Root;

pub const KEPT: &str = "/state/config/azure-disc.json";
pub const DOCUMENT: &str = "ovf-env.xml";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disc {
    /// SMBIOS' UUID of the machine it was given to.
    machine: String,
    document: Document,
}

impl Disc {
    /// What it said on an earlier boot, else what is in the drive.
    pub fn read(root: &Root, machine: &str) -> Result<Option<Disc>> {
        let kept = root.read_text(KEPT).unwrap_or_default();
        let kept: Option<Disc> = serde_json::from_str(&kept).ok();
        if let Some(disc) = kept.filter(|disc| disc.machine == machine) {
            return Ok(Some(disc));
        }
        for device in drives(root) {
            if let Some(document) = document(root, &device)? {
                return Ok(Some(Disc {
                    machine: machine.to_string(),
                    document: Document(document),
                }));
            }
        }
        Ok(None)
    }

    pub fn user_data(&self) -> Option<Text> {
        let found = metadata::azure_disc(&self.document.0).ok()?;
        Some(Text {
            name: format!("azure-disc:{DOCUMENT}"),
            bytes: found.custom_data?,
        })
    }

    pub fn described(&self) -> Described {
        let mut described = Described::new(Kind::Azure);
        described.add(DOCUMENT, Some(self.document.0.clone()));
        described
    }

    pub fn node(&self) -> serde_json::Result<Node> {
        Ok(Node::File {
            content: serde_json::to_vec(self)?,
            mode: 0o600,
            uid: 0,
            gid: 0,
        })
    }
}

/// DVD drives with something in them.
fn drives(root: &Root) -> Vec<PathBuf> {
    let names = root.list("/sys/class/block").into_iter();
    let holds = |name: &str| {
        let size = root.read_text(format!("/sys/class/block/{name}/size"));
        size.is_ok_and(|size| size.trim() != "0")
    };
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("sr") && holds(name))
        .map(|name| Path::new("/dev").join(name))
        .collect()
}

/// The document, when this is the disc; other discs are passed over.
fn document(root: &Root, device: &Path) -> Result<Option<Vec<u8>>> {
    let at = root.locate(Path::new("/run/strake/media/azure"))?;
    std::fs::create_dir_all(&at).context("making the mount point")?;
    let device = root.locate(device)?;
    let kinds = ["udf", "iso9660"];
    let mounted = kinds
        .into_iter()
        .any(|kind| drive::mount_read_only(&device, &at, kind).is_ok());
    if !mounted {
        return Ok(None);
    }
    let held = drive::optional(&at.join(DOCUMENT));
    nix::mount::umount(&at).context("unmounting the provisioning disc")?;
    held.context("reading the provisioning disc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drives_with_a_disc_are_looked_at() {
        let dir = tempfile::tempdir().expect("temp dir");
        for (name, size) in [("sr0", "0\n"), ("sr1", "1234\n"), ("sda", "99\n")] {
            let sysfs = dir.path().join("sys/class/block").join(name);
            std::fs::create_dir_all(&sysfs).expect("sysfs");
            std::fs::write(sysfs.join("size"), size).expect("size");
        }
        let found = drives(&Root::new(dir.path()));
        assert_eq!(found, [PathBuf::from("/dev/sr1")]);
    }
}

//! `release.json`: what the image builder says of a release it made.

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// A release and every file that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Always `strake`; another system's file is refused by whoever reads it.
    pub name: String,
    pub version: Version,
    /// As systemd writes it, for example `x86-64`.
    pub architecture: String,
    /// Root hash of the slot's dm-verity tree, 64 lower-case hexadecimal digits.
    pub root_hash: String,
    /// Salt of the tree, hexadecimal. The same in every release, so that equal blocks hash equal.
    pub salt: String,
    /// UUID in the tree's superblock.
    pub verity_uuid: String,
    /// Kernel release, for example `6.12.117+deb13-cloud-amd64`.
    pub kernel: String,
    /// Size of the slot's file system in bytes.
    pub usr_size: u64,
    /// The same in blocks of 4096 bytes: what the tree covers.
    pub data_blocks: u64,
    /// The files beside `release.json`, by name.
    pub artifacts: Vec<Artifact>,
}

/// One file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content, 64 lower-case hexadecimal digits.
    pub sha256: String,
    pub kind: ArtifactKind,
}

/// What a file of a release is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactKind {
    /// Whole disk, sparse.
    DiskRaw,
    /// Whole disk for QEMU.
    DiskQcow2,
    /// Whole disk for download.
    #[serde(alias = "disk-zst")]
    DiskZstd,
    /// Content of the slot.
    Usr,
    /// Its hash tree, with the superblock.
    #[serde(alias = "usr-verity")]
    Verity,
    /// Kernel, initrd and command line in one EFI program.
    Uki,
    /// Every package with version and digest.
    Packages,
    /// SPDX bill of materials.
    Sbom,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let release = Release {
            name: "strake".into(),
            version: "1.0.0".parse().unwrap(),
            architecture: "x86-64".into(),
            root_hash: "0".repeat(64),
            salt: "1".repeat(64),
            verity_uuid: "c0ffee00-0000-4000-8000-000000000000".into(),
            kernel: "6.12.0".into(),
            usr_size: 4096,
            data_blocks: 1,
            artifacts: vec![Artifact {
                name: "usr.erofs".into(),
                size: 4096,
                sha256: "2".repeat(64),
                kind: ArtifactKind::Usr,
            }],
        };
        let text = serde_json::to_string(&release).unwrap();
        assert!(text.contains(r#""kind":"usr""#), "{text}");
        assert_eq!(serde_json::from_str::<Release>(&text).unwrap(), release);
    }

    #[test]
    fn the_tree_is_known_under_both_of_its_names() {
        for name in [r#""verity""#, r#""usr-verity""#] {
            assert_eq!(
                serde_json::from_str::<ArtifactKind>(name).unwrap(),
                ArtifactKind::Verity
            );
        }
    }
}

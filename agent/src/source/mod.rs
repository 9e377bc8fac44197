//! Where a machine's cloud-config comes from: the CONFIG partition, else a config drive; and
//! below it the vendor's file on the OEM partition.

pub mod drive;
pub mod module;
pub mod superblock;

use std::fs::File;
use std::io::{self, Read};

use crate::root::Root;
use drive::Drive;

/// More than this is read of no source; the library refuses what is longer than its own limit.
pub const LIMIT: usize = 17 << 20;

const USER_FILES: [&str; 2] = ["/config/user_data", "/config/user-data"];
pub const OEM_FILE: &str = "/oem/cloud-config.yml";

/// A text with the name it is reported under.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Text {
    // User-data may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.bytes.len())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    pub oem: Option<Text>,
    pub metadata: Option<Text>,
    pub user: Option<Text>,
    /// Sources that could not be read; what was read is used all the same.
    pub warnings: Vec<String>,
}

pub fn gather(root: &Root) -> Sources {
    let mut sources = Sources::default();
    sources.oem = sources.read(root, OEM_FILE);
    sources.user = USER_FILES.iter().find_map(|path| sources.read(root, path));
    match drive::find(root) {
        Ok(Some(drive)) => sources.add(drive),
        Ok(None) => {}
        Err(error) => sources.warnings.push(format!("{error:#}")),
    }
    sources
}

impl Sources {
    fn add(&mut self, drive: Drive) {
        let label = drive.layout.label();
        let text = |path: &str, bytes| Text {
            name: format!("{label}:{path}"),
            bytes,
        };
        let user = drive
            .user_data
            .map(|bytes| text(drive.layout.user_data(), bytes));
        self.user = self.user.take().or(user);
        self.metadata = drive
            .metadata
            .map(|bytes| text(drive.layout.metadata(), bytes));
    }

    fn read(&mut self, root: &Root, path: &str) -> Option<Text> {
        match read_limited(root, path) {
            Ok(bytes) => Some(Text {
                name: path.to_string(),
                bytes,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.warnings.push(format!("{path}: {error}"));
                None
            }
        }
    }
}

pub fn read_limited(root: &Root, path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(root.follow(path.as_ref())?)?
        .take(LIMIT as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

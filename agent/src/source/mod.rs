//! Where a machine's cloud-config comes from, the first that has one: a URL on the kernel's
//! command line, the CONFIG partition, a config drive, the cloud; and below it the vendor's file
//! on the OEM partition. Metadata comes from the config drive, else from the cloud.
//!
//! Nothing here asks the network: what its sources said last is taken until [`remote`] asks again.

pub mod azure_disc;
pub mod described;
pub mod drive;
pub mod module;
pub mod remote;
pub mod superblock;

use std::fs::File;
use std::io::{self, Read};

use crate::root::Root;
use azure_disc::Disc;
use described::{Described, Kind};
use remote::cache::{self, Cache};
use remote::facts::Facts;
use remote::{Answer, Place, Remote, platform};

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

/// What the machine has without asking the network.
#[derive(Debug, Default)]
pub struct Local {
    oem: Option<Text>,
    config: Option<Text>,
    drive: Option<Answer>,
    disc: Option<Disc>,
    remotes: Vec<Remote>,
    cache: Cache,
    warnings: Vec<String>,
}

/// What a configuration is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    pub oem: Option<Text>,
    pub metadata: Option<Described>,
    pub user: Option<Text>,
    /// The config drive, for the rest of this boot.
    pub drive: Option<Answer>,
    /// Azure's provisioning disc, to be kept for the next boots.
    pub disc: Option<Disc>,
    /// Sources to ask once the network is up.
    pub remotes: Vec<Remote>,
    /// Sources that could not be read; what was read is used all the same.
    pub warnings: Vec<String>,
}

pub fn gather(root: &Root) -> Sources {
    Local::read(root).sources()
}

impl Local {
    pub fn read(root: &Root) -> Local {
        let mut local = Local::default();
        local.oem = local.file(root, OEM_FILE);
        local.config = USER_FILES.iter().find_map(|path| local.file(root, path));
        match kept_drive(root).map_or_else(|| drive::find(root), |drive| Ok(Some(drive))) {
            Ok(drive) => local.drive = drive,
            Err(error) => local.warnings.push(format!("{error:#}")),
        }
        let facts = Facts::read(root);
        let found = platform::find(&facts);
        local.warnings.extend(found.problems);
        local.remotes = found.remotes;
        let is_azure = |remote: &Remote| matches!(remote.place, Place::Service(Kind::Azure));
        if local.remotes.iter().any(is_azure) {
            match Disc::read(root, &facts.product_uuid) {
                Ok(disc) => local.disc = disc,
                Err(error) => local.warnings.push(format!("{error:#}")),
            }
        }
        if local.drive.is_some() {
            // The drive is the same cloud's, and holds the same.
            local
                .remotes
                .retain(|remote| matches!(remote.place, Place::File { .. }));
        }
        match Cache::read(root, &facts.product_uuid, &local.remotes) {
            Ok(cache) => local.cache = cache,
            Err(error) => local.warnings.push(format!("{}: {error}", cache::CACHE)),
        }
        local
    }

    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }

    /// The answers as they will be kept for the next boot.
    pub fn cache(&mut self) -> &mut Cache {
        &mut self.cache
    }

    /// With the answers that there are by now.
    pub fn sources(&self) -> Sources {
        let mut sources = Sources {
            oem: self.oem.clone(),
            drive: self.drive.clone(),
            disc: self.disc.clone(),
            remotes: self.remotes.clone(),
            warnings: self.warnings.clone(),
            ..Sources::default()
        };
        let (files, services): (Vec<&Remote>, Vec<&Remote>) = self
            .remotes
            .iter()
            .partition(|remote| matches!(remote.place, Place::File { .. }));
        let user_data = |remote: &Remote| remote.user_data(self.cache.answer(remote)?);
        sources.user = files
            .into_iter()
            .find_map(user_data)
            .or_else(|| self.config.clone())
            .or_else(|| self.drive.as_ref().and_then(drive::user_data))
            .or_else(|| services.iter().copied().find_map(user_data))
            .or_else(|| self.disc.as_ref().and_then(Disc::user_data));
        let answers = services
            .into_iter()
            .filter_map(|remote| self.cache.answer(remote));
        let metadata = self.drive.iter().chain(answers);
        sources.metadata = metadata
            .filter_map(|answer| answer.metadata.clone())
            .next()
            .or_else(|| self.disc.as_ref().map(Disc::described));
        if let Some(described) = &sources.metadata {
            let problems = described.read().1.into_iter();
            let name = described.kind.word();
            sources
                .warnings
                .extend(problems.map(|problem| format!("{name} metadata: {problem}")));
        }
        sources
    }

    fn file(&mut self, root: &Root, path: &str) -> Option<Text> {
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

/// As it was read earlier on this boot: a running machine's disks are left alone.
fn kept_drive(root: &Root) -> Option<Answer> {
    serde_json::from_str(&root.read_text(drive::KEPT).ok()?).ok()
}

pub fn read_limited(root: &Root, path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(root.follow(path.as_ref())?)?
        .take(LIMIT as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

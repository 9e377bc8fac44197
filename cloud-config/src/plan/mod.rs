//! What has to be on the machine for a config to be in force, as plain data.
//!
//! A plan says what, never how: it reads nothing, and the same config and context always give
//! the same plan. Printed, it is the dry run. Applying a plan made once more with all addresses
//! known does everything that had to wait, and nothing else changes.

mod assemble;
mod daemon;
mod display;
mod environment;
mod escape;
mod file;
mod host;
mod names;
mod network_access;
mod overlay;
mod unit;
mod update_conf;
mod user;

use std::fmt;

use serde::Serialize;

pub(crate) use assemble::files_of_keys;
pub use assemble::plan;
pub use environment::Environment;
pub use update_conf::{DEFAULT_PATH as UPDATE_CONF_DEFAULT, PATH as UPDATE_CONF, UpdateConf};

use crate::config::{Command, KeyImport, Owner, Source, UnitGroup};

/// When a part can be applied at the earliest; the order is the order of boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before PID 1 starts.
    BeforeBoot,
    /// Once the data partition is mounted on `/var`.
    AfterVar,
    /// Once the network is up: it needs an address or has to be fetched.
    Network,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::BeforeBoot => "before-boot",
            Self::AfterVar => "after-var",
            Self::Network => "network",
        })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    pub hostname: Option<Hostname>,
    pub users: Vec<UserSpec>,
    /// Every file, unit files and drop-ins included, in the order they are to be written: when
    /// two name one path, the later is the one that stays.
    pub files: Vec<FileSpec>,
    pub units: Vec<UnitSpec>,
    pub scripts: Vec<ScriptSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hostname {
    pub name: String,
    pub phase: Phase,
}

/// A user to make or to bring up to date. Ids are given by who applies the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserSpec {
    pub name: String,
    pub passwd: Option<String>,
    pub gecos: Option<String>,
    pub home: Option<String>,
    pub create_home: bool,
    pub primary_group: Option<String>,
    pub groups: Vec<String>,
    /// Whether a group of the user's own name is made when `primary_group` is not given.
    pub own_group: bool,
    pub system: bool,
    pub shell: Option<String>,
    pub ssh_authorized_keys: Vec<String>,
    /// Always of the network phase.
    pub key_imports: Vec<KeyImport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSpec {
    pub path: String,
    pub mode: u32,
    pub owner: Owner,
    pub body: Body,
    pub phase: Phase,
    /// The key of the config it comes from, such as `write_files` or `coreos.update`.
    pub origin: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    #[serde(serialize_with = "serialize_bytes")]
    Content(Vec<u8>),
    /// Added at the end unless the file already ends with it.
    #[serde(serialize_with = "serialize_bytes")]
    Append(Vec<u8>),
    Symlink(String),
    /// Fetched, and kept only when the digest agrees.
    Source(Source),
    /// Merged into the existing file, or into [`UPDATE_CONF_DEFAULT`] while there is none.
    UpdateConf(UpdateConf),
    /// Merged into the existing file, or into nothing.
    Environment(Environment),
}

/// What is to be done with a unit once its files are in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitSpec {
    pub name: String,
    pub group: UnitGroup,
    pub runtime: bool,
    pub mask: bool,
    pub enable: Enable,
    pub command: Option<Command>,
    /// Whether this plan writes the unit file or a drop-in of it.
    pub changes_files: bool,
    pub phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Enable {
    /// Left as it is.
    Keep,
    /// The config brings the unit file: these are its symlinks, also found in `Plan::files`.
    Links(Vec<Link>),
    /// The unit file is part of the image: its `[Install]` section is to be read there.
    FromImage,
}

/// One symlink that enables a unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Link {
    pub path: String,
    pub target: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScriptSpec {
    pub text: String,
    pub phase: Phase,
}

fn serialize_bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => serializer.serialize_str(&format!(
            "base64:{}",
            base64::engine::general_purpose::STANDARD.encode(bytes)
        )),
    }
}

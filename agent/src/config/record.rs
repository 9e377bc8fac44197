//! `/run/strake/config.json`: what is in force on this boot, and why. Written with the
//! configuration itself, read by `strake status`, `config show`, `config diff` and health.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::root::Root;

pub const RECORD: &str = "/run/strake/config.json";
/// The user's text in force, readable by root only.
pub const USER_DATA: &str = "/run/strake/config/user-data";
pub const METADATA: &str = "/run/strake/config/metadata";
/// Exist while the plan has something for the later phases; conditions of their units.
pub const WAITING_VAR: &str = "/run/strake/config/waiting-for-var";
pub const WAITING_NETWORK: &str = "/run/strake/config/waiting-for-network";
/// The network phase waits until the network is online. Where something of the config waits for it,
/// multi-user.target does too; otherwise it comes with the network and holds up nothing.
pub const LINK_THAT_HOLDS_UP: &str =
    "/run/systemd/system/multi-user.target.wants/strake-config.service";
pub const LINK_BESIDE: &str =
    "/run/systemd/system/systemd-networkd.service.wants/strake-config.service";
pub const NETWORK_SERVICE: &str = "/usr/lib/systemd/system/strake-config.service";

/// How the user's config fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// There is no user config: the image's and the vendor's are in force.
    Default,
    /// The user's config is in force.
    Applied,
    /// The user's config was not usable, the last one that booted healthy is in force.
    LastGood,
    /// The user's config was not usable and there is no earlier one.
    Rejected,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Default => "default",
            Outcome::Applied => "applied",
            Outcome::LastGood => "last-good",
            Outcome::Rejected => "rejected",
        }
    }
}

/// A problem without the line it is in: the record is readable by all, the line may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub source: String,
    pub line: u32,
    pub column: u32,
    pub level: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Problem {
            source,
            line,
            column,
            level,
            message,
            hint,
        } = self;
        match line {
            0 => write!(f, "{source}: {level}: {message}")?,
            _ => write!(f, "{source}:{line}:{column}: {level}: {message}")?,
        }
        hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl From<&super::Finding> for Problem {
    fn from(finding: &super::Finding) -> Problem {
        Problem {
            source: finding.source.clone(),
            line: finding.problem.line,
            column: finding.problem.column,
            level: finding.problem.level.to_string(),
            message: finding.problem.message.clone(),
            hint: finding.problem.hint.clone(),
        }
    }
}

impl Problem {
    /// One that concerns the machine and not a place in the text.
    pub fn whole(source: &str, level: &str, message: &str) -> Problem {
        Problem {
            source: source.to_string(),
            line: 0,
            column: 0,
            level: level.to_string(),
            message: message.to_string(),
            hint: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the user's text in force.
    pub source: Option<String>,
    /// `sha256:` and the digest of that text.
    pub digest: Option<String>,
    pub outcome: Outcome,
    pub problems: Vec<Problem>,
}

impl Record {
    pub fn read(root: &Root) -> Option<Record> {
        serde_json::from_str(&root.read_text(RECORD).ok()?).ok()
    }
}

pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_string(), |text, byte| {
        format!("{text}{byte:02x}")
    })
}

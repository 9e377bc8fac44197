//! Who this machine is to the reboot lock: `/state/reboot.json`, kept across reboots.

use serde::{Deserialize, Serialize};
use strake_updates::time::Span;

use crate::apply::tree::Node as File;
use crate::apply::write::{self, write_one};
use crate::health::settings::Settings as Health;
use crate::lock::{Claim, Claimant};
use crate::root::Root;
use crate::scheduler::keys::{self, Tags};
use crate::scheduler::machine::Machine;
use crate::store::Store;
use crate::update::{boot_id, clock};

pub const PATH: &str = "/state/reboot.json";
/// The metadata key of a failure domain.
const ZONE: &str = "zone";
/// Claims of boots before these are long settled.
const MOST_BOOTS: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    token: String,
    /// Newest last.
    boots: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading {0}")]
    Read(&'static str, #[source] std::io::Error),
    #[error("{PATH} is damaged; remove it when this machine does not hold the reboot lock")]
    Damaged(#[source] serde_json::Error),
    #[error("writing {PATH}")]
    Write(#[source] write::Error),
    #[error("drawing a token: {0}")]
    Random(getrandom::Error),
}

/// On return this boot is on the disk as one that may make claims.
pub fn claimant(root: &Root) -> Result<Claimant, Error> {
    let stored = root.read_optional(PATH);
    let mut stored = match stored.map_err(|error| Error::Read(PATH, error))? {
        Some(text) => serde_json::from_str(&text).map_err(Error::Damaged)?,
        None => Stored {
            token: draw()?,
            boots: Vec::new(),
        },
    };
    let boot = boot_id(root);
    if stored.boots.last() != Some(&boot) {
        stored.boots.push(boot);
        let excess = stored.boots.len().saturating_sub(MOST_BOOTS);
        stored.boots.drain(..excess);
        let text = serde_json::to_string(&stored).map_err(Error::Damaged)? + "\n";
        {
            let file = File::File {
                content: text.into(),
                mode: 0o600,
                uid: nix::unistd::geteuid().as_raw(),
                gid: nix::unistd::getegid().as_raw(),
            };
            write_one(root, PATH, file)
        }
        .map_err(Error::Write)?;
    }
    Ok(Claimant {
        id: machine_id(root)?,
        token: stored.token,
        boots: stored.boots,
    })
}

pub fn machine_id(root: &Root) -> Result<String, Error> {
    const FILE: &str = "/etc/machine-id";
    let text = root.read_text(FILE);
    let text = text.map_err(|error| Error::Read(FILE, error))?;
    Ok(text.trim().to_string())
}

/// What is written beside the lock when this machine takes it.
pub fn claim(root: &Root, who: &Claimant, reason: &str, known: &Known) -> Claim {
    let release = crate::status::release(root).unwrap_or_default();
    Claim {
        token: who.token.clone(),
        boot: who.boots.last().cloned().unwrap_or_default(),
        release,
        reason: reason.to_string(),
        since: clock(),
        // Settings that cannot be read are health's to report.
        deadline: Span(Health::read(root).unwrap_or_default().deadline.as_secs()),
        registered: known.registered,
        zone: known.zone.clone(),
    }
}

/// What the cluster knows of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// Whether it would know its loss.
    pub registered: bool,
    /// Metadata `zone`; empty when it has none.
    pub zone: String,
}

impl Known {
    pub async fn of(store: &impl Store, id: &str) -> Result<Known, crate::store::Error> {
        let Ok(id) = id.parse() else {
            return Ok(Known::default());
        };
        let Some(machine) = store.read(&keys::machine(&id)).await? else {
            return Ok(Known::default());
        };
        let tags = store.read(&keys::tags(&id)).await?;
        let machine: Option<Machine> = serde_json::from_slice(&machine.value).ok();
        let tags = tags.and_then(|tags| serde_json::from_slice::<Tags>(&tags.value).ok());
        // What users say goes over what the machine says of itself.
        let tagged = tags.and_then(|tags| tags.metadata.get(ZONE).cloned());
        let own = || machine.and_then(|machine| machine.metadata.get(ZONE).cloned());
        Ok(Known {
            registered: true,
            zone: tagged.unwrap_or_else(own).unwrap_or_default(),
        })
    }
}

fn draw() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

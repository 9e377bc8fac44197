//! What `strake status` tells: collected from files, EFI variables and systemd.
//!
//! Refuses to fail because a part is missing: what cannot be found out is empty, and a note says
//! why.

pub mod cluster;
pub mod entry;
pub mod phases;
mod table;
pub mod told;

use serde::Serialize;

use crate::config::record::{Problem, Record};
use crate::health::Health;
use crate::root::Root;
use crate::systemd::{BootTimes, Units};
use crate::update;
use crate::update::alarm::Alarm;
use cluster::Cluster;
use entry::{Entry, Facts};
use phases::{Init, Phase, phases};

const LOADER_GUID: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub release: Option<String>,
    pub slot: Option<String>,
    pub root_hash: Option<String>,
    pub entry: Entry,
    pub machine_id: Option<String>,
    pub hostname: Option<String>,
    pub uptime_seconds: Option<u64>,
    pub boot: Boot,
    pub config: Config,
    pub units: Failed,
    pub health: Health,
    pub update: Update,
    /// None: this machine is of no cluster.
    pub cluster: Option<Cluster>,
    /// Why something is missing above.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Boot {
    pub phases: Vec<Phase>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    pub source: Option<String>,
    pub digest: Option<String>,
    pub outcome: Option<&'static str>,
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// None when systemd could not be asked.
    pub failed: Option<Vec<String>>,
}

/// In short; `strake update status` has the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Update {
    /// In the passive slot, booted by the next reboot.
    pub staged: Option<String>,
    /// Releases that did not come up healthy here.
    pub refused: Vec<Refused>,
    /// What stops updates and needs somebody.
    pub alarms: Vec<Alarm>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub version: String,
    pub cause: String,
}

impl Update {
    fn collect(root: &Root) -> Update {
        let found = update::status::collect(root);
        let refused = found.refused.into_iter().map(|refusal| Refused {
            version: refusal.version.to_string(),
            cause: refusal.cause,
        });
        Update {
            staged: found.staged.map(|version| version.to_string()),
            refused: refused.collect(),
            alarms: found.alarms,
        }
    }
}

/// What only systemd knows.
#[derive(Debug, Clone, Default)]
struct FromSystemd {
    times: BootTimes,
    boot_complete_us: u64,
    blessing_done: bool,
    failed: Option<Vec<String>>,
}

/// Without systemd (another root, or it does not answer) give the reason instead.
pub async fn collect(root: &Root, systemd: Result<&impl Units, String>) -> Status {
    let mut notes = Vec::new();
    let asked = match systemd {
        Ok(systemd) => ask(systemd).await.map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    let from_systemd = asked.unwrap_or_else(|reason| {
        notes.push(format!("systemd was not asked: {reason}"));
        FromSystemd::default()
    });
    let init: Init = root
        .read_text("/run/strake/init.json")
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let record = Record::read(root);
    Status {
        release: release(root),
        slot: init.slot.clone(),
        root_hash: init.root_hash.clone().or_else(|| root_hash(root)),
        entry: boot_entry(root, from_systemd.blessing_done, &mut notes),
        machine_id: line(root, "/etc/machine-id"),
        hostname: line(root, "/proc/sys/kernel/hostname"),
        uptime_seconds: line(root, "/proc/uptime")
            .and_then(|text| text.split('.').next()?.parse().ok()),
        boot: Boot {
            phases: phases(&init, &from_systemd.times, from_systemd.boot_complete_us),
        },
        config: Config {
            source: record.as_ref().and_then(|record| record.source.clone()),
            digest: record.as_ref().and_then(|record| record.digest.clone()),
            outcome: record.as_ref().map(|record| record.outcome.word()),
            problems: record.map(|record| record.problems).unwrap_or_default(),
        },
        units: Failed {
            failed: from_systemd.failed,
        },
        health: Health::read(root),
        update: Update::collect(root),
        cluster: Cluster::look(root).await,
        notes,
    }
}

/// The booted release, from the image itself.
pub fn release(root: &Root) -> Option<String> {
    let text = root.read_text("/usr/lib/os-release").ok()?;
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_string())
    };
    value("IMAGE_VERSION").or_else(|| value("VERSION_ID"))
}

/// The boot entry as far as files tell.
pub fn boot_entry(root: &Root, blessing_done: bool, notes: &mut Vec<String>) -> Entry {
    let variable = |name: &str| {
        root.read(format!("/sys/firmware/efi/efivars/{name}-{LOADER_GUID}"))
            .ok()
    };
    let (count, selected) = (
        variable("LoaderBootCountPath"),
        variable("LoaderEntrySelected"),
    );
    if count.is_none() && selected.is_none() {
        notes.push("the boot loader left no EFI variables".to_string());
    }
    let files = root.list("/efi/EFI/Linux").into_iter();
    let files: Vec<String> = files.filter_map(|name| name.into_string().ok()).collect();
    if files.is_empty() && count.is_some() && !blessing_done {
        notes.push("the ESP cannot be read, the entry's state is from EFI variables".to_string());
    }
    entry::entry(&Facts {
        boot_count_path: count.as_deref(),
        entry_selected: selected.as_deref(),
        files: (!files.is_empty()).then_some(&files),
        blessing_done,
    })
}

async fn ask(systemd: &impl Units) -> Result<FromSystemd, crate::systemd::Error> {
    let failed = systemd.failed().await?;
    Ok(FromSystemd {
        times: systemd.boot_times().await?,
        boot_complete_us: systemd.unit("boot-complete.target").await?.active_since_us,
        blessing_done: systemd
            .unit("systemd-bless-boot.service")
            .await?
            .active
            .is_up(),
        failed: Some(failed.into_iter().map(|unit| unit.name).collect()),
    })
}

fn root_hash(root: &Root) -> Option<String> {
    let text = line(root, "/proc/cmdline")?;
    text.split_whitespace()
        .find_map(|word| Some(word.strip_prefix("usrhash=")?.to_string()))
}

fn line(root: &Root, path: &str) -> Option<String> {
    let text = root.read_text(path).ok()?;
    Some(text.lines().next()?.trim().to_string()).filter(|line| !line.is_empty())
}

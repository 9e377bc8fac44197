//! Units given to the machine's own systemd: the text in `/run/strake/units`, a link to it in
//! `/run/systemd/system`, orders over D-Bus.
//!
//! A `.container` unit is handed over as the service that it means, under that service's name.
//! What was loaded and started is noted in `/run/strake/units.json`, so that a restart of this
//! service changes nothing and a restart of the machine forgets all. A name that the machine
//! itself uses is refused.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Host, journal};
use crate::root::Root;
use crate::scheduler::clock;
use crate::scheduler::container;
use crate::scheduler::keys::{Ended, Seen};
use crate::scheduler::name::UnitName;
use crate::scheduler::text::{Digest, Text};
use crate::systemd::bus::Bus;
use crate::systemd::{Active, Job, Units};

const TEXTS: &str = "/run/strake/units";
const NOTES: &str = "/run/strake/units.json";
const LINKS: &str = "/run/systemd/system";
const OF_THE_MACHINE: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    digest: Digest,
    started: bool,
    #[serde(default)]
    run: u64,
    /// When it was started: seconds since 1970, and microseconds on the monotonic clock.
    #[serde(default)]
    since: u64,
    #[serde(default)]
    since_us: u64,
}

#[derive(Debug)]
pub struct Systemd {
    bus: Bus,
    root: Root,
    notes: RefCell<BTreeMap<UnitName, Note>>,
    /// Units that end: systemd is not to forget how, before it is told.
    held: RefCell<BTreeSet<UnitName>>,
    changes: watch::Receiver<u64>,
}

/// Units of the cluster that were given to this machine, for whoever only looks.
pub fn loaded(root: &Root) -> Result<BTreeSet<UnitName>> {
    Ok(read_notes(root)?.into_keys().collect())
}

fn read_notes(root: &Root) -> Result<BTreeMap<UnitName, Note>> {
    let notes = root
        .read_optional(NOTES)
        .with_context(|| format!("reading {NOTES}"))?;
    match notes {
        Some(text) => serde_json::from_str(&text).with_context(|| format!("understanding {NOTES}")),
        None => Ok(BTreeMap::new()),
    }
}

impl Systemd {
    pub async fn new(bus: Bus, root: Root) -> Result<Systemd> {
        let changes = bus.changes().await?;
        let notes = read_notes(&root)?;
        Ok(Systemd {
            bus,
            root,
            notes: RefCell::new(notes),
            held: RefCell::default(),
            changes,
        })
    }

    fn note(&self, change: impl FnOnce(&mut BTreeMap<UnitName, Note>)) -> Result<()> {
        let text = {
            let mut notes = self.notes.borrow_mut();
            change(&mut notes);
            serde_json::to_vec(&*notes)?
        };
        self.write(Path::new(NOTES), &text)
    }

    /// Whole or not at all; `/run` is memory, so nothing is synced.
    fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let target = self.root.locate(path)?;
        let temporary = target.with_extension("strake-new");
        let dir = target.parent().context("a path without a directory")?;
        std::fs::create_dir_all(dir)
            .and_then(|()| std::fs::write(&temporary, content))
            .and_then(|()| std::fs::rename(&temporary, &target))
            .with_context(|| format!("writing {}", path.display()))
    }

    /// Two units of the cluster that are one to systemd: submitting refuses them, but one may
    /// still be on its way out here.
    fn refuse_names_of_others(&self, name: &UnitName) -> Result<()> {
        let notes = self.notes.borrow();
        match name.twin().filter(|twin| notes.contains_key(twin)) {
            Some(twin) => bail!(
                "{name} is {} to systemd, as {twin} still is",
                name.on_systemd()
            ),
            None => Ok(()),
        }
    }

    fn refuse_names_of_the_machine(&self, name: &UnitName) -> Result<()> {
        let name = &name.on_systemd();
        for dir in OF_THE_MACHINE {
            for unit in [Some(name.clone()), name.template()].into_iter().flatten() {
                let path = Path::new(dir).join(unit.as_str());
                if self.root.locate(&path)?.symlink_metadata().is_ok() {
                    bail!(
                        "{name} is a unit of the machine itself ({})",
                        path.display()
                    );
                }
            }
        }
        let (link, text) = (self.link(name)?, text_path(name));
        match link.symlink_metadata() {
            Ok(_) if std::fs::read_link(&link).ok().as_deref() != Some(&text) => {
                bail!(
                    "{name} is a unit of the machine itself ({})",
                    link.display()
                )
            }
            _ => Ok(()),
        }
    }

    fn link(&self, name: &UnitName) -> Result<PathBuf> {
        let name = name.on_systemd();
        Ok(self.root.locate(&Path::new(LINKS).join(name.as_str()))?)
    }
}

fn text_path(name: &UnitName) -> PathBuf {
    Path::new(TEXTS).join(name.on_systemd().as_str())
}

/// What systemd is to read.
fn handed_over(name: &UnitName, text: &Text) -> Result<String> {
    if !name.is_container() {
        return Ok(text.to_string());
    }
    match container::service(name, text) {
        Ok(service) => Ok(service.to_string()),
        Err(problems) => {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("{name} cannot be run: {}", all.join("; "))
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

impl Host for Systemd {
    async fn units(&self) -> Result<BTreeMap<UnitName, Seen>> {
        let notes = self.notes.borrow().clone();
        if notes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<UnitName> = notes.keys().map(UnitName::on_systemd).collect();
        let names: Vec<&str> = names.iter().map(UnitName::as_str).collect();
        let rows = self.bus.rows(&names).await?;
        let mut rows: BTreeMap<String, _> = rows
            .into_iter()
            .map(|row| (row.name.clone(), row))
            .collect();
        let seen = notes.into_iter().map(|(name, note)| {
            let row = rows.remove(name.on_systemd().as_str());
            let (load, active, sub) = match row {
                // A start that systemd has not begun yet: it is not down for having ended.
                Some(row) if row.queued && note.started && row.active.is_down() => {
                    (row.load, Active::Activating, row.sub)
                }
                Some(row) => (row.load, row.active, row.sub),
                None => (
                    "not-found".to_string(),
                    Active::Inactive,
                    "dead".to_string(),
                ),
            };
            let seen = Seen {
                digest: note.digest,
                load,
                active,
                sub,
                started: note.started,
                run: note.run,
                problem: None,
            };
            (name, seen)
        });
        Ok(seen.collect())
    }

    async fn load(&self, name: &UnitName, digest: &Digest, text: &Text) -> Result<()> {
        self.refuse_names_of_others(name)?;
        self.refuse_names_of_the_machine(name)?;
        self.write(&text_path(name), handed_over(name, text)?.as_bytes())?;
        let link = self.link(name)?;
        remove(&link)?;
        if let Some(dir) = link.parent() {
            std::fs::create_dir_all(dir)?;
        }
        symlink(text_path(name), &link).with_context(|| format!("linking {}", link.display()))?;
        if self.bus.remembers(name.on_systemd().as_str()).await? {
            self.bus.reload().await?;
        }
        let note = Note {
            digest: digest.clone(),
            started: false,
            run: 0,
            since: 0,
            since_us: 0,
        };
        self.note(|notes| drop(notes.insert(name.clone(), note)))
    }

    async fn start(&self, name: &UnitName, run: u64) -> Result<()> {
        let (since, since_us) = (clock::now() / 1000, clock::monotonic_us());
        if run > 0 && !self.held.borrow().contains(name) {
            self.bus.hold(name.on_systemd().as_str()).await?;
            self.held.borrow_mut().insert(name.clone());
        }
        self.bus.run(Job::Start, name.on_systemd().as_str()).await?;
        self.note(|notes| {
            if let Some(note) = notes.get_mut(name) {
                (note.started, note.run) = (true, run);
                (note.since, note.since_us) = (since, since_us);
            }
        })
    }

    async fn ended(&self, name: &UnitName) -> Result<Ended> {
        let note = self.notes.borrow().get(name).cloned();
        let note = note.with_context(|| format!("{name} is not here"))?;
        let unit = name.on_systemd();
        let outcome = self.bus.outcome(unit.as_str()).await?;
        let held = self.held.borrow().contains(name);
        let result = match outcome.began_us >= note.since_us {
            true => outcome.result,
            // Its start failed for another unit's sake, or a condition did not hold.
            false if held => "not-started".to_string(),
            // This service was started anew meanwhile, and systemd has forgotten the unit.
            false => "unknown".to_string(),
        };
        Ok(Ended {
            result,
            code: outcome.code,
            at: clock::now(),
            log: journal::tail(unit.as_str(), note.since).await,
        })
    }

    async fn stop(&self, name: &UnitName) -> Result<()> {
        self.bus.run(Job::Stop, name.on_systemd().as_str()).await?;
        self.note(|notes| {
            if let Some(note) = notes.get_mut(name) {
                note.started = false;
            }
        })
    }

    async fn unload(&self, name: &UnitName) -> Result<()> {
        self.bus.reset_failed(name.on_systemd().as_str()).await?;
        if self.held.borrow_mut().remove(name) {
            // It is let go at the latest when this connection ends.
            let _ = self.bus.release(name.on_systemd().as_str()).await;
        }
        remove(&self.link(name)?)?;
        remove(&self.root.locate(&text_path(name))?)?;
        self.note(|notes| drop(notes.remove(name)))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

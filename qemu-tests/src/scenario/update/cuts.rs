//! Every power cut of a recorded update, by the model of the loader.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::spread::evenly;
use crate::blocklog::{Changes, Cut, Disk, Log, Loss, cuts};
use crate::loader::{Counter, Hash, Model, Part, Release, Slots, Start, Tree};
use crate::machine::find_partition;
use crate::publisher::Built;

/// The partition table at the beginning of the disk.
const TABLE_SECTORS: u64 = 34;
/// Losses by chance, for each prefix with writes that no flush followed.
const SEEDS: u64 = 6;

/// The part of the recording that is the update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Entries before it.
    pub from: usize,
    /// Entries up to the reboot into the new release.
    pub rebooted: usize,
    /// Each so many prefixes one is looked at; those that touch the boot entries always are.
    pub step: usize,
}

/// What all cuts came to.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub prefixes: usize,
    pub cuts: usize,
    pub old: usize,
    pub new: usize,
    pub written: u64,
    pub flushes: usize,
    /// Prefixes after which the loader shows something else than before.
    pub turns: Vec<(usize, Vec<String>)>,
    /// Prefixes from which another release is started than from the one before.
    changes: BTreeMap<usize, usize>,
}

impl Summary {
    /// Which of the two releases is started after a prefix, 0 the old one.
    pub(super) fn release_after(&self, prefix: usize) -> usize {
        self.changes
            .range(..=prefix)
            .next_back()
            .map_or(0, |(_, release)| *release)
    }
}

/// Fails at the first cut after which neither release would be started.
pub(super) fn examine(
    base: &Path,
    recording: &Path,
    (old, new): (&Built, &Built),
    span: Span,
) -> Result<Summary> {
    let mut base = File::open(base)?;
    let mut part = |label| -> Result<Part> { Ok(find_partition(&mut base, label)?) };
    let (esp, slots) = (
        part("EFI-SYSTEM")?,
        [
            part("USR-A")?,
            part("USR-A-VERITY")?,
            part("USR-B")?,
            part("USR-B-VERITY")?,
        ],
    );
    let end = slots
        .iter()
        .map(|part| part.end)
        .max()
        .unwrap_or(0)
        .max(esp.end);
    let log = Log::open(recording)?;
    ensure!(
        span.from <= span.rebooted && span.rebooted < log.entries.len(),
        "the recording has {} entries, the update is {span:?}",
        log.entries.len()
    );
    let (written, flushes) = log.totals();
    let all = cuts(&log.entries, SEEDS);
    let mut disk = Disk::new(base, log, end);
    disk.settle(&Cut::after(span.from));
    let slots = Slots::read(slots, vec![tree(old)?, tree(new)?], &disk)?;
    let mut walk = Walk {
        model: Model::new(esp, vec![published(old)?, published(new)?], slots, &disk)?,
        disk,
        span,
        summary: Summary {
            written,
            flushes,
            ..Summary::default()
        },
        last: None,
    };
    for cut in all.iter().filter(|cut| cut.prefix >= span.from) {
        walk.to(cut)?;
    }
    Ok(walk.summary)
}

struct Walk {
    disk: Disk,
    model: Model,
    span: Span,
    summary: Summary,
    /// Holds while nothing that the model looks at was written.
    last: Option<Start>,
}

impl Walk {
    fn to(&mut self, cut: &Cut) -> Result<()> {
        let settled = self.disk.settle(cut);
        self.take_in(&settled)?;
        if !self.is_looked_at(cut) {
            return Ok(());
        }
        let changes = self.disk.cut(cut);
        self.take_in(&changes)?;
        let start = match self.last.take() {
            Some(start) => Ok(start),
            None => self.model.start(&self.disk),
        };
        let start = start.and_then(|start| self.check(cut, start));
        let start = start.with_context(|| self.describe(cut))?;
        self.count(cut, &start)?;
        self.last = Some(start);
        self.disk.undo(&changes);
        self.take_in(&changes)
    }

    fn is_looked_at(&self, cut: &Cut) -> bool {
        let last = &self.disk.log().entries[cut.prefix.saturating_sub(1)];
        let is_entry = (0..last.sectors).any(|number| self.model.touches_esp(last.sector + number));
        is_entry || (cut.prefix - self.span.from).is_multiple_of(self.span.step)
    }

    fn take_in(&mut self, changes: &Changes) -> Result<()> {
        ensure!(
            changes.sectors().all(|sector| sector >= TABLE_SECTORS),
            "the update wrote the partition table"
        );
        if changes.sectors().next().is_some() {
            self.last = None;
        }
        Ok(self.model.slots.update(&self.disk, changes.sectors())?)
    }

    fn check(&self, cut: &Cut, start: Start) -> Result<Start> {
        match start.counter {
            Counter::Counting { .. } if start.then.is_none_or(|then| then == start.release) => {
                bail!(
                    "{} is on trial, and nothing is left to fall back to",
                    start.file
                )
            }
            Counter::None if start.release == 1 && cut.prefix <= self.span.rebooted => {
                bail!("{} was never booted and counts no tries", start.file)
            }
            Counter::None | Counter::Counting { .. } => Ok(start),
        }
    }

    fn count(&mut self, cut: &Cut, start: &Start) -> Result<()> {
        let summary = &mut self.summary;
        summary.cuts += 1;
        match start.release {
            0 => summary.old += 1,
            _ => summary.new += 1,
        }
        if cut.loss == Loss::Nothing {
            summary.prefixes += 1;
            if summary.changes.values().next_back() != Some(&start.release) {
                summary.changes.insert(cut.prefix, start.release);
            }
            let entries = self.model.entries(&self.disk)?;
            if summary
                .turns
                .last()
                .is_none_or(|(_, before)| *before != entries)
            {
                summary.turns.push((cut.prefix, entries));
            }
        }
        Ok(())
    }

    fn describe(&self, cut: &Cut) -> String {
        let entries = self.model.entries(&self.disk).unwrap_or_default();
        let last = &self.disk.log().entries[cut.prefix.saturating_sub(1)];
        format!(
            "a power cut after {} entries with {:?}: the loader shows {entries:?}; the last entry \
             is {last:?}",
            cut.prefix, cut.loss
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            prefixes,
            cuts,
            old,
            new,
            written,
            flushes,
            ..
        } = self;
        write!(
            formatter,
            "{cuts} power cuts in {prefixes} prefixes ({:.1} MB written, {flushes} flushes): \
             {old} start the old release, {new} the new one, none another",
            *written as f64 / 1e6
        )
    }
}

fn tree(built: &Built) -> Result<Tree> {
    let bytes = fs::read(built.directory.join("usr.verity"))?;
    let root = root_hash(&built.release.root_hash)?;
    Tree::parse(bytes, &root).context("reading the release's tree")
}

fn published(built: &Built) -> Result<Release> {
    Ok(Release {
        version: built.release.version.clone(),
        root_hash: built.release.root_hash.clone(),
        uki: Sha256::digest(fs::read(built.uki())?).to_vec(),
    })
}

fn root_hash(text: &str) -> Result<Hash> {
    let mut hash = [0; 32];
    ensure!(
        text.len() == 64 && text.is_ascii(),
        "{text} is no root hash"
    );
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16)?;
    }
    Ok(hash)
}

/// Prefixes to boot: those where the loader's choice changes, the ones before them, and others
/// evenly between them.
pub(super) fn spread(summary: &Summary, span: Span, last: usize, count: usize) -> Vec<usize> {
    let turns = summary
        .turns
        .iter()
        .flat_map(|(prefix, _)| [prefix.saturating_sub(1), *prefix]);
    evenly(turns.collect(), span.from..=last, count)
}

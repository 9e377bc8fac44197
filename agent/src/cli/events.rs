//! `strake events`: what happens in the cluster.

use std::collections::VecDeque;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::output::{Format, Output, Reader, write};
use super::runtime::on_one_thread;
use super::store::connect;
use super::unit::find;
use crate::exit::Exit;
use crate::scheduler::events::{Event, Tracker};
use crate::scheduler::keys;
use crate::scheduler::name::UnitName;
use crate::store::etcd::Etcd;
use crate::store::{Batch, Event as Change, Revision, Store, Watch, WatchEnd, read_all};

/// When all that is known to be there was told and nothing came for so long, the past is over.
const QUIET: Duration = Duration::from_millis(300);
/// After the store was lost.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// How many of the past; without it all that the store remembers, with --follow 10
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Only what is about this unit
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// One line or document. The time is only known of what was seen to happen.
#[derive(Debug, Serialize)]
struct Told<'e> {
    time: Option<String>,
    #[serde(flatten)]
    event: &'e Event,
}

impl Events {
    pub(super) fn run(self) -> Result<Exit> {
        let unit = self.unit.as_deref().map(find::known).transpose()?;
        on_one_thread(async { self.tell(&connect().await?, unit.as_ref()).await })?
    }

    async fn tell(&self, store: &Etcd, unit: Option<&UnitName>) -> Result<Exit> {
        let fits = |event: &Event| unit.is_none() || event.what.unit() == unit;
        let keep = match (self.lines, self.follow) {
            (Some(lines), _) => lines,
            (None, true) => 10,
            (None, false) => usize::MAX,
        };
        let mut feed = Feed::open(store).await?;
        let mut past = VecDeque::new();
        for event in feed
            .past(store)
            .await?
            .into_iter()
            .filter(|event| fits(event))
        {
            past.push_back(event);
            if past.len() > keep {
                past.pop_front();
            }
        }
        for event in &past {
            if self.print(event, None)? == Reader::Gone {
                return Ok(Exit::Done);
            }
        }
        if !self.follow {
            return Ok(match past.is_empty() {
                true => Exit::NothingToDo,
                false => Exit::Done,
            });
        }
        loop {
            let events = feed.next(store).await;
            let now = Some(jiff::Timestamp::now());
            for event in events.iter().filter(|event| fits(event)) {
                if self.print(event, now)? == Reader::Gone {
                    return Ok(Exit::Done);
                }
            }
        }
    }

    fn print(&self, event: &Event, time: Option<jiff::Timestamp>) -> Result<Reader> {
        let time = time.map(|time| format!("{time:.3}"));
        let mut text = Vec::new();
        match self.output.format {
            Format::Table => {
                let time = time.as_deref().unwrap_or("-");
                writeln!(text, "{time:24}  {:>9}  {}", event.revision, event.what)?;
            }
            Format::Json => {
                serde_json::to_writer(&mut text, &Told { time, event })?;
                text.push(b'\n');
            }
            Format::Yaml => {
                let value = serde_yaml::to_string(&Told { time, event })?;
                writeln!(text, "---\n{}", value.trim_end())?;
            }
        }
        Ok(write(&text))
    }
}

/// The store's changes since the oldest revision it remembers.
struct Feed {
    tracker: Tracker,
    watch: Watch,
    seen: Revision,
    /// What came while the beginning was looked for.
    first: Option<Batch>,
}

impl Feed {
    async fn open(store: &Etcd) -> Result<Feed> {
        let mut tracker = Tracker::default();
        let mut watch = store.watch(keys::ALL, 1).await?;
        let mut seen = 0;
        let first = match tokio::time::timeout(QUIET, watch.next()).await {
            Err(_) => None,
            Ok(Ok(batch)) => Some(batch),
            Ok(Err(WatchEnd::Compacted(oldest))) => {
                tracker.step(&Batch {
                    revision: oldest,
                    events: everything(store, oldest).await?,
                });
                watch = store.watch(keys::ALL, oldest + 1).await?;
                seen = oldest;
                None
            }
            Ok(Err(lost)) => return Err(lost).context("reading the past"),
        };
        Ok(Feed {
            tracker,
            watch,
            seen,
            first,
        })
    }

    fn take(&mut self, batch: &Batch) -> Vec<Event> {
        let revisions = batch.events.iter().filter_map(|change| match change {
            Change::Put(entry) => Some(entry.modified),
            Change::Deleted { .. } => None,
        });
        self.seen = revisions.fold(self.seen, Revision::max);
        self.tracker.step(batch)
    }

    async fn past(&mut self, store: &Etcd) -> Result<Vec<Event>> {
        let now = read_all(store, keys::ALL).await?.entries.into_iter();
        let last = now.map(|entry| entry.modified).max().unwrap_or(0);
        let first = self.first.take();
        let mut events = first.map_or(Vec::new(), |batch| self.take(&batch));
        loop {
            match tokio::time::timeout(QUIET, self.watch.next()).await {
                Ok(batch) => events.extend(self.take(&batch.context("reading the past")?)),
                Err(_) if self.seen >= last => return Ok(events),
                Err(_) => {}
            }
        }
    }

    /// Waits through times without the store; what it forgot meanwhile is said to be missing.
    async fn next(&mut self, store: &Etcd) -> Vec<Event> {
        let mut lost = match self.watch.next().await {
            Ok(batch) => return self.take(&batch),
            Err(lost) => lost,
        };
        loop {
            eprintln!("strake: {lost}");
            tokio::time::sleep(AGAIN).await;
            let from = match lost {
                WatchEnd::Compacted(oldest) => oldest,
                WatchEnd::Lost(_) => self.seen + 1,
            };
            match store.watch(keys::ALL, from).await {
                Ok(watch) => {
                    self.watch = watch;
                    return Vec::new();
                }
                Err(error) => lost = WatchEnd::Lost(error.to_string()),
            }
        }
    }
}

async fn everything(store: &Etcd, at: Revision) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.list(keys::ALL, after.as_deref(), Some(at)).await?;
        after = page.entries.last().map(|entry| entry.key.clone());
        changes.extend(page.entries.into_iter().map(Change::Put));
        if !page.more {
            return Ok(changes);
        }
    }
}

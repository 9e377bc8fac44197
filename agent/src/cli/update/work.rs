//! `strake update check | explain | download | install`: what needs the server.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use strake_updates::policy::{Choice, Decision};
use strake_updates::version::Version;

use crate::cli::RootArg;
use crate::cli::output::Output;
use crate::cli::runtime::on_one_thread;
use crate::exit::Exit;
use crate::root::Root;
use crate::update::engine::{Engine, Insistence};
use crate::update::install::{Goal, Installed};
use crate::update::live::{Live, Operation};
use crate::update::look::Look;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Release to install; the one the channel and the waves allow otherwise
    version: Option<Version>,
    /// Also a release that is refused here, outside its wave or its window
    #[arg(long, requires = "version")]
    force: bool,
    #[command(flatten)]
    root: RootArg,
    #[command(flatten)]
    output: Output,
}

/// A decision as data.
#[derive(Debug, Serialize)]
struct Shown {
    running: Version,
    channel: String,
    choice: &'static str,
    version: Option<Version>,
    until: Option<String>,
    releases: Vec<Release>,
    unusable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Release {
    version: Version,
    allowed: bool,
    obstacles: Vec<String>,
}

impl Shown {
    fn of(look: &Look) -> Shown {
        let decision: &Decision = &look.decision;
        let (choice, version, until) = match &decision.choice {
            Choice::Install(version) => ("install", Some(*version), None),
            Choice::Staged(version) => ("reboot", Some(*version), None),
            Choice::Discard(version) => ("discard", Some(*version), None),
            Choice::Wait { version, until } => ("wait", Some(*version), Some(until.to_string())),
            Choice::Stay => ("stay", None, None),
        };
        let releases = decision.verdicts.iter().map(|verdict| Release {
            version: verdict.version,
            allowed: verdict.obstacles.is_empty(),
            obstacles: verdict.obstacles.iter().map(ToString::to_string).collect(),
        });
        let unusable = look.catalog.invalid.iter();
        Shown {
            running: decision.running,
            channel: decision.channel.to_string(),
            choice,
            version,
            until,
            releases: releases.collect(),
            unusable: unusable
                .map(|error| crate::update::engine::text(error))
                .collect(),
        }
    }

    fn table(&self, look: &Look) -> String {
        let mut text = look.decision.to_string();
        for unusable in &self.unusable {
            text += &format!("  {unusable}\n");
        }
        text
    }
}

pub(super) fn check(root: &Root, output: Output) -> Result<Exit> {
    let look = looked(root)?;
    let shown = Shown::of(&look);
    output.print(&shown, || {
        let text = look.decision.to_string();
        text.lines()
            .next()
            .map(|line| format!("{line}\n"))
            .unwrap_or_default()
    })?;
    Ok(match look.decision.choice {
        Choice::Install(_) => Exit::Done,
        _ => Exit::NothingToDo,
    })
}

pub(super) fn explain(root: &Root, output: Output) -> Result<Exit> {
    let look = looked(root)?;
    let shown = Shown::of(&look);
    output.print(&shown, || shown.table(&look))?;
    Ok(Exit::Done)
}

fn looked(root: &Root) -> Result<Look> {
    on_one_thread(async {
        let mut quiet = |_: &Live| {};
        let mut engine = Engine::open(root, &mut quiet)?;
        Ok(engine.check().await?)
    })?
}

pub(super) fn download(arguments: Arguments) -> Result<Exit> {
    put(arguments, Goal::Downloaded)
}

pub(super) fn install(arguments: Arguments) -> Result<Exit> {
    put(arguments, Goal::Activated)
}

fn put(arguments: Arguments, goal: Goal) -> Result<Exit> {
    let root = arguments.root.root();
    let insistence = if arguments.force {
        Insistence::Forced
    } else {
        Insistence::None
    };
    let mut bar = Bar::default();
    let mut tell = |live: &Live| bar.show(live);
    let done = on_one_thread(async {
        let mut engine = Engine::open(&root, &mut tell)?;
        let look = engine.check().await?;
        let version = match (&look.decision.choice, arguments.version) {
            (_, Some(version)) => version,
            (Choice::Install(version), None) => *version,
            _ => return anyhow::Ok((look, None)),
        };
        let installed = engine.install(&look, version, goal, insistence).await?;
        Ok((look, Some(installed)))
    });
    bar.end();
    let (look, installed) = done??;
    let Some(installed) = installed else {
        arguments
            .output
            .print(&Shown::of(&look), || look.decision.to_string())?;
        return Ok(Exit::NothingToDo);
    };
    let done = Done::of(&installed);
    arguments.output.print(&done, || done.table())?;
    Ok(Exit::Done)
}

/// What an installation took, as data.
#[derive(Debug, Serialize)]
struct Done {
    version: Version,
    entry: Option<String>,
    fetched_bytes: u64,
    blocks_present: u64,
    blocks_copied: u64,
    blocks_fetched: u64,
    given_up: Vec<String>,
}

impl Done {
    fn of(installed: &Installed) -> Done {
        let slot = &installed.slot;
        let given_up = slot.given_up.iter();
        Done {
            version: installed.version,
            entry: installed.entry.map(|entry| entry.to_string()),
            fetched_bytes: slot.fetched_bytes + installed.uki_bytes,
            blocks_present: slot.present_blocks,
            blocks_copied: slot.copied_blocks,
            blocks_fetched: slot.fetched_blocks,
            given_up: given_up
                .map(|(rung, why)| format!("{rung:?}: {why}"))
                .collect(),
        }
    }

    fn table(&self) -> String {
        let next = match &self.entry {
            Some(entry) => format!("installed as {entry}; reboot to use it"),
            None => "is in the passive slot; `strake update install` boots it next".to_owned(),
        };
        let mut text = format!(
            "{} {next}\n{} bytes fetched; blocks: {} present, {} copied, {} fetched\n",
            self.version,
            self.fetched_bytes,
            self.blocks_present,
            self.blocks_copied,
            self.blocks_fetched
        );
        for given_up in &self.given_up {
            text += &format!("given up: {given_up}\n");
        }
        text
    }
}

/// One line on a terminal that is written over.
#[derive(Debug, Default)]
struct Bar {
    shown: bool,
}

impl Bar {
    fn show(&mut self, live: &Live) {
        let mut stderr = std::io::stderr();
        if !stderr.is_terminal() {
            return;
        }
        let doing = match live.operation {
            Operation::CheckingForUpdate => "asking the server",
            Operation::Downloading => "writing the passive slot",
            Operation::Verifying => "reading it back",
            Operation::Finalizing => "making the boot entry",
            _ => return,
        };
        self.shown = true;
        let _ = write!(stderr, "\r\x1b[K{doing} {:3.0} %", live.progress * 100.0);
    }

    fn end(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

//! `strake update rollback | pin | unpin | retry`: what changes this machine alone.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use strake_updates::version::Version;

use super::{cluster, take_lock};
use crate::cli::output::print;
use crate::cli::runtime::on_one_thread;
use crate::exit::Exit;
use crate::root::Root;
use crate::update::history::{self, Event, What};
use crate::update::node::Node;
use crate::update::outcome::Outcome;
use crate::update::settings::Settings;
use crate::update::{clock, report, rollback, running, settle};

pub(super) fn rollback(root: &Root) -> Result<Exit> {
    let _lock = take_lock(root)?;
    settle::settle(root).context("finding out what became of the last release")?;
    let channel = Settings::read(root)?.channel;
    let mut stderr = std::io::stderr();
    let mut progress = |done: u64, total: u64| {
        if stderr.is_terminal() {
            let percent = done * 100 / total.max(1);
            let _ = write!(stderr, "\r\x1b[Kchecking the passive slot {percent:3} %");
        }
    };
    let version = match rollback::run(root, &channel, &mut progress) {
        Ok(version) => version,
        Err(error @ rollback::Error::Nothing(_)) => {
            print(&format!("{error}\n"));
            return Ok(Exit::NothingToDo);
        }
        Err(error) => return Err(error.into()),
    };
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    print(&format!(
        "{version} is booted next, with three tries, and this machine is pinned to it\n\
         `strake update rollback --undo` takes it back before the reboot, `strake update unpin` \
         follows the channel again\n"
    ));
    Ok(Exit::Done)
}

/// Also tells the server, when it can be reached; `strake update run` tries again otherwise.
pub(super) fn settle(root: &Root) -> Result<Exit> {
    let _lock = take_lock(root)?;
    let outcome = settle::settle(root)?;
    let settings = Settings::read(root)?;
    if let Some(server) = settings.server {
        on_one_thread(report::tell(root, &server, &[]))?;
    }
    let text = match outcome {
        None => "no release is on its way\n",
        Some(Outcome::Staged) => "the release waits for a reboot\n",
        Some(Outcome::Trying { .. }) => "the release is on trial\n",
        Some(Outcome::Blessed) => "the release is blessed\n",
        Some(Outcome::FellBack { .. }) => "the release did not come up healthy and is refused\n",
        Some(Outcome::Gone) => "the release is gone\n",
    };
    print(text);
    Ok(match outcome {
        None => Exit::NothingToDo,
        Some(_) => Exit::Done,
    })
}

pub(super) fn undo(root: &Root) -> Result<Exit> {
    let _lock = take_lock(root)?;
    let is_undone = rollback::undo(root)?;
    let text = if is_undone {
        "the rollback is taken back; the pin stays until `strake update unpin`\n"
    } else {
        "no rollback waits for a reboot\n"
    };
    print(text);
    Ok(if is_undone {
        Exit::Done
    } else {
        Exit::NothingToDo
    })
}

pub(super) fn pin(root: &Root, version: Version) -> Result<Exit> {
    let changed = change(root, |node| {
        let is_new = node.pinned != Some(version);
        node.pinned = Some(version);
        is_new.then_some((What::Pinned, version))
    })?;
    print(&format!(
        "pinned to {version}: no other release is installed\n"
    ));
    Ok(changed)
}

pub(super) fn unpin(root: &Root) -> Result<Exit> {
    let changed = change(root, |node| Some((What::Unpinned, node.pinned.take()?)))?;
    print(match changed {
        Exit::Done => "the channel is followed again\n",
        _ => "there is no pin\n",
    });
    Ok(changed)
}

/// Here, and in the cluster where this machine is in one: the others take it again by themselves.
pub(super) fn retry(root: &Root, version: Version) -> Result<Exit> {
    let here = change(root, |node| {
        node.forgive(version).then_some((What::Retried, version))
    })?;
    let in_cluster = cluster::is_there(root) && cluster::lift(version)?;
    let (text, exit) = match (here, in_cluster) {
        (_, true) => (
            "may be installed again, here and in the cluster",
            Exit::Done,
        ),
        (Exit::Done, false) => ("may be installed again", Exit::Done),
        (_, false) => ("is not refused here", Exit::NothingToDo),
    };
    print(&format!("{version} {text}\n"));
    Ok(exit)
}

/// Nothing is written when nothing changes.
fn change(root: &Root, edit: impl FnOnce(&mut Node) -> Option<(What, Version)>) -> Result<Exit> {
    let _lock = take_lock(root)?;
    running(root).context("this is no machine of Strake")?;
    let mut node = Node::load(root)?;
    let Some((what, version)) = edit(&mut node) else {
        return Ok(Exit::NothingToDo);
    };
    node.save(root)?;
    let note = String::new();
    history::add(
        root,
        Event {
            time: clock(),
            what,
            version,
            note,
        },
    )
    .context("writing the history")?;
    Ok(Exit::Done)
}

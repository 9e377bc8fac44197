//! Finds out what became of the release that was last made ready, and remembers it. May be run at
//! any time and as often as one likes.

use serde::Deserialize;

use super::entries::{self, Entries};
use super::history::{self, Event, What};
use super::node::{self, Attempt, Kind, Node, Refusal};
use super::outcome::{Outcome, outcome};
use super::{Unknown, clock, evidence, report, running};
use crate::apply::write;
use crate::health;
use crate::root::Root;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("finding out what runs")]
    Unknown(#[from] Unknown),
    #[error(transparent)]
    Entries(#[from] entries::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error("writing the history")]
    History(#[from] write::Error),
}

/// What became of it; None when no release is on its way.
pub fn settle(root: &Root) -> Result<Option<Outcome>, Error> {
    let mut node = Node::load(root)?;
    let Some(attempt) = node.attempt.clone() else {
        return Ok(None);
    };
    let (entries, running) = (Entries::read(root)?, running(root)?);
    let outcome = outcome(&attempt, entries.of(attempt.version), running);
    let event = |what, note| Event {
        time: clock(),
        what,
        version: attempt.version,
        note,
    };
    let report = |kind, cause| report::about(root, &attempt, kind, cause);
    let told = match outcome {
        Outcome::Staged => {
            // What a power cut may have kept a rollback from doing.
            if let Some(own) = entries.of(running) {
                entries.yield_to(own, attempt.version)?;
            }
            return Ok(Some(outcome));
        }
        Outcome::Trying { .. } => return Ok(Some(outcome)),
        Outcome::Blessed => {
            report(report::Kind::Blessed, None)
                .into_iter()
                .for_each(|event| node.tell(event));
            event(What::Blessed, String::new())
        }
        Outcome::Gone => event(What::Discarded, "its boot entry is gone".to_owned()),
        Outcome::FellBack { boots } => {
            let refusal = refusal(root, &attempt, boots);
            let told = event(What::FellBack, refusal.cause.clone());
            let fell_back = report(report::Kind::FellBack, Some(&refusal.cause));
            fell_back.into_iter().for_each(|event| node.tell(event));
            node.refuse(refusal);
            // Back from a rollback that failed, nobody is held to what does not work.
            if attempt.kind == Kind::Rollback && node.pinned == Some(attempt.version) {
                node.pinned = None;
            }
            told
        }
    };
    // The refusal is on the disk before the attempt is forgotten: both are in one file.
    node.attempt = None;
    node.save(root)?;
    history::add(root, told)?;
    Ok(Some(outcome))
}

fn refusal(root: &Root, attempt: &Attempt, boots: u32) -> Refusal {
    let found = evidence::collect(root, attempt);
    Refusal {
        version: attempt.version,
        time: clock(),
        cause: found.cause(health_verdict(root, attempt), boots),
        boots,
        journal: found.lines,
    }
}

/// What `strake health run` said before it rebooted, when it was about this release.
fn health_verdict(root: &Root, attempt: &Attempt) -> Option<String> {
    #[derive(Deserialize)]
    struct Kept {
        release: String,
        reason: String,
    }
    let text = root.read_text(health::LAST_FAILURE).ok()?;
    let kept: Kept = serde_json::from_str(&text).ok()?;
    (kept.release == attempt.version.to_string()).then_some(kept.reason)
}

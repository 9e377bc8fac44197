//! Bringing a machine to what a plan says: plan -> tree -> pre-flight -> write.
//!
//! Nothing is written unless all of it can be; [`write`] is the only module that changes the disk.

pub mod account_files;
pub mod desired;
pub mod homes;
pub mod jobs;
pub mod live;
pub mod preflight;
pub mod script;
pub mod tree;
pub mod units;
pub mod write;
pub mod written;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use strake_cloud_config::Plan;

pub use desired::Moment;
use tree::Tree;
use write::Change;
use written::{Earlier, LIST, Leftovers, Written};

use crate::root::Root;

/// What applying a plan comes to, before it is done.
#[derive(Debug)]
pub struct Prepared {
    pub tree: Tree,
    /// Nothing may be written unless this is empty.
    pub refusals: Vec<String>,
    pub warnings: Vec<String>,
    /// All that is the config's on this boot, once the tree is in place.
    written: Written,
}

pub fn prepare(root: &Root, plan: &Plan, moment: Moment, leftovers: Leftovers) -> Result<Prepared> {
    let written = Written::read(root);
    // A part of a plan says nothing about what the rest of it has written.
    let all_stays = leftovers == Leftovers::Stay || moment == Moment::AfterVar;
    let leavers = match all_stays {
        true => BTreeSet::new(),
        false => written.users_without(plan.users.iter().map(|user| user.name.as_str())),
    };
    let earlier = Earlier { written, leavers };
    let mut desired = desired::desired(root, plan, moment, &earlier)?;
    let earlier = earlier.written;
    let planned: BTreeSet<&Path> = plan
        .files
        .iter()
        .map(|file| Path::new(&file.path))
        .collect();
    let keep = |path: &Path| {
        all_stays
            || planned.contains(path)
            || desired.own.contains_key(path)
            || desired.kept.contains(path)
    };
    let mut users = std::mem::take(&mut desired.users);
    if all_stays {
        users.extend(earlier.users().clone());
    }
    let written = earlier.followed_by(&desired.own, keep, users);
    let gone = earlier.without(root, keep);
    desired.own.extend(gone);
    let mut tree = desired.own;
    tree.extend(desired.accounts);
    let obstacles = preflight::obstacles(root, &tree);
    let mut refusals = desired.refusals;
    refusals.extend(obstacles.iter().map(ToString::to_string));
    Ok(Prepared {
        tree,
        refusals,
        warnings: desired.warnings,
        written,
    })
}

impl Prepared {
    /// Warnings and refusals, one line each, on standard error.
    pub fn report(&self) {
        for warning in &self.warnings {
            eprintln!("strake: warning: {warning}");
        }
        for refusal in &self.refusals {
            eprintln!("strake: error: {refusal}");
        }
    }

    /// The changes without those to the program's own list.
    pub fn write(mut self, root: &Root) -> Result<Vec<Change>> {
        self.tree.insert(PathBuf::from(LIST), self.written.node()?);
        let mut changes = write::write(root, &self.tree)?;
        changes.retain(|change| change.path != Path::new(LIST));
        Ok(changes)
    }
}

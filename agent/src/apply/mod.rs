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

use anyhow::Result;
use strake_cloud_config::Plan;

pub use desired::Moment;
use tree::Tree;
use write::Change;

use crate::root::Root;

/// What applying a plan comes to, before it is done.
#[derive(Debug)]
pub struct Prepared {
    pub tree: Tree,
    /// Nothing may be written unless this is empty.
    pub refusals: Vec<String>,
    pub warnings: Vec<String>,
}

pub fn prepare(root: &Root, plan: &Plan, moment: Moment) -> Result<Prepared> {
    let desired = desired::desired(root, plan, moment)?;
    let obstacles = preflight::obstacles(root, &desired.tree);
    let mut refusals = desired.refusals;
    refusals.extend(obstacles.iter().map(ToString::to_string));
    Ok(Prepared {
        tree: desired.tree,
        refusals,
        warnings: desired.warnings,
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

    pub fn write(&self, root: &Root) -> Result<Vec<Change>, write::Error> {
        write::write(root, &self.tree)
    }
}

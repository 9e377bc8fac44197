//! `strake config diff`: drift between the config in force and the disk.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use strake_cloud_config::Plan;
use strake_cloud_config::plan::Body;

use super::RootArg;
use crate::apply::tree::{self, Difference};
use crate::apply::written::Leftovers;
use crate::apply::{self, Moment};
use crate::cli::output::{Output, columns};
use crate::config::running::Running;
use crate::config::{context, fetched};
use crate::exit::Exit;
use crate::root::Root;

#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    #[command(flatten)]
    root: RootArg,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Drift {
    path: PathBuf,
    difference: Difference,
}

impl Diff {
    pub(super) fn run(self) -> Result<Exit> {
        let root = self.root.root();
        let running = Running::load(&root)?;
        let (addresses, moment) = if root.is_machine() {
            let wanted = running.check(Default::default()).config.unwrap_or_default();
            (
                running.addresses(&root, &wanted.strake.addresses)?,
                Moment::Running,
            )
        } else {
            (Default::default(), Moment::Offline)
        };
        let plan = running
            .check(context(&root, addresses))
            .plan()
            .context("the config in force has errors")?;
        let plan = fetched::known(&root, plan);
        let prepared = apply::prepare(&root, &plan, moment, Leftovers::Go)?;
        let drift: Vec<Drift> = tree::differences(&root, &prepared.tree)
            .context("comparing with the disk")?
            .into_iter()
            .map(|(path, _, difference)| Drift {
                path: path.to_path_buf(),
                difference,
            })
            .chain(not_fetched(&root, &plan))
            .collect();
        let table = || {
            let row =
                |row: &Drift| vec![row.difference.to_string(), row.path.display().to_string()];
            columns(&drift.iter().map(row).collect::<Vec<_>>())
        };
        self.output.print(&drift, table)?;
        Ok(if drift.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

/// Files from the network that are not, or not as the config says, on disk.
fn not_fetched(root: &Root, plan: &Plan) -> impl Iterator<Item = Drift> {
    let files = plan.files.iter();
    files
        .filter(|file| matches!(file.body, Body::Source(_)))
        .map(|file| {
            let path = PathBuf::from(&file.path);
            let there = root.locate(&path).is_ok_and(|real| real.exists());
            let difference = match there {
                true => Difference::Content,
                false => Difference::Missing,
            };
            Drift { path, difference }
        })
}

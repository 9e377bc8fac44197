//! `strake config diff`: drift between the config in force and the disk.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::RootArg;
use crate::apply::tree::{self, Difference};
use crate::apply::{self, Moment};
use crate::cli::output::{Output, columns};
use crate::config::running::Running;
use crate::config::{context, fetched};
use crate::exit::Exit;

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
        let prepared = apply::prepare(&root, &plan, moment)?;
        let drift: Vec<Drift> = tree::differences(&root, &prepared.tree)
            .context("comparing with the disk")?
            .into_iter()
            .map(|(path, _, difference)| Drift {
                path: path.to_path_buf(),
                difference,
            })
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

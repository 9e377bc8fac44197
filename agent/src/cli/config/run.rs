//! `strake config run`: the network phase. Everything that waited for an address is applied.

use anyhow::{Context, Result};
use clap::Args;

use super::{RootArg, make_live, refuse_other_systems};
use crate::apply::jobs::{Occasion, waiting};
use crate::apply::{self, Moment};
use crate::config::running::Running;
use crate::config::{addresses, context};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    #[command(flatten)]
    root: RootArg,
}

impl Run {
    pub(super) fn run(self) -> Result<Exit> {
        let root = self.root.root();
        if let Err(exit) = refuse_other_systems(&root) {
            return Ok(exit);
        }
        let running = Running::load(&root)?;
        let before = running.check(Default::default());
        let waited = before.plan().map(|plan| waiting(&plan)).unwrap_or_default();
        let wanted = before.config.unwrap_or_default();
        let addresses = addresses::of_machine(&root, &wanted.strake.addresses)?;
        let plan = running
            .check(context(&root, addresses))
            .plan()
            .context("the config in force has errors")?;
        let prepared = apply::prepare(&root, &plan, Moment::Running)?;
        prepared.report();
        if !prepared.refusals.is_empty() {
            return Ok(Exit::BadInput);
        }
        let changes = prepared.write(&root).context("applying")?;
        make_live(&root, &plan, &changes, &Occasion::Boot { waited })?;
        Ok(if changes.is_empty() {
            Exit::NothingToDo
        } else {
            Exit::Done
        })
    }
}

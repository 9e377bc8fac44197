//! `strake config show`: what is in force.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use strake_cloud_config::Plan;

use super::RootArg;
use crate::cli::output::{Output, columns};
use crate::config::context;
use crate::config::record::Record;
use crate::config::running::Running;
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    root: RootArg,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct InForce {
    #[serde(flatten)]
    record: Record,
    plan: Option<Plan>,
}

impl Show {
    pub(super) fn run(self) -> Result<Exit> {
        let root = self.root.root();
        let running = Running::load(&root)?;
        let plan = running.check(context(&root, Default::default())).plan();
        let shown = InForce {
            record: running.record,
            plan,
        };
        self.output.print(&shown, || shown.table())?;
        Ok(Exit::Done)
    }
}

impl InForce {
    fn table(&self) -> String {
        let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_string());
        let row = |key: &str, value: String| vec![key.to_string(), value];
        let mut text = columns(&[
            row("source", dash(&self.record.source)),
            row("digest", dash(&self.record.digest)),
            row("outcome", self.record.outcome.word().to_string()),
        ]);
        for problem in &self.record.problems {
            text += &format!("problem  {problem}\n");
        }
        if let Some(plan) = &self.plan {
            text += &format!("\n{plan}");
        }
        text
    }
}

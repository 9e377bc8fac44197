//! `strake config plan`: the dry run, independent of any machine.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use strake_cloud_config::report;
use strake_cloud_config::{Context, check, plan};

use super::read_input;
use crate::cli::output::{Output, style};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(in crate::cli) struct Plan {
    /// The file to plan; `-` is standard input
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Plan {
    pub(super) fn run(self) -> Result<Exit> {
        let text = match read_input(&self.file) {
            Ok(text) => text,
            Err(exit) => return Ok(exit),
        };
        let context = Context::default();
        let checked = check(&text.bytes, &context);
        let stderr = std::io::stderr();
        eprint!(
            "{}",
            report::human(&checked.problems, &text.name, style(&stderr))
        );
        let Some(config) = checked.config else {
            return Ok(Exit::BadInput);
        };
        let plan = plan(&config, &context);
        self.output.print(&plan, || plan.to_string())?;
        Ok(Exit::Done)
    }
}

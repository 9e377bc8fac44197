//! `strake-image inspect`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::build::{Output, print_artifacts};
use crate::inspect::{Findings, inspect};

#[derive(Debug, Args)]
pub(super) struct InspectArguments {
    /// A raw disk image, or the directory of a build
    #[arg(value_name = "DISK|DIR")]
    path: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(arguments: &InspectArguments) -> Result<()> {
    let findings = inspect(&arguments.path)?;
    if arguments.output == Output::Json {
        let text = serde_json::to_string_pretty(&findings).context("writing the findings")?;
        println!("{text}");
        return Ok(());
    }
    match findings {
        Findings::Release(release) => {
            print_artifacts(&release);
        }
        Findings::Disk(partitions) => {
            println!(
                "{:14} {:>12} {:>12}  {:36}  TYPE",
                "LABEL", "START MiB", "SIZE MiB", "UUID"
            );
            for part in partitions {
                let (start, size) = (part.start >> 20, part.size >> 20);
                println!(
                    "{:14} {start:>12} {size:>12}  {}  {}",
                    part.label, part.uuid, part.kind
                );
            }
        }
    }
    Ok(())
}

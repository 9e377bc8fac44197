//! `strake config validate`: every problem, with line, column and hint.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use strake_cloud_config::check;
use strake_cloud_config::report;

use super::read_input;
use crate::cli::output::{print, style};
use crate::config::Finding;
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(in crate::cli) struct Validate {
    /// The file to check; `-` is standard input
    file: PathBuf,
    /// How to print the problems
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Yaml,
    /// Static Analysis Results Interchange Format, for editors
    Sarif,
}

impl Validate {
    pub(super) fn run(self) -> Result<Exit> {
        let text = match read_input(&self.file) {
            Ok(text) => text,
            Err(exit) => return Ok(exit),
        };
        let checked = check(&text.bytes, &Default::default());
        let findings = || -> Vec<Finding> {
            let of = |problem: &_| Finding {
                source: text.name.clone(),
                problem: Clone::clone(problem),
            };
            checked.problems.iter().map(of).collect()
        };
        print(&match self.format {
            Format::Table => {
                report::human(&checked.problems, &text.name, style(&std::io::stdout()))
            }
            Format::Json => {
                serde_json::to_string_pretty(&findings()).context("writing the problems as JSON")?
                    + "\n"
            }
            Format::Yaml => {
                serde_yaml::to_string(&findings()).context("writing the problems as YAML")?
            }
            Format::Sarif => report::sarif(&checked.problems, &text.name),
        });
        Ok(if checked.has_errors() {
            Exit::BadInput
        } else {
            Exit::Done
        })
    }
}

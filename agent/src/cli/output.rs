//! Printing results: a table for people, JSON or YAML for programs.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;
use strake_cloud_config::report::Style;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Output {
    /// How to print the result
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

impl Output {
    /// For people, who may be told more than the value.
    pub(super) fn is_table(self) -> bool {
        self.format == Format::Table
    }

    /// `table` is only made when it is what is printed.
    pub(super) fn print<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce() -> String,
    ) -> Result<()> {
        let text = match self.format {
            Format::Table => table(),
            Format::Json => {
                serde_json::to_string_pretty(value).context("writing the result as JSON")? + "\n"
            }
            Format::Yaml => serde_yaml::to_string(value).context("writing the result as YAML")?,
        };
        print(&text);
        Ok(())
    }
}

/// Whoever closed the pipe has seen enough; that is no failure.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    /// Closed the pipe: nothing more needs to be fetched.
    Gone,
}

/// A part of something that comes bit by bit.
pub(super) fn write(part: &[u8]) -> Reader {
    let mut out = std::io::stdout().lock();
    match out.write_all(part).and_then(|()| out.flush()) {
        Ok(()) => Reader::There,
        Err(_) => Reader::Gone,
    }
}

pub(super) fn style(stream: &impl IsTerminal) -> Style {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && stream.is_terminal() {
        Style::Ansi
    } else {
        Style::Plain
    }
}

/// Rows with aligned columns, no trailing blanks.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

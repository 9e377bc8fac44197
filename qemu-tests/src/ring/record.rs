//! `docs/test-report.md`: how the last full run ended, and of what.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::Totals;
use crate::tools::run;
use crate::workspace::Workspace;

pub fn record(workspace: &Workspace, lines: &[String], totals: Totals) -> Result<()> {
    let git = |arguments: &[&str]| {
        run(Command::new("git")
            .current_dir(workspace.root())
            .args(arguments))
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let path = workspace.root().join("docs/test-report.md");
    let text = text(commit.trim(), !changed.trim().is_empty(), lines, totals);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn text(commit: &str, has_changes: bool, lines: &[String], totals: Totals) -> String {
    let changes = if has_changes {
        ", with changes that are not committed"
    } else {
        ""
    };
    let rings: String = lines.iter().map(|line| format!("- {line}\n")).collect();
    format!(
        "# Last full test run\n\nWritten by `cargo lab test --full`.\n\n\
         Commit {commit}{changes}.\n\n{rings}\n**{totals}**\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_commit_and_counts() {
        let totals = Totals {
            passed: 7,
            failed: 0,
            skipped: 1,
        };
        let report = text(
            "0123456789ab",
            true,
            &["tests: 7 passed (1.0 s)".to_owned()],
            totals,
        );
        let expected = "# Last full test run\n\nWritten by `cargo lab test --full`.\n\n\
            Commit 0123456789ab, with changes that are not committed.\n\n\
            - tests: 7 passed (1.0 s)\n\n**7 passed, 0 failed, 1 skipped**\n";
        assert_eq!(report, expected);
    }
}

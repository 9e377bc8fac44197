//! The rings of `cargo lab test`: static checks, the workspace's own tests, machines in QEMU.

mod checks;
mod libtest;
mod policy;
mod record;
mod workspace_tests;

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

pub use checks::checks;
pub use record::record;
pub use workspace_tests::workspace_tests;

use crate::progress::seconds;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            formatter,
            "{passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

/// How one named step of a ring ended.
#[derive(Debug)]
pub enum Verdict {
    Passed,
    Failed(anyhow::Error),
    Skipped(String),
}

/// Prints a step's line, counts it, and shows why it failed.
pub fn report(totals: &mut Totals, name: &str, took: Duration, verdict: &Verdict) {
    let word = match verdict {
        Verdict::Passed => {
            totals.passed += 1;
            "ok"
        }
        Verdict::Failed(_) => {
            totals.failed += 1;
            "FAILED"
        }
        Verdict::Skipped(_) => {
            totals.skipped += 1;
            "skipped"
        }
    };
    println!("{word:7} {:>8}  {name}", seconds(took));
    match verdict {
        Verdict::Passed => {}
        Verdict::Failed(error) => println!("{}", indent(&format!("{error:#}"))),
        Verdict::Skipped(reason) => println!("{}", indent(reason)),
    }
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("        {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A name is asked for when nothing is, or when one of the wanted words is in it.
pub fn is_wanted(wanted: &[String], name: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_and_read_as_the_last_line_promises() {
        let mut totals = Totals {
            passed: 3,
            failed: 0,
            skipped: 1,
        };
        totals += Totals {
            passed: 4,
            failed: 2,
            skipped: 0,
        };
        assert_eq!(totals.to_string(), "7 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn a_filter_is_a_part_of_a_name() {
        let wanted = ["etc".to_owned()];
        assert!(is_wanted(&wanted, "node: edits below /etc vanish"));
        assert!(!is_wanted(&wanted, "format"));
        assert!(is_wanted(&[], "format"));
    }
}

//! The last lines that a unit wrote.

use std::time::Duration;

use tokio::process::Command;

const LINES: &str = "20";
const LONGEST: usize = 400;
const PATIENCE: Duration = Duration::from_secs(10);

/// From this second since 1970 on. Nothing when the journal cannot be read: how the unit ended is worth more than its last words.
pub(super) async fn tail(unit: &str, since: u64) -> Vec<String> {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=cat", "--lines", LINES]);
    command.args(["--unit", unit, "--since", &format!("@{since}")]);
    command.kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => shortened(&String::from_utf8_lossy(&output.stdout)),
        _ => Vec::new(),
    }
}

fn shortened(text: &str) -> Vec<String> {
    let plain = |line: &str| -> String {
        let line = line.chars().filter(|c| !c.is_control() || *c == '\t');
        line.take(LONGEST).collect()
    };
    text.lines().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shortened_and_freed_of_control_characters() {
        let text = format!("a\u{1b}[1mb\n{}\n", "é".repeat(500));
        let lines = shortened(&text);
        assert_eq!(lines[0], "a[1mb");
        assert_eq!(lines[1].chars().count(), LONGEST);
    }
}

use std::fmt::Write;

use crate::problem::{Level, Problem};

/// Whether the reader sees colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Ansi,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::Error => "31",
        Level::Warning => "33",
        Level::Info => "36",
    }
}

/// Each problem with its line, a mark under the place and the hint, then a sum. Nothing for none.
pub fn human(problems: &[Problem], name: &str, style: Style) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    for problem in problems {
        render(&mut text, problem, name, style);
        text.push('\n');
    }
    let count = |level: Level| {
        problems
            .iter()
            .filter(|problem| problem.level == level)
            .count()
    };
    text.push_str(&format!(
        "{}, {}\n",
        counted(count(Level::Error), "error"),
        counted(count(Level::Warning), "warning")
    ));
    text
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

// Writing to a string cannot fail.
fn render(text: &mut String, problem: &Problem, name: &str, style: Style) {
    let level = style.paint(
        &format!("1;{}", colour(problem.level)),
        &problem.level.to_string(),
    );
    let _ = writeln!(
        text,
        "{level}{}",
        style.paint("1", &format!(": {}", problem.message))
    );
    let number = problem.line.to_string();
    let margin = " ".repeat(number.len());
    let part = problem
        .part
        .map(|part| format!(", part {part}"))
        .unwrap_or_default();
    let key = if problem.key.is_empty() {
        String::new()
    } else {
        format!("  {}", problem.key)
    };
    let arrow = style.paint("34", "-->");
    let _ = writeln!(
        text,
        "{margin}{arrow} {name}:{number}:{}{part}{key}",
        problem.column
    );
    let bar = style.paint("34", "|");
    let Some(snippet) = &problem.snippet else {
        if let Some(hint) = &problem.hint {
            let _ = writeln!(text, "{margin} {} {hint}", style.paint("34", "="));
        }
        return;
    };
    let shown: String = snippet.text.chars().map(visible).collect();
    let before = problem.column.saturating_sub(snippet.first_column) as usize;
    let width = shown.chars().count().saturating_sub(before).max(1);
    let marks = "^".repeat((problem.length as usize).min(width));
    let hint = problem
        .hint
        .as_deref()
        .map(|hint| format!(" {hint}"))
        .unwrap_or_default();
    let mark = style.paint(colour(problem.level), &format!("{marks}{hint}"));
    let _ = writeln!(text, "{margin} {bar}");
    let _ = writeln!(text, "{} {bar} {shown}", style.paint("34", &number));
    let _ = writeln!(text, "{margin} {bar} {}{mark}", " ".repeat(before));
}

/// A character that takes one column and does nothing to the terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

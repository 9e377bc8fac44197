//! Problems as text.

use strake_cloud_config::Problem;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Ansi,
}

pub(super) fn coreos(problems: &[Problem]) -> String {
    let line = |p: &Problem| format!("line {}: {}: {}\n", p.line, p.level, p.message);
    problems.iter().map(line).collect()
}

pub(super) fn human(problems: &[Problem], name: &str, _style: Style) -> String {
    problems
        .iter()
        .map(|problem| format!("{name}: {problem}\n"))
        .collect()
}

//! `strake update status | history`: what is known without asking anybody.

use std::fmt::Write as _;

use anyhow::Result;

use crate::cli::output::{Output, columns};
use crate::exit::Exit;
use crate::root::Root;
use crate::update::history::{self, Event};
use crate::update::status::{Status, collect};

pub(super) fn status(root: &Root, output: Output) -> Result<Exit> {
    let status = collect(root);
    output.print(&status, || table(&status))?;
    Ok(Exit::Done)
}

pub(super) fn history(root: &Root, output: Output) -> Result<Exit> {
    let events = history::read(root);
    output.print(&events, || {
        let row = |event: &Event| {
            vec![
                event.time.to_string(),
                event.what.word().to_owned(),
                event.version.to_string(),
                event.note.clone(),
            ]
        };
        columns(&events.iter().map(row).collect::<Vec<_>>())
    })?;
    Ok(Exit::Done)
}

fn table(status: &Status) -> String {
    fn known<T: ToString>(value: Option<T>, otherwise: &str) -> String {
        value.map_or(otherwise.to_owned(), |value| value.to_string())
    }
    let mut rows = Vec::new();
    let mut row = |key: &str, value: String| rows.push(vec![key.to_owned(), value]);
    let blessed = match status.blessed {
        Some(true) => "blessed",
        Some(false) => "on trial: nothing is installed until it is blessed",
        None => "not known whether blessed",
    };
    row(
        "running",
        format!("{}, {blessed}", known(status.running, "unknown")),
    );
    row("channel", known(status.channel.as_ref(), "unknown"));
    row(
        "server",
        known(status.server.as_ref(), "none: updates are off"),
    );
    if let Some(pinned) = status.pinned {
        row("pinned to", pinned.to_string());
    }
    match (status.staged, status.fallback) {
        (Some(staged), _) => row("staged", format!("{staged}, reboot to use it")),
        (None, Some(other)) => row("passive slot", format!("{other}, to roll back to")),
        (None, None) if status.blessed.is_none() => row("passive slot", "not known".to_owned()),
        (None, None) => row("passive slot", "no release".to_owned()),
    }
    let operation = status
        .operation
        .strip_prefix("UPDATE_STATUS_")
        .unwrap_or_default();
    let operation = operation.to_lowercase().replace('_', " ");
    row(
        "doing",
        match operation.as_str() {
            "downloading" | "verifying" => format!("{operation} {:.0} %", status.progress * 100.0),
            _ => operation,
        },
    );
    row(
        "last check",
        known(status.last_check, "never since the boot"),
    );
    if let Some(next) = status.next_check {
        row("next check", next.to_string());
    }
    if let Some(error) = &status.last_error {
        row("last error", format!("{}: {}", error.time, error.text));
    }
    for alarm in &status.alarms {
        row("ALARM", alarm.text.clone());
    }
    for refusal in &status.refused {
        row(
            "refused",
            format!("{}, {}: {}", refusal.version, refusal.time, refusal.cause),
        );
    }
    for reason in &status.not_known {
        rows.push(vec!["not known".to_owned(), reason.clone()]);
    }
    if !status.not_known.is_empty() && !nix::unistd::geteuid().is_root() {
        rows.push(vec![String::new(), "root is told more".to_owned()]);
    }
    let mut text = columns(&rows);
    if let Some(refusal) = status
        .refused
        .first()
        .filter(|refusal| !refusal.journal.is_empty())
    {
        let _ = writeln!(text, "\nlast lines of {}:", refusal.version);
        for line in &refusal.journal {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

//! `coreos`, but for its units.

use std::collections::BTreeMap;

use super::view::{View, flag, integer, number};
use crate::config::{Daemon, Oem, RebootStrategy, Setting, Update};
use crate::schema::{Kind, daemon_table, daemon_variable};

pub(super) fn oem(coreos: View<'_>) -> Oem {
    let Some(view) = coreos.map("oem") else {
        return Oem::default();
    };
    Oem {
        id: view.string("id"),
        name: view.string("name"),
        version_id: view.string("version_id"),
        home_url: view.string("home_url"),
        bug_report_url: view.string("bug_report_url"),
    }
}

pub(super) fn update(coreos: View<'_>) -> Update {
    let Some(view) = coreos.map("update") else {
        return Update::default();
    };
    Update {
        reboot_strategy: view.text("reboot_strategy").and_then(RebootStrategy::parse),
        group: view.string("group"),
        server: view.string("server"),
    }
}

pub(super) fn daemons(coreos: View<'_>) -> BTreeMap<Daemon, Vec<Setting>> {
    let read = |daemon: Daemon| {
        let settings = settings(daemon, coreos.map(daemon.key())?);
        (!settings.is_empty()).then_some((daemon, settings))
    };
    Daemon::ALL.into_iter().filter_map(read).collect()
}

/// In the order of the table. What is zero, false or empty is the same as not given.
fn settings(daemon: Daemon, view: View<'_>) -> Vec<Setting> {
    let keys = daemon_table(daemon).keys.iter();
    let setting = |key: &crate::schema::Key| {
        let value = environment_value(&key.kind, view.text(key.name)?)?;
        Some(Setting {
            variable: daemon_variable(daemon, key.name),
            value,
        })
    };
    keys.filter_map(setting).collect()
}

fn environment_value(kind: &Kind, text: &str) -> Option<String> {
    match kind {
        Kind::Flag => flag(text)?.then(|| "true".to_owned()),
        Kind::Integer { .. } => integer(text)
            .filter(|value| *value != 0)
            .map(|v| v.to_string()),
        Kind::Number => number(text)
            .filter(|value| *value != 0.0)
            .map(|v| v.to_string()),
        _ => Some(text.to_owned()),
    }
}

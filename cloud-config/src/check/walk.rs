//! Goes over the document with the schema: unknown and repeated keys, missing keys, types,
//! allowed values and formats. What needs more than one value is checked by the readers.

use super::findings::{Findings, Path, shown};
use super::view::{flag, integer, is_quoted, number};
use crate::document::{Entry, Node, Value};
use crate::problem::{Level, Rule};
use crate::schema::{COREOS, Format, Key, Kind, ROOT, Table, nearest, same_name};
use crate::substitution::with_samples;

pub(crate) fn walk(
    node: &Node<'_>,
    table: &'static Table,
    path: &Path<'_>,
    out: &mut Findings<'_>,
) {
    let Value::Map(entries) = &node.value else {
        return;
    };
    let mut seen = vec![false; table.keys.len()];
    for entry in entries {
        let Some(name) = entry.key.text() else {
            continue;
        };
        let Some(index) = table.keys.iter().position(|key| same_name(key.name, name)) else {
            unknown(entry, name, table, path, out);
            continue;
        };
        let key = &table.keys[index];
        let path = path.key(key.name);
        if std::mem::replace(&mut seen[index], true) {
            repeated(entry, entries, name, &path, out);
        }
        if let Some(reason) = key.deprecated {
            let message = format!("deprecated key \"{}\" ({reason})", key.name);
            out.add(
                (Level::Warning, Rule::DeprecatedKey),
                &entry.key.span,
                &path,
                message,
            );
        }
        value(entry, key, &path, out);
    }
    for (key, _) in table
        .keys
        .iter()
        .zip(seen)
        .filter(|(key, seen)| key.required && !seen)
    {
        let message = format!("the {} has no \"{}\"", table.name, key.name);
        let place = node.span.start..node.span.start + 1;
        out.add((Level::Error, Rule::MissingKey), &place, path, message)
            .hint(format!("add {}: {}", key.name, key.example));
    }
}

/// Exact repetition is a fault of the document; this is about `a-b` beside `a_b`.
fn repeated(
    entry: &Entry<'_>,
    all: &[Entry<'_>],
    name: &str,
    path: &Path<'_>,
    out: &mut Findings<'_>,
) {
    let before = all.iter().take_while(|other| !std::ptr::eq(*other, entry));
    if before
        .filter_map(|other| other.key.text())
        .any(|other| other == name)
    {
        return;
    }
    let message = format!("the key \"{}\" is given twice in this mapping", shown(name));
    out.add(
        (Level::Error, Rule::DuplicateKey),
        &entry.key.span,
        path,
        message,
    )
    .hint("hyphen and underscore are the same in a key");
}

fn value(entry: &Entry<'_>, key: &'static Key, path: &Path<'_>, out: &mut Findings<'_>) {
    let empty = match &entry.value.value {
        Value::Null => true,
        Value::Scalar(text, _) => text.is_empty() && key.required,
        _ => false,
    };
    if !empty {
        return typed(&entry.value, &key.kind, key.name, path, out);
    }
    let message = format!("the key \"{}\" has no value", key.name);
    let level = if key.required {
        Level::Error
    } else {
        Level::Warning
    };
    out.add((level, Rule::EmptyValue), &entry.key.span, path, message);
}

fn typed(
    node: &Node<'_>,
    kind: &'static Kind,
    name: &str,
    path: &Path<'_>,
    out: &mut Findings<'_>,
) {
    match (kind, &node.value) {
        (Kind::Text(format), Value::Scalar(text, _)) => formatted(node, text, format, path, out),
        (Kind::Choice(names), Value::Scalar(text, _)) => choice(node, text, names, path, out),
        (Kind::Flag, Value::Scalar(text, _)) if flag(text).is_some() => {
            unquoted(node, kind, name, path, out);
        }
        (Kind::Integer { min, max }, Value::Scalar(text, _)) if integer(text).is_some() => {
            unquoted(node, kind, name, path, out);
            if integer(text).is_none_or(|value| value < *min || value > *max) {
                let hint = format!("from {min} to {max}");
                invalid(node, text, path, out, hint);
            }
        }
        (Kind::Number, Value::Scalar(text, _)) if number(text).is_some() => {
            unquoted(node, kind, name, path, out);
            if number(text).is_none_or(|value| value < 0.0) {
                invalid(node, text, path, out, "not below zero".to_owned());
            }
        }
        (Kind::List(kind), Value::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                element(item, kind, name, &path.index(index), out);
            }
        }
        (Kind::Map(table), Value::Map(_)) => walk(node, table, path, out),
        (Kind::Pairs(format, kind), Value::Map(entries)) => {
            for entry in entries {
                let Some(text) = entry.key.text() else {
                    continue;
                };
                let path = path.key(text);
                formatted(&entry.key, text, format, &path, out);
                element(&entry.value, kind, text, &path, out);
            }
        }
        _ => wrong_type(node, kind, name, path, out),
    }
}

fn element(
    node: &Node<'_>,
    kind: &'static Kind,
    name: &str,
    path: &Path<'_>,
    out: &mut Findings<'_>,
) {
    if matches!(node.value, Value::Null) {
        let message = format!("an entry of \"{}\" has no value", shown(name));
        out.add(
            (Level::Warning, Rule::EmptyValue),
            &node.span,
            path,
            message,
        );
        return;
    }
    typed(node, kind, name, path, out);
}

fn formatted(
    node: &Node<'_>,
    text: &str,
    format: &Format,
    path: &Path<'_>,
    out: &mut Findings<'_>,
) {
    if text.is_empty() {
        return;
    }
    if let Err(fault) = (format.check)(&with_samples(text)) {
        let message = fault
            .message
            .unwrap_or_else(|| format!("invalid value {}", shown(text)));
        out.add((fault.level, fault.rule), &node.span, path, message)
            .hint(fault.hint);
    }
}

fn choice(node: &Node<'_>, text: &str, names: &[&str], path: &Path<'_>, out: &mut Findings<'_>) {
    if names.contains(&text) || text.is_empty() {
        return;
    }
    let known: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| !name.is_empty())
        .collect();
    let hint = match nearest(text, known.iter().copied()) {
        Some(name) => format!("did you mean {name}? Allowed: {}", known.join(", ")),
        None => format!("allowed: {}", known.join(", ")),
    };
    invalid(node, text, path, out, hint);
}

fn invalid(node: &Node<'_>, text: &str, path: &Path<'_>, out: &mut Findings<'_>, hint: String) {
    let message = format!("invalid value {}", shown(text));
    out.add(
        (Level::Error, Rule::InvalidValue),
        &node.span,
        path,
        message,
    )
    .hint(hint);
}

/// A quoted number or truth value is clear enough to be used, and still worth a word.
fn unquoted(node: &Node<'_>, kind: &Kind, name: &str, path: &Path<'_>, out: &mut Findings<'_>) {
    if is_quoted(node) {
        let message = format!(
            "incorrect type for \"{}\" (want {})",
            shown(name),
            kind.wanted()
        );
        out.add((Level::Warning, Rule::WrongType), &node.span, path, message)
            .hint("write it without quotes");
    }
}

fn wrong_type(node: &Node<'_>, kind: &Kind, name: &str, path: &Path<'_>, out: &mut Findings<'_>) {
    let message = format!(
        "incorrect type for \"{}\" (want {})",
        shown(name),
        kind.wanted()
    );
    let place = match &node.value {
        Value::List(_) | Value::Map(_) => node.span.start..node.span.start + 1,
        _ => node.span.clone(),
    };
    let hint = match (kind, &node.value) {
        (Kind::List(Kind::Map(_)), Value::Map(_)) => {
            "begin each entry with a hyphen: - name: value"
        }
        (Kind::List(_), Value::Scalar(..)) => "write it as a list: [value]",
        (Kind::Flag, _) => "write true or false",
        (Kind::Integer { .. }, _) => "write a whole number",
        (Kind::Number, _) => "write a number",
        (Kind::Map(_) | Kind::Pairs(..), _) => "write its keys below it, indented",
        (_, Value::List(_)) => "write one value, not a list",
        (_, Value::Map(_)) => "write one value; quote it if it holds \": \"",
        _ => "see the reference",
    };
    out.add((Level::Error, Rule::WrongType), &place, path, message)
        .hint(hint);
}

fn unknown(entry: &Entry<'_>, name: &str, table: &Table, path: &Path<'_>, out: &mut Findings<'_>) {
    let written = shown(name).replace('-', "_");
    if out.is_full() {
        out.add(
            (Level::Warning, Rule::UnknownKey),
            &entry.key.span,
            path,
            "",
        )
        .hint("");
        return;
    }
    let here = path.key(name);
    if std::ptr::eq(table, &raw const COREOS) && same_name("write_files", name) {
        let message = "write_files doesn't belong under coreos";
        out.add(
            (Level::Info, Rule::MisplacedKey),
            &entry.key.span,
            &here,
            message,
        );
    }
    let finding = out.add(
        (Level::Warning, Rule::UnknownKey),
        &entry.key.span,
        &here,
        format!("unrecognized key \"{written}\""),
    );
    if let Some(hint) = where_it_belongs(name, table) {
        finding.hint(hint);
    }
}

fn where_it_belongs(name: &str, table: &Table) -> Option<String> {
    if let Some(near) = nearest(name, table.keys.iter().map(|key| key.name)) {
        return Some(format!("did you mean {near}?"));
    }
    if ROOT.key(name).is_some() {
        return Some("this key belongs at the top level".into());
    }
    if COREOS.key(name).is_some() {
        return Some("this key belongs under coreos".into());
    }
    let hint = match name {
        "runcmd" | "bootcmd" => "write a unit of Type=oneshot under coreos.units",
        "packages" | "package_update" | "package_upgrade" => {
            "the system has no packages: run it in a container"
        }
        "disk_setup" | "fs_setup" | "growpart" => "the data partition grows by itself",
        "chpasswd" | "password" => "give the user a passwd hash under users",
        "fqdn" => "use hostname",
        _ => return None,
    };
    Some(hint.to_owned())
}

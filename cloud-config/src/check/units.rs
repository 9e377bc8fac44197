//! `coreos.units`.

use std::collections::{HashMap, HashSet};

use super::findings::{Findings, Path, shown};
use super::unit_content::check_lines;
use super::unit_whole::check_whole;
use super::view::View;
use crate::config::{Command, DropIn, Unit, UnitGroup};
use crate::install::Install;
use crate::problem::{Level, Rule};
use crate::unit_name::UnitName;

pub(super) fn read(coreos: View<'_>, path: &Path<'_>, out: &mut Findings<'_>) -> Vec<Unit> {
    let path = path.key("units");
    let mut units: Vec<Unit> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (index, view) in coreos.views("units") {
        let path = path.index(index);
        let unit = read_one(view, &path, out);
        let Ok(name) = UnitName::parse(&unit.name) else {
            continue;
        };
        check(view, &unit, &name, &path, out);
        match known.get(&unit.name) {
            Some(index) => join(&mut units[*index], unit, view, &path, out),
            None => {
                known.insert(unit.name.clone(), units.len());
                units.push(unit);
            }
        }
    }
    units
}

fn read_one(view: View<'_>, path: &Path<'_>, out: &mut Findings<'_>) -> Unit {
    Unit {
        name: view.string("name").unwrap_or_default(),
        runtime: view.flag("runtime").unwrap_or_default(),
        content: view.string("content"),
        drop_ins: drop_ins(view, path, out),
        mask: view.flag("mask").unwrap_or_default(),
        enable: view.flag("enable"),
        command: view.text("command").and_then(Command::parse),
    }
}

fn drop_ins(view: View<'_>, path: &Path<'_>, out: &mut Findings<'_>) -> Vec<DropIn> {
    let path = path.key("drop_ins");
    let mut drop_ins: Vec<DropIn> = Vec::new();
    let mut names = HashSet::new();
    for (index, view) in view.views("drop_ins") {
        let Some(name) = view.string("name") else {
            continue;
        };
        if !names.insert(name.clone()) {
            let message = format!("the drop-in {} is given twice", shown(&name));
            let path = path.index(index);
            out.add(
                (Level::Error, Rule::DuplicateEntry),
                &place(view),
                &path,
                message,
            )
            .hint("join the two, or give one another name");
            continue;
        }
        let content = view.string("content").unwrap_or_default();
        drop_ins.push(DropIn { name, content });
    }
    drop_ins
}

/// Where a problem with an entry as a whole is shown: at its name.
fn place(view: View<'_>) -> std::ops::Range<usize> {
    let start = view.node().span.start;
    view.get("name")
        .map_or(start..start + 1, |name| name.span.clone())
}

fn check(view: View<'_>, unit: &Unit, name: &UnitName, path: &Path<'_>, out: &mut Findings<'_>) {
    if let Some(node) = view.get("content").filter(|_| unit.content.is_some()) {
        let path = path.key("content");
        check_lines(name, node, &path, out);
        let texts: Vec<&str> = unit
            .drop_ins
            .iter()
            .map(|drop_in| &*drop_in.content)
            .collect();
        check_whole(name, node, &texts, &path, out);
    }
    let drop_in_path = path.key("drop_ins");
    for (index, drop_in) in view.views("drop_ins") {
        let Some(node) = drop_in.get("content") else {
            continue;
        };
        let path = drop_in_path.index(index);
        check_lines(name, node, &path.key("content"), out);
    }
    for (key, message, hint) in useless(unit, name) {
        let place = view
            .get(key)
            .map_or_else(|| place(view), |node| node.span.clone());
        out.add(
            (Level::Warning, Rule::NoEffect),
            &place,
            &path.key(key),
            message,
        )
        .hint(hint);
    }
}

type Useless = (&'static str, &'static str, &'static str);

/// Settings that do nothing beside the others of the same unit.
fn useless(unit: &Unit, name: &UnitName) -> Vec<Useless> {
    let mut useless = Vec::new();
    let network = unit.group() == UnitGroup::Network;
    let starts = unit.command.is_some_and(Command::starts);
    if network && unit.command.is_some() {
        useless.push((
            "command",
            "a file of networkd is not started",
            "remove it: networkd reads all files when it starts",
        ));
    }
    if network && unit.enable == Some(true) {
        useless.push(("enable", "a file of networkd is not enabled", "remove it"));
    }
    if unit.mask && (unit.content.is_some() || !unit.drop_ins.is_empty()) {
        useless.push((
            "mask",
            "a masked unit has no content",
            "remove one of the two",
        ));
    }
    if unit.mask && (unit.enable == Some(true) || starts) {
        useless.push((
            "mask",
            "a masked unit cannot be started",
            "remove mask, or enable and command",
        ));
    }
    if !network && starts && name.is_template() {
        useless.push((
            "command",
            "a template cannot be started",
            "start an instance of it: name@instance.service",
        ));
    }
    if !network
        && !unit.mask
        && unit.enable == Some(true)
        && let Some(content) = &unit.content
    {
        useless.extend(without_links(&Install::parse(content), name));
    }
    if *unit
        == (Unit {
            name: unit.name.clone(),
            runtime: unit.runtime,
            ..Unit::default()
        })
    {
        useless.push((
            "name",
            "nothing is said about this unit",
            "add content, drop_ins, enable, mask or command",
        ));
    }
    useless
}

fn without_links(install: &Install, name: &UnitName) -> Option<Useless> {
    if install.is_empty() {
        return Some((
            "enable",
            "the unit has no [Install] section: enabling it makes no link",
            "add [Install] with WantedBy=multi-user.target",
        ));
    }
    (name.is_template() && install.default_instance.is_none() && install.alias.is_empty())
        .then_some((
            "enable",
            "a template without DefaultInstance= cannot be enabled",
            "enable an instance of it: name@instance.service",
        ))
}

/// A unit given twice is one unit as long as the two say different things.
fn join(known: &mut Unit, unit: Unit, view: View<'_>, path: &Path<'_>, out: &mut Findings<'_>) {
    let names: HashSet<&str> = known
        .drop_ins
        .iter()
        .map(|drop_in| &*drop_in.name)
        .collect();
    let both_write = known.content.is_some() && unit.content.is_some();
    if both_write
        || unit
            .drop_ins
            .iter()
            .any(|drop_in| names.contains(&*drop_in.name))
    {
        let message = format!("the unit {} is given twice", shown(&unit.name));
        out.add(
            (Level::Error, Rule::DuplicateEntry),
            &place(view),
            path,
            message,
        )
        .hint("join the two, or give one another name");
        return;
    }
    let message = format!(
        "the unit {} is given twice; the two are joined",
        shown(&unit.name)
    );
    out.add(
        (Level::Warning, Rule::DuplicateEntry),
        &place(view),
        path,
        message,
    )
    .hint("write it as one entry");
    known.absorb(unit);
}

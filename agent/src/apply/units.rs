//! What a plan's units come to before PID 1 runs: symlinks.
//!
//! `enable` of a unit in the image: the links of its `[Install]`. `command` before boot: *start*,
//! *restart* and *reload-or-restart* make the unit wanted by `multi-user.target` for this boot, so
//! that systemd orders it like any other; *stop* masks each link that would pull the unit in,
//! for this boot; the rest have nothing to act on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use strake_cloud_config::config::{Command, UnitGroup};
use strake_cloud_config::install::{Install, Place};
use strake_cloud_config::plan::{Enable, Plan, UnitSpec};
use strake_cloud_config::unit_name::UnitName;

use super::desired::{Desired, Moment};
use super::tree::{Node, Tree};
use crate::root::Root;

const ETC: &str = "/etc/systemd/system";
const RUN: &str = "/run/systemd/system";
const IMAGE: &str = "/usr/lib/systemd/system";

pub fn add(root: &Root, plan: &Plan, moment: Moment, desired: &mut Desired) {
    let due = |unit: &&UnitSpec| unit.group == UnitGroup::System && moment.covers(unit.phase);
    for unit in plan.units.iter().filter(due) {
        if unit.mask {
            continue;
        }
        if unit.runtime && !unit.changes_files {
            unmask(root, unit, desired);
        }
        match unit.enable {
            Enable::Keep | Enable::Links(_) => {}
            Enable::FromImage => enable_from_image(root, unit, desired),
        }
        let at_boot = command(root, unit, desired);
        match moment {
            // A job does it; the links of the boot stay as they are.
            Moment::Running => desired.kept.extend(at_boot.into_keys()),
            _ => desired.own.extend(at_boot),
        }
    }
}

/// An empty file or a mask in the runtime directory would hide the unit.
fn unmask(root: &Root, unit: &UnitSpec, desired: &mut Desired) {
    let path = Path::new(RUN).join(&unit.name);
    let Ok(real) = root.locate(&path) else { return };
    let masked = std::fs::read_link(&real).is_ok_and(|target| target == Path::new("/dev/null"));
    let empty =
        std::fs::symlink_metadata(&real).is_ok_and(|file| file.is_file() && file.len() == 0);
    if (masked || empty) && !desired.own.contains_key(&path) {
        desired.own.insert(path, Node::Absent);
    }
}

/// Enables a unit of the image, and the units that its `Also=` names.
fn enable_from_image(root: &Root, unit: &UnitSpec, desired: &mut Desired) {
    let mut done = BTreeSet::new();
    let mut todo = vec![unit.name.clone()];
    while let Some(name) = todo.pop() {
        if !done.insert(name.clone()) {
            continue;
        }
        let Some(file) = unit_file(root, &desired.own, &name) else {
            desired
                .warnings
                .push(format!("{name}: there is no such unit to enable"));
            continue;
        };
        let Ok(parsed) = UnitName::parse(&name) else {
            continue;
        };
        let text = match desired.own.get(&file) {
            Some(Node::File { content, .. }) => String::from_utf8_lossy(content).into_owned(),
            _ => root.read_text(&file).unwrap_or_default(),
        };
        let install = Install::parse(&text);
        if install.is_empty() {
            desired
                .warnings
                .push(format!("{name}: it has no [Install] to enable it by"));
        }
        let dir = file.parent().unwrap_or(Path::new(IMAGE)).to_string_lossy();
        let place = Place {
            links: if unit.runtime { RUN } else { ETC },
            unit: &dir,
        };
        for link in install.links(&parsed, &place) {
            desired
                .own
                .insert(PathBuf::from(link.path), Node::link(link.target));
        }
        todo.extend(install.also);
    }
}

/// The links that make of a command what a boot does.
fn command(root: &Root, unit: &UnitSpec, desired: &mut Desired) -> Tree {
    let mut links = Tree::new();
    match unit.command {
        Some(command) if command.starts() => {
            let Some(file) = unit_file(root, &desired.own, &unit.name) else {
                // Settings of a service that this image does not have yet start nothing.
                if !unit.name.starts_with("strake-") {
                    let warning = format!("{}: there is no such unit to start", unit.name);
                    desired.warnings.push(warning);
                }
                return links;
            };
            let wants = Path::new(RUN)
                .join("multi-user.target.wants")
                .join(&unit.name);
            links.insert(wants, Node::link(file));
        }
        Some(Command::Stop) => {
            for dir in [ETC, RUN, IMAGE] {
                for pulled in pulling_dirs(root, &desired.own, dir, &unit.name) {
                    let path = Path::new(ETC).join(pulled).join(&unit.name);
                    links.insert(path, Node::mask());
                }
            }
        }
        _ => {}
    }
    links
}

/// Names of the `*.wants` and like directories in `dir` that have, or get, a link to the unit.
fn pulling_dirs(root: &Root, tree: &Tree, dir: &str, unit: &str) -> Vec<String> {
    let pulls = |name: &str| {
        [".wants", ".requires", ".upholds"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
    };
    let planned = tree.iter().filter_map(|(path, node)| {
        let below = path.strip_prefix(dir).ok()?;
        let (name, file) = (below.parent()?.to_str()?, below.file_name()?);
        (file == unit && *node != Node::Absent).then(|| name.to_string())
    });
    let there = root
        .list(dir)
        .into_iter()
        .filter_map(|name| name.into_string().ok());
    let there = there.filter(|name| {
        let link = root.locate(&Path::new(dir).join(name).join(unit));
        pulls(name) && link.is_ok_and(|link| std::fs::symlink_metadata(link).is_ok())
    });
    let mut dirs: Vec<String> = planned.filter(|name| pulls(name)).chain(there).collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

/// The unit's file as systemd would find it, a template's for an instance.
pub fn unit_file(root: &Root, tree: &Tree, name: &str) -> Option<PathBuf> {
    let template = name
        .split_once('@')
        .and_then(|(prefix, rest)| Some(format!("{prefix}@.{}", rest.rsplit_once('.')?.1)));
    let names = [Some(name.to_string()), template];
    names.into_iter().flatten().find_map(|name| {
        [ETC, RUN, IMAGE]
            .iter()
            .map(|dir| Path::new(dir).join(&name))
            .find(|path| {
                tree.get(path).is_some_and(|node| *node != Node::Absent)
                    || root
                        .locate(path)
                        .is_ok_and(|real| std::fs::symlink_metadata(real).is_ok())
            })
    })
}

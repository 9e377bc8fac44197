//! `coreos.units`: the files of each unit, then what is done with it.

use std::collections::HashMap;

use super::daemon::{REBOOT, UPDATE, native_name};
use super::environment;
use super::{Enable, FileSpec, Link, Phase, UnitSpec};
use crate::config::{Command, RebootStrategy, Unit, UnitGroup, Update};
use crate::install::{Install, Place};
use crate::unit_name::UnitName;

const ORIGIN: &str = "coreos.units";

/// All units of a plan by name, for what one says about another.
pub(super) struct Units<'c>(HashMap<&'c str, &'c Unit>);

impl<'c> Units<'c> {
    pub(super) fn new(units: impl Iterator<Item = &'c Unit>) -> Self {
        Self(units.map(|unit| (unit.name.as_str(), unit)).collect())
    }

    /// The unit that brings the text for a name: the one of that name, or its template.
    fn source(&self, name: &UnitName) -> Option<&'c Unit> {
        let with_text = |name: &str| self.0.get(name).filter(|unit| unit.content.is_some());
        with_text(name.as_str())
            .or_else(|| with_text(name.template().as_str()))
            .copied()
    }

    /// How a unit is enabled, and which others its text enables along with it.
    fn enable(&self, name: &str, links: &str) -> (Enable, Vec<String>) {
        let Ok(name) = UnitName::parse(name) else {
            return (Enable::Keep, Vec::new());
        };
        let Some(source) = self.source(&name) else {
            return (Enable::FromImage, Vec::new());
        };
        let install = Install::parse(&text(source));
        let place = Place {
            links,
            unit: &directory(source),
        };
        (Enable::Links(install.links(&name, &place)), install.also)
    }
}

/// What systemd reads of a unit: its file, then its drop-ins.
fn text(unit: &Unit) -> String {
    let drop_ins = unit.drop_ins.iter().map(|drop_in| drop_in.content.as_str());
    unit.content
        .as_deref()
        .into_iter()
        .chain(drop_ins)
        .collect::<Vec<_>>()
        .join("\n")
}

pub(super) fn add(
    unit: &Unit,
    all: &Units<'_>,
    environment: &environment::Readers,
    files: &mut Vec<FileSpec>,
    units: &mut Vec<UnitSpec>,
) {
    let name = match &unit.content {
        // Someone who brings the whole file means that very unit.
        Some(_) => unit.name.as_str(),
        None => native_name(&unit.name),
    };
    let directory = directory(unit);
    let mut own = unit_files(unit, name, &directory);
    own.extend(environment.wait(name, unit, &text(unit)));
    let changes_files = !own.is_empty();
    let network = unit.group() == UnitGroup::Network;
    let (enable, also) = match unit.enable {
        Some(true) if !network && !unit.mask => all.enable(name, &directory),
        _ => (Enable::Keep, Vec::new()),
    };
    let phase = phase(&own);
    // A unit with one part that waits is put in place as a whole, once that part is known.
    own.iter_mut().for_each(|file| file.phase = phase);
    own.extend(links(&enable, phase));
    files.extend(own);
    units.push(UnitSpec {
        name: name.to_owned(),
        group: unit.group(),
        runtime: unit.runtime,
        mask: unit.mask,
        enable,
        command: unit.command.filter(|_| !network),
        changes_files,
        phase,
    });
    for other in also.iter().filter(|other| other.as_str() != name) {
        let (enable, _) = all.enable(other, &directory);
        if enable != Enable::Keep {
            files.extend(links(&enable, phase));
            units.push(UnitSpec {
                command: None,
                enable,
                phase,
                ..told(other, Command::Start)
            });
        }
    }
}

fn phase(files: &[FileSpec]) -> Phase {
    files
        .iter()
        .map(|file| file.phase)
        .max()
        .unwrap_or(Phase::BeforeBoot)
}

fn links(enable: &Enable, phase: Phase) -> Vec<FileSpec> {
    let Enable::Links(links) = enable else {
        return Vec::new();
    };
    let link = |link: &Link| FileSpec {
        phase,
        ..FileSpec::symlink(&link.path, &link.target, ORIGIN)
    };
    links.iter().map(link).collect()
}

fn directory(unit: &Unit) -> String {
    let top = if unit.runtime { "/run" } else { "/etc" };
    format!("{top}/{}", unit.group().directory())
}

fn unit_files(unit: &Unit, name: &str, directory: &str) -> Vec<FileSpec> {
    let mut files = Vec::new();
    let path = format!("{directory}/{name}");
    if unit.mask {
        files.push(FileSpec::symlink(&path, "/dev/null", ORIGIN));
    } else if let Some(content) = &unit.content {
        files.push(FileSpec::text(&path, content, ORIGIN));
    }
    let drop_ins = unit
        .drop_ins
        .iter()
        .filter(|drop_in| !drop_in.content.is_empty());
    files.extend(drop_ins.map(|drop_in| {
        FileSpec::text(
            format!("{path}.d/{}", drop_in.name),
            &*drop_in.content,
            ORIGIN,
        )
    }));
    files
}

/// The services that have to take note of settings written elsewhere.
pub(super) fn add_update(update: &Update, files: &mut Vec<FileSpec>, units: &mut Vec<UnitSpec>) {
    if let Some(strategy) = update.reboot_strategy {
        let off = strategy == RebootStrategy::Off;
        if off {
            let path = format!("/run/systemd/system/{REBOOT}");
            files.push(FileSpec::symlink(path, "/dev/null", "coreos.update"));
        }
        units.push(UnitSpec {
            mask: off,
            changes_files: off,
            ..told(REBOOT, if off { Command::Stop } else { Command::Restart })
        });
    }
    if update.group.is_some() || update.server.is_some() {
        units.push(told(UPDATE, Command::Restart));
    }
}

/// A service of ours that is only given a command.
pub(super) fn told(name: &str, command: Command) -> UnitSpec {
    UnitSpec {
        name: name.to_owned(),
        group: UnitGroup::System,
        runtime: true,
        mask: false,
        enable: Enable::Keep,
        command: Some(command),
        changes_files: false,
        phase: Phase::BeforeBoot,
    }
}

//! `coreos.units`: the files of each unit, then what is done with it.

use super::daemon::{REBOOT, UPDATE, native_name};
use super::{Enable, FileSpec, Phase, UnitSpec};
use crate::config::{Command, RebootStrategy, Unit, UnitGroup, Update};
use crate::install::{self, Place};
use crate::unit_name::UnitName;

const ORIGIN: &str = "coreos.units";

pub(super) fn add(unit: &Unit, files: &mut Vec<FileSpec>, units: &mut Vec<UnitSpec>) {
    let name = match &unit.content {
        // Someone who brings the whole file means that very unit.
        Some(_) => unit.name.as_str(),
        None => native_name(&unit.name),
    };
    let directory = directory(unit);
    let mut own = unit_files(unit, name, &directory);
    let network = unit.group() == UnitGroup::Network;
    let enable = match (&unit.content, unit.enable) {
        _ if network || unit.mask || unit.enable != Some(true) => Enable::Keep,
        (None, _) => Enable::FromImage,
        (Some(content), _) => {
            let place = Place {
                links: &directory,
                unit: &directory,
            };
            let links = UnitName::parse(name).map(|name| install::links(&name, content, &place));
            let links = links.unwrap_or_default();
            own.extend(
                links
                    .iter()
                    .map(|l| FileSpec::symlink(&l.path, &l.target, ORIGIN)),
            );
            Enable::Links(links)
        }
    };
    let phase = own
        .iter()
        .map(|file| file.phase)
        .max()
        .unwrap_or(Phase::BeforeBoot);
    // A unit with one part that waits is put in place as a whole, once that part is known.
    for file in &mut own {
        file.phase = phase;
    }
    units.push(UnitSpec {
        name: name.to_owned(),
        group: unit.group(),
        runtime: unit.runtime,
        mask: unit.mask,
        enable,
        command: unit.command.filter(|_| !network),
        changes_files: !own.is_empty(),
        phase,
    });
    files.extend(own);
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

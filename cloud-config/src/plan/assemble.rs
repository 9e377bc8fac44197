use std::collections::BTreeMap;

use super::environment::{self, Environment};
use super::unit::{Units, told};
use super::{
    Body, FileSpec, Hostname, Phase, Plan, ScriptSpec, UnitSpec, daemon, host, network_access,
    unit, user,
};
use crate::config::{Command, Config, Daemon, EtcHosts, Overlay, Reboot};
use crate::context::Context;
use crate::substitution::{restore, waits};

const CLUSTER: &str = "strake-cluster.service";

/// The plan of a checked config. Pure: the same arguments, the same plan.
pub fn plan(config: &Config, context: &Context) -> Plan {
    let mut files = files_of_keys(config);
    files.extend(config.write_files.iter().map(FileSpec::written));
    files.extend(daemon::files(config));
    files.extend(hosts(config, context));
    files.extend(environment(config, context));
    let mut units = Vec::new();
    let own = host::units(config);
    let all = Units::new(own.iter().chain(&config.units));
    let readers = environment::Readers::of(config);
    for unit in own.iter().chain(&config.units) {
        unit::add(unit, &all, &readers, &mut files, &mut units);
    }
    for (service, drop_in) in daemon::drop_ins(config) {
        let phase = drop_in.phase;
        files.push(drop_in);
        units.push(UnitSpec {
            changes_files: true,
            command: None,
            phase,
            ..told(service, Command::Restart)
        });
    }
    if config.strake.cluster.is_complete() {
        units.push(told(CLUSTER, Command::Start));
        units.push(told(daemon::SCHEDULER, Command::Start));
    }
    if reboots(config) {
        units.push(told(daemon::REBOOT, Command::Start));
    }
    if config.strake.overlay != Overlay::default() || config.daemons.contains_key(&Daemon::Flannel)
    {
        units.push(told(daemon::OVERLAY, Command::Start));
    }
    if config.strake.reboot.fleetlock.is_some() {
        units.push(told(daemon::FLEETLOCK, Command::Start));
    }
    if config.strake.dashboard.is_some() {
        units.push(told(daemon::DASHBOARD, Command::Start));
    }
    unit::add_update(&config.update, &mut files, &mut units);
    Plan {
        hostname: config.hostname.as_deref().map(hostname),
        users: user::users(config),
        files,
        units: joined(units),
        scripts: config.scripts.iter().map(script).collect(),
    }
}

/// Whether the machine reboots into updates by itself, though no strategy is named.
fn reboots(config: &Config) -> bool {
    let server = config.update.server.as_deref().unwrap_or_default();
    let asked = config.strake.cluster.is_complete()
        || !matches!(server, "" | "disabled")
        || config.strake.reboot != Reboot::default()
        || config.daemons.contains_key(&Daemon::Locksmith);
    asked && config.update.reboot_strategy.is_none()
}

/// Files that keys other than `write_files` make, which stands behind them and so wins.
pub(crate) fn files_of_keys(config: &Config) -> Vec<FileSpec> {
    let mut files = host::files(config);
    files.extend(network_access::files(config));
    files
}

fn hostname(name: &str) -> Hostname {
    let phase = if waits(name.as_bytes()) {
        Phase::Network
    } else {
        Phase::BeforeBoot
    };
    Hostname {
        name: restore(name).into_owned(),
        phase,
    }
}

/// A script may rely on the network, so it never runs earlier.
fn script(script: &crate::config::Script) -> ScriptSpec {
    ScriptSpec {
        text: restore(&script.text).into_owned(),
        phase: Phase::Network,
    }
}

fn hosts(config: &Config, context: &Context) -> Option<FileSpec> {
    let EtcHosts::Localhost = config.manage_etc_hosts?;
    let name = config
        .hostname
        .as_deref()
        .or(context.hostname.as_deref())
        .unwrap_or("localhost");
    Some(FileSpec::text(
        "/etc/hosts",
        format!("127.0.0.1 {name}\n"),
        "manage_etc_hosts",
    ))
}

/// A user who writes the file himself keeps it as he wrote it.
fn environment(config: &Config, context: &Context) -> Option<FileSpec> {
    if config
        .write_files
        .iter()
        .any(|file| file.path == environment::PATH)
    {
        return None;
    }
    let values = Environment::of(&context.addresses);
    let some = values.values().next().is_some();
    if !some && Environment::is_complete(&context.addresses) {
        return None;
    }
    let body = Body::Environment(values);
    let spec = FileSpec::new(environment::PATH.to_owned(), body, "addresses");
    Some(FileSpec {
        phase: if some {
            Phase::BeforeBoot
        } else {
            Phase::Network
        },
        ..spec
    })
}

/// One entry for each unit: several keys of a config may concern the same one.
fn joined(units: Vec<UnitSpec>) -> Vec<UnitSpec> {
    let mut joined: Vec<UnitSpec> = Vec::with_capacity(units.len());
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for unit in units {
        match known.get(&unit.name) {
            None => {
                known.insert(unit.name.clone(), joined.len());
                joined.push(unit);
            }
            Some(index) => {
                let first = &mut joined[*index];
                // What the user says about a unit himself is stronger than what follows from
                // other keys, which comes later.
                first.command = first.command.or(unit.command);
                first.mask |= unit.mask;
                first.changes_files |= unit.changes_files;
                first.phase = first.phase.max(unit.phase);
                if first.enable == super::Enable::Keep {
                    first.enable = unit.enable;
                }
            }
        }
    }
    joined
}

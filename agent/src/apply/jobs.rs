//! What a running systemd has to do after files changed. Pure.
//!
//! The least: unit files are read again once and only when one changed; a running unit is
//! restarted only when its own file or drop-in changed; what the user commands is done.

use std::collections::BTreeSet;
use std::path::Path;

use strake_cloud_config::Plan;
use strake_cloud_config::config::{Command, UnitGroup};
use strake_cloud_config::plan::{Enable, Phase, UnitSpec};
use strake_cloud_config::unit_name::UnitName;

use super::script;
use super::tree::Difference;
use super::write::Change;
use crate::systemd::Job;

const BOOT_TARGET: &str = "multi-user.target";
/// Runs this very program, and would be stopped by its own restart.
const OWN_SERVICE: &str = "strake-config.service";
const UNIT_DIRS: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Units that have no file any more. Stopped first: systemd forgets how with the reload.
    pub stops: Vec<String>,
    pub reload: bool,
    pub jobs: Vec<(Job, String)>,
}

/// Which commands of the plan are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occasion {
    /// The network phase of a boot: only units that had to wait for it (see [`waiting`]) are
    /// due, systemd was told the rest before it started.
    Boot { waited: BTreeSet<String> },
    /// The network phase of a boot brought another config than the one the boot began with: all
    /// that it starts or enables is due, as if it had been there before systemd.
    Arrived,
    /// Somebody applies a config to a running machine.
    Now,
}

/// Units of a plan made before the addresses were known that have to wait for them. Planned
/// once more with the addresses, they look like any other.
pub fn waiting(plan: &Plan) -> BTreeSet<String> {
    let waits = |unit: &&UnitSpec| unit.phase == Phase::Network;
    plan.units
        .iter()
        .filter(waits)
        .map(|unit| unit.name.clone())
        .collect()
}

pub fn orders(plan: &Plan, changes: &[Change], occasion: &Occasion) -> Orders {
    let reload = changes
        .iter()
        .any(|change| is_below_any(&change.path, &UNIT_DIRS));
    let mut jobs = services_of_files(changes);
    for unit in plan
        .units
        .iter()
        .filter(|unit| unit.group == UnitGroup::System && !unit.mask)
    {
        let changed = changes
            .iter()
            .any(|change| is_part_of(&change.path, &unit.name));
        let due = match occasion {
            Occasion::Now => Due::Command,
            Occasion::Arrived => Due::FirstStart,
            Occasion::Boot { waited } if waited.contains(&unit.name) => Due::FirstStart,
            Occasion::Boot { .. } => Due::Nothing,
        };
        jobs.extend(job(unit, changed, due).map(|job| (job, unit.name.clone())));
    }
    for order in services_of_drop_ins(plan, changes) {
        if !jobs.contains(&order) {
            jobs.push(order);
        }
    }
    for number in 0..plan.scripts.len() {
        let name = script::unit_name(number);
        if changes.iter().any(|change| is_part_of(&change.path, &name)) {
            jobs.push((Job::Start, name));
        }
    }
    if reload && *occasion == Occasion::Arrived {
        // Starts what its new dependencies name, and leaves alone what runs.
        jobs.push((Job::Start, BOOT_TARGET.to_string()));
    }
    Orders {
        stops: Vec::new(),
        reload,
        jobs,
    }
}

/// Units whose own file was taken away.
pub fn without_file(changes: &[Change]) -> Vec<String> {
    let gone = changes
        .iter()
        .filter(|change| change.difference == Difference::Unwanted);
    let names = gone.filter_map(|change| {
        let dir = change.path.parent()?;
        let name = change.path.file_name()?.to_str()?;
        let is_unit = UNIT_DIRS.iter().any(|known| dir == Path::new(known));
        (is_unit && UnitName::parse(name).is_ok()).then(|| name.to_string())
    });
    names.collect()
}

/// What the occasion makes due for one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    Command,
    /// Its command, or its start when it is enabled: when systemd queued what is enabled, the
    /// unit was not there yet.
    FirstStart,
}

fn job(unit: &UnitSpec, changed: bool, due: Due) -> Option<Job> {
    let enabled = matches!(unit.enable, Enable::Links(_) | Enable::FromImage);
    match unit.command.filter(|_| due != Due::Nothing) {
        None if changed && enabled && due == Due::FirstStart => Some(Job::Restart),
        None => changed.then_some(Job::TryRestart),
        Some(Command::Start) if changed => Some(Job::Restart),
        Some(Command::Start) => Some(Job::Start),
        Some(Command::Stop) => Some(Job::Stop),
        Some(Command::Restart) => Some(Job::Restart),
        Some(Command::TryRestart) => Some(Job::TryRestart),
        Some(Command::Reload) => Some(Job::Reload),
        Some(Command::ReloadOrRestart) => Some(Job::ReloadOrRestart),
        Some(Command::ReloadOrTryRestart) => Some(Job::ReloadOrTryRestart),
    }
}

/// Services that read a directory of settings when they start.
fn services_of_files(changes: &[Change]) -> Vec<(Job, String)> {
    let readers = [
        (
            "/etc/systemd/network",
            Job::ReloadOrTryRestart,
            "systemd-networkd.service",
        ),
        (
            "/run/systemd/network",
            Job::ReloadOrTryRestart,
            "systemd-networkd.service",
        ),
        ("/etc/sysctl.d", Job::Restart, "systemd-sysctl.service"),
        (
            "/etc/modules-load.d",
            Job::Restart,
            "systemd-modules-load.service",
        ),
        (
            "/etc/systemd/timesyncd.conf.d",
            Job::TryRestart,
            "systemd-timesyncd.service",
        ),
        ("/etc/docker/daemon.json", Job::TryRestart, "docker.service"),
    ];
    let mut jobs = Vec::new();
    for (dir, job, service) in readers {
        let order = (job, service.to_string());
        let changed = changes.iter().any(|change| change.path.starts_with(dir));
        if changed && !jobs.contains(&order) {
            jobs.push(order);
        }
    }
    jobs
}

/// Services that the plan does not list but changes, such as for a proxy.
fn services_of_drop_ins(plan: &Plan, changes: &[Change]) -> Vec<(Job, String)> {
    let dirs = changes.iter().filter_map(|change| {
        let dir = change.path.parent()?;
        let above = dir.parent()?;
        let is_known = UNIT_DIRS.iter().any(|known| above == Path::new(known));
        dir.file_name()?
            .to_str()?
            .strip_suffix(".d")
            .filter(|_| is_known)
    });
    let listed = |name: &&str| plan.units.iter().any(|unit| unit.name == *name);
    let names: BTreeSet<&str> = dirs
        .filter(|name| !listed(name) && *name != OWN_SERVICE)
        .collect();
    let restart = |name: &str| (Job::TryRestart, name.to_string());
    names.into_iter().map(restart).collect()
}

fn is_below_any(path: &Path, dirs: &[&str]) -> bool {
    dirs.iter().any(|dir| path.starts_with(dir))
}

/// The unit's file or a drop-in of it; not the links that enable it.
fn is_part_of(path: &Path, unit: &str) -> bool {
    UNIT_DIRS.iter().any(|dir| {
        let Ok(below) = path.strip_prefix(dir) else {
            return false;
        };
        below == Path::new(unit) || below.starts_with(format!("{unit}.d"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, command: Option<Command>, enable: Enable, phase: Phase) -> UnitSpec {
        UnitSpec {
            name: name.to_string(),
            group: UnitGroup::System,
            runtime: false,
            mask: false,
            enable,
            command,
            changes_files: true,
            phase,
        }
    }

    #[track_caller]
    fn check(unit: UnitSpec, changed: &[&str], waited: Option<&str>, expected: &[&str]) {
        let plan = Plan {
            units: vec![unit],
            ..Plan::default()
        };
        let change = |path: &&str| Change {
            path: path.into(),
            difference: Difference::Content,
        };
        let changes: Vec<Change> = changed.iter().map(change).collect();
        let occasion = match waited {
            Some(unit) => Occasion::Boot {
                waited: BTreeSet::from([unit.to_string()]),
            },
            None => Occasion::Now,
        };
        let orders = orders(&plan, &changes, &occasion);
        let reload = orders.reload.then(|| "reload units".to_string());
        let jobs = orders
            .jobs
            .iter()
            .map(|(job, unit)| format!("{} {unit}", job.word()));
        assert_eq!(reload.into_iter().chain(jobs).collect::<Vec<_>>(), expected);
    }

    const FILE: &str = "/etc/systemd/system/a.service";
    const DROP_IN: &str = "/run/systemd/system/a.service.d/10-x.conf";
    const LINK: &str = "/etc/systemd/system/multi-user.target.wants/a.service";

    #[test]
    fn only_what_changed_is_restarted() {
        let plain = || unit("a.service", None, Enable::Keep, Phase::BeforeBoot);
        let restarted = ["reload units", "try-restart a.service"];
        check(plain(), &[], None, &[]);
        check(plain(), &[FILE], None, &restarted);
        check(plain(), &[DROP_IN], None, &restarted);
        check(plain(), &[LINK], None, &["reload units"]);
        check(plain(), &["/etc/motd"], None, &[]);
    }

    #[test]
    fn a_unit_that_waited_for_an_address_is_started_by_the_network_phase() {
        let (me, other) = (Some("a.service"), Some("b.service"));
        let enabled = || {
            unit(
                "a.service",
                None,
                Enable::Links(Vec::new()),
                Phase::BeforeBoot,
            )
        };
        check(
            enabled(),
            &[FILE, LINK],
            me,
            &["reload units", "restart a.service"],
        );
        check(
            enabled(),
            &[FILE],
            other,
            &["reload units", "try-restart a.service"],
        );
        let start = Some(Command::Start);
        let started = || unit("a.service", start, Enable::Keep, Phase::BeforeBoot);
        check(started(), &[], me, &["start a.service"]);
        check(started(), &[], other, &[]);
        check(started(), &[], None, &["start a.service"]);
        check(
            started(),
            &[FILE],
            None,
            &["reload units", "restart a.service"],
        );
        let plan = Plan {
            units: vec![
                started(),
                unit("b.service", start, Enable::Keep, Phase::Network),
            ],
            ..Plan::default()
        };
        assert_eq!(waiting(&plan), BTreeSet::from(["b.service".to_string()]));
    }

    #[test]
    fn a_config_that_arrives_late_starts_what_it_enables() {
        let unit = unit("a.service", None, Enable::FromImage, Phase::BeforeBoot);
        let plan = Plan {
            units: vec![unit],
            ..Plan::default()
        };
        let orders_for = |paths: &[&str]| {
            let change = |path: &&str| Change {
                path: path.into(),
                difference: Difference::Missing,
            };
            let changes: Vec<Change> = paths.iter().map(change).collect();
            let orders = orders(&plan, &changes, &Occasion::Arrived);
            let jobs = orders.jobs.into_iter();
            jobs.map(|(job, unit)| format!("{} {unit}", job.word()))
                .collect::<Vec<_>>()
        };
        assert_eq!(orders_for(&[LINK]), ["start multi-user.target"]);
        let both = ["restart a.service", "start multi-user.target"];
        assert_eq!(orders_for(&[DROP_IN, LINK]), both);
        assert_eq!(orders_for(&["/etc/motd"]), Vec::<String>::new());
    }

    #[test]
    fn services_that_the_plan_only_adds_to_are_restarted_too() {
        let files = [
            "/etc/systemd/system/docker.service.d/20-proxy.conf",
            "/etc/systemd/system/strake-config.service.d/20-proxy.conf",
            "/etc/docker/daemon.json",
            "/etc/systemd/system/multi-user.target.wants/b.service",
        ];
        let none = unit("other.service", None, Enable::Keep, Phase::BeforeBoot);
        let expected = ["reload units", "try-restart docker.service"];
        check(none, &files, None, &expected);
    }

    #[test]
    fn units_whose_file_went_are_named() {
        let change = |path: &str, difference| Change {
            path: path.into(),
            difference,
        };
        let changes = [
            change("/etc/systemd/system/a.service", Difference::Unwanted),
            change("/etc/systemd/system/b.service", Difference::Content),
            change(
                "/etc/systemd/system/c.service.d/x.conf",
                Difference::Unwanted,
            ),
            change("/run/systemd/system/d.mount", Difference::Unwanted),
            change("/etc/systemd/network/e.network", Difference::Unwanted),
            change(LINK, Difference::Unwanted),
        ];
        assert_eq!(without_file(&changes), ["a.service", "d.mount"]);
    }

    #[test]
    fn services_that_read_settings_read_them_again_once() {
        let files = [
            "/etc/systemd/network/a.network",
            "/run/systemd/network/b.netdev",
        ];
        let none = unit("other.service", None, Enable::Keep, Phase::BeforeBoot);
        let expected = ["reload-or-try-restart systemd-networkd.service"];
        check(none, &files, None, &expected);
    }
}

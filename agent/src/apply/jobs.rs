//! What a running systemd has to do after files changed. Pure.
//!
//! The least: unit files are read again once and only when one changed; a running unit is
//! restarted only when its own file or drop-in changed; what the user commands is done.

use std::path::Path;

use strake_cloud_config::Plan;
use strake_cloud_config::config::{Command, UnitGroup};
use strake_cloud_config::plan::{Enable, Phase, UnitSpec};

use super::script;
use super::write::Change;
use crate::systemd::Job;

const UNIT_DIRS: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    pub reload: bool,
    pub jobs: Vec<(Job, String)>,
}

/// Which commands of the plan are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The network phase of a boot: systemd was told the rest before it started.
    Boot,
    /// Somebody applies a config to a running machine.
    Now,
}

pub fn orders(plan: &Plan, changes: &[Change], occasion: Occasion) -> Orders {
    let reload = changes
        .iter()
        .any(|change| is_below_any(&change.path, &UNIT_DIRS));
    let mut jobs: Vec<(Job, String)> = services_of_files(changes);
    for unit in plan
        .units
        .iter()
        .filter(|unit| unit.group == UnitGroup::System && !unit.mask)
    {
        let changed = changes
            .iter()
            .any(|change| is_part_of(&change.path, &unit.name));
        let due = occasion == Occasion::Now || unit.phase == Phase::Network;
        jobs.extend(job(unit, changed, due).map(|job| (job, unit.name.clone())));
    }
    for number in 0..plan.scripts.len() {
        let name = script::unit_name(number);
        if changes.iter().any(|change| is_part_of(&change.path, &name)) {
            jobs.push((Job::Start, name));
        }
    }
    Orders { reload, jobs }
}

fn job(unit: &UnitSpec, changed: bool, due: bool) -> Option<Job> {
    let enabled = matches!(unit.enable, Enable::Links(_) | Enable::FromImage);
    match unit.command.filter(|_| due) {
        // Its dependencies were already queued when systemd started: nobody else starts it.
        None if changed && enabled && unit.phase == Phase::Network => Some(Job::Restart),
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
    use crate::apply::tree::Difference;

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
    fn check(unit: UnitSpec, changed: &[&str], occasion: Occasion, expected: &[&str]) {
        let plan = Plan {
            units: vec![unit],
            ..Plan::default()
        };
        let change = |path: &&str| Change {
            path: path.into(),
            difference: Difference::Content,
        };
        let changes: Vec<Change> = changed.iter().map(change).collect();
        let orders = orders(&plan, &changes, occasion);
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
        let plain = |phase| unit("a.service", None, Enable::Keep, phase);
        let now = Occasion::Now;
        check(plain(Phase::BeforeBoot), &[], now, &[]);
        check(
            plain(Phase::BeforeBoot),
            &[FILE],
            now,
            &["reload units", "try-restart a.service"],
        );
        check(
            plain(Phase::BeforeBoot),
            &[DROP_IN],
            now,
            &["reload units", "try-restart a.service"],
        );
        check(plain(Phase::BeforeBoot), &[LINK], now, &["reload units"]);
        check(plain(Phase::BeforeBoot), &["/etc/motd"], now, &[]);
    }

    #[test]
    fn a_unit_that_waited_for_an_address_is_started_by_the_network_phase() {
        let enabled = unit("a.service", None, Enable::Links(Vec::new()), Phase::Network);
        check(
            enabled,
            &[FILE, LINK],
            Occasion::Boot,
            &["reload units", "restart a.service"],
        );
        let started = |phase| unit("a.service", Some(Command::Start), Enable::Keep, phase);
        check(
            started(Phase::Network),
            &[],
            Occasion::Boot,
            &["start a.service"],
        );
        check(started(Phase::BeforeBoot), &[], Occasion::Boot, &[]);
        check(
            started(Phase::BeforeBoot),
            &[],
            Occasion::Now,
            &["start a.service"],
        );
        check(
            started(Phase::BeforeBoot),
            &[FILE],
            Occasion::Now,
            &["reload units", "restart a.service"],
        );
    }

    #[test]
    fn services_that_read_settings_read_them_again_once() {
        let files = [
            "/etc/systemd/network/a.network",
            "/run/systemd/network/b.netdev",
        ];
        let none = unit("other.service", None, Enable::Keep, Phase::BeforeBoot);
        let expected = ["reload-or-try-restart systemd-networkd.service"];
        check(none, &files, Occasion::Now, &expected);
    }
}

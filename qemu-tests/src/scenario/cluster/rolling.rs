//! A release reaches every machine of a cluster, one at a time, while a service keeps answering.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::FORMED;
use super::asker;
use super::broken::stops_at_the_first;
use super::client::Client;
use super::members::{Extra, LIMIT, Members, NUMBERS, places, start_with, told};
use super::page::{PORT, TOKEN, shown};
use super::replaced::{SHOP_PORT, replaced};
use crate::machine::Machine;
use crate::registry::GREETER_PORT;
use crate::scenario::runner::BOOT_LIMIT;
use crate::scenario::update::breaker::REQUIRED;
use crate::scenario::update::releases::{GOOD, ROLLING};
use crate::scenario::{Check, Extent, How, Scenario, Stage};
use crate::wait::Deadline;

pub(in crate::scenario) const SCENARIO: Scenario = Scenario {
    name: "rolling",
    extent: Extent::Full,
    start,
    checks: &[
        FORMED,
        Check {
            name: "a container of the cluster answers on every machine",
            how: How::Now(serves),
        },
        Check {
            name: "the dashboard of each machine shows all of them, to who has the token",
            how: How::Now(shown),
        },
        Check {
            name: "replicas get a new text one after another, and no request fails",
            how: How::Now(replaced),
        },
        Check {
            name: "a release rolls through the cluster, one machine at a time, and no request fails",
            how: How::Now(rolls),
        },
        Check {
            name: "a release that is not healthy stops at the first machine",
            how: How::Now(stops_at_the_first),
        },
    ],
};

const UNIT: &str = "web.container";
const NAME: &str = "web.lab.strake";
/// Three installations and three boots, on machines that share two processors.
const ROLL_LIMIT: u64 = 6 * BOOT_LIMIT;
const SEMAPHORE: &str = "coreos.com/updateengine/rebootlock/semaphore";

fn start(stage: &Stage) -> Result<Machine> {
    let releases = stage.releases()?;
    let publisher = releases.publisher();
    let root: String = publisher
        .root()?
        .lines()
        .map(|line| format!("      {line}\n"))
        .collect();
    let (server, registry) = (publisher.address()?, stage.registry()?.address());
    let extra = Extra {
        sections: format!(
            "coreos:\n  update: {{group: {ROLLING}, server: \"{server}\", reboot_strategy: etcd-lock}}\n{}",
            asker::section(NAME)
        ),
        files: format!(
            "  - path: /etc/strake/update/root.json\n    content: |\n{root}  - path: \
             /etc/docker/daemon.json\n    content: |\n      {{\"storage-driver\": \"overlay2\", \
             \"insecure-registries\": [\"{registry}\"]}}\n{}",
            asker::file()
        ),
        strake: Some(format!(
            "  health: {{for: 1s, deadline: 5m, require: [{REQUIRED}]}}\n  dashboard: {{listen: \"0.0.0.0:{PORT}\", \
             token: {TOKEN}}}\n  overlay: {{network: 10.77.0.0/16}}\n"
        )),
        published: vec![GREETER_PORT, SHOP_PORT],
    };
    drop(publisher);
    start_with(stage, &extra)
}

fn serves(one: &mut Machine, stage: &Stage) -> Result<()> {
    let registry = stage.registry()?.address();
    let port = GREETER_PORT;
    let text = format!(
        "[Container]\nImage={registry}/greeter:1\nPublishPort={port}:{port}\n[Service]\n\
         Restart=always\nTimeoutStartSec=300\n[X-Fleet]\nGlobal=yes"
    );
    one.ask(&format!("cat >/tmp/{UNIT} <<'END'\n{text}\nEND"))?;
    one.ask(&format!(
        "cd /tmp && sudo strake unit start --no-block {UNIT}"
    ))?;
    let mut members = stage.members();
    for machine in [one].into_iter().chain(members.values_mut()) {
        let what = format!("an answer of {}", machine.name());
        machine.wait_until(&what, Deadline::seconds(2 * LIMIT), |machine| {
            machine.http(GREETER_PORT, "/")
        })?;
    }
    Ok(())
}

/// The fewest members of etcd that were seen up on the way.
#[derive(Debug, Default)]
struct Watched {
    looks: usize,
    least_members: Option<usize>,
}

impl Watched {
    fn look(&mut self, machine: &mut Machine) {
        let Some(status) = told(machine, "cluster status").ok().flatten() else {
            return;
        };
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let up =
            |member: &&Value| matches!(member["standing"].as_str(), Some("leader" | "follower"));
        let up = members.iter().filter(up).count();
        self.least_members = Some(self.least_members.map_or(up, |least| least.min(up)));
        self.looks += 1;
    }
}

/// Who held the lock, after each of its changes: etcd itself remembers.
fn lock_history(machine: &mut Machine) -> Result<Vec<Vec<String>>> {
    let settings = machine.ask("sudo cat /etc/strake/etcd.json")?;
    let settings: Value = serde_json::from_str(&settings).context("the store's settings")?;
    let endpoints = settings["endpoints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let endpoints: Vec<&str> = endpoints.iter().filter_map(Value::as_str).collect();
    let mut command = format!("etcdctl --endpoints {}", endpoints.join(","));
    for (option, key) in [("cacert", "ca"), ("cert", "cert"), ("key", "key")] {
        let path = settings[key].as_str().context("no certificate")?;
        command += &format!(" --{option} {path}");
    }
    // It never ends by itself.
    let told = machine.ssh(&format!(
        "sudo timeout 10 {command} watch --rev 1 {SEMAPHORE}"
    ))?;
    let values = told.stdout.lines().filter(|line| line.starts_with('{'));
    values
        .map(|value| {
            let value: Value = serde_json::from_str(value).context("a semaphore")?;
            let holders = value["holders"].as_array().cloned().unwrap_or_default();
            let holders = holders.iter().filter_map(Value::as_str);
            Ok(holders.map(str::to_owned).collect())
        })
        .collect()
}

/// Where the machines' port is reached.
pub(super) fn ports(one: &Machine, members: &Members, port: u16) -> Result<Vec<u16>> {
    let all = [one].into_iter().chain(members.values());
    all.map(|machine| machine.port(port)).collect()
}

fn rolls(one: &mut Machine, stage: &Stage) -> Result<()> {
    stage
        .releases()?
        .publish(GOOD, ROLLING, &["--deltas", "0"])?;
    let mut members = stage.members();
    let before = asked_by_name(one, &mut members)?;
    let client = Client::start(ports(one, &members, GREETER_PORT)?);
    let begin = Instant::now();
    one.expect_losses();
    // The updater looks by itself, only later than a test wants to wait.
    install_soon(one)?;
    for machine in members.values_mut() {
        machine.expect_losses();
        install_soon(machine)?;
    }
    let mut watched = Watched::default();
    let rolled = one.wait_until(
        "the release on all machines",
        Deadline::seconds(ROLL_LIMIT),
        |one| {
            watched.look(one);
            let mut done = usize::from(runs(one, GOOD));
            for machine in members.values_mut() {
                done += usize::from(runs(machine, GOOD));
            }
            if let Some(machine) = members.get_mut(&2) {
                watched.look(machine);
            }
            Ok((done == NUMBERS.len()).then_some(()))
        },
    );
    let (asked, failed) = client.end()?;
    println!(
        "        {:.0} s; {asked} requests, {failed} failed; at least {} members of etcd up in {} looks",
        begin.elapsed().as_secs_f64(),
        watched.least_members.unwrap_or_default(),
        watched.looks,
    );
    rolled?;
    ensure!(failed == 0, "{failed} of {asked} requests failed");
    ensure!(
        watched.least_members.context("etcd was never seen")? >= 2,
        "etcd lost its majority: {watched:?}"
    );
    all_back(one, &mut members)?;
    let after = asked_by_name(one, &mut members)?;
    let (asked, failed) = (after.0 - before.0, after.1 - before.1);
    println!("        {asked} requests by name over the overlay, {failed} failed");
    ensure!(failed == 0, "{failed} of {asked} requests by name failed");
    let history = lock_history(one)?;
    let most = history.iter().map(Vec::len).max().unwrap_or_default();
    let mut who: Vec<&String> = history.iter().flatten().collect();
    who.sort();
    who.dedup();
    println!(
        "        {} changes of the lock, {} holders",
        history.len(),
        who.len()
    );
    ensure!(most == 1, "the lock was held so: {history:?}");
    ensure!(
        who.len() == NUMBERS.len(),
        "not all held the lock: {history:?}"
    );
    Ok(())
}

/// Requests of all machines' own clients, and those that failed; waits until all have begun.
fn asked_by_name(one: &mut Machine, members: &mut Members) -> Result<(usize, usize)> {
    let mut sum = (0, 0);
    for machine in [one].into_iter().chain(members.values_mut()) {
        let what = format!("an answer by name on {}", machine.name());
        let (asked, failed) = machine.wait_until(&what, Deadline::seconds(LIMIT), |machine| {
            Ok(Some(asker::counts(machine)?).filter(|(asked, _)| *asked > 0))
        })?;
        sum = (sum.0 + asked, sum.1 + failed);
    }
    Ok(sum)
}

/// Said again until the machine has heard it: it may be busy.
pub(super) fn install_soon(machine: &mut Machine) -> Result<()> {
    let begin = "systemctl is-active --quiet install-now.service || sudo systemd-run --quiet --collect \
                 --unit=install-now strake update install";
    machine.wait_until("the installation", Deadline::seconds(LIMIT), |machine| {
        Ok(machine.ssh(begin)?.status.success().then_some(()))
    })
}

pub(super) fn runs(machine: &mut Machine, release: &str) -> bool {
    let status = machine.status().ok().flatten().unwrap_or_default();
    status["release"] == release
        && status
            .pointer("/entry/state")
            .is_some_and(|is| is == "blessed")
}

/// Nobody is drained, and the container runs everywhere again.
pub(super) fn all_back(one: &mut Machine, members: &mut Members) -> Result<()> {
    let deadline = Deadline::seconds(2 * LIMIT);
    one.wait_until("the container on all machines", deadline, |one| {
        Ok((places(one, UNIT)?.len() == NUMBERS.len()).then_some(()))
    })?;
    one.wait_until("a free lock", deadline, |one| {
        let lock = told(one, "lock status")?.unwrap_or_default();
        let free = lock["holders"].as_array().is_some_and(Vec::is_empty);
        Ok(free.then_some(()))
    })?;
    ensure!(members.len() + 1 == NUMBERS.len(), "a machine is missing");
    Ok(())
}

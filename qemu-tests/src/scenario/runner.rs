//! Runs scenarios and reports every check on a line of its own.

use std::cell::{OnceCell, RefCell, RefMut};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::cluster::Members;
use super::update::Releases;
use super::{Check, How, Scenario};
use crate::image::Image;
use crate::machine::{Machine, MachineSpec, socket_directory};
use crate::registry::Registry;
use crate::ring::{Totals, Verdict, is_wanted, report};
use crate::ssh::KeyPair;
use crate::tools::Tools;
use crate::wait::Deadline;
use crate::web::Server;

/// Under emulation on two busy processors a boot takes a minute and more.
pub(super) const BOOT_LIMIT: u64 = 300;

/// How much of the matrices is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    Usual,
    Full,
}

/// What the scenarios share.
#[derive(Debug)]
pub struct Stage {
    pub image: Image,
    pub tools: Tools,
    pub key: KeyPair,
    directory: PathBuf,
    registry: RefCell<Option<Registry>>,
    web: OnceCell<Server>,
    releases: OnceCell<Releases>,
    members: RefCell<Members>,
}

impl Stage {
    /// `directory` is emptied of what an earlier run left.
    pub fn new(directory: &Path, image: Image, tools: &Tools) -> Result<Self> {
        end_leftovers(directory)?;
        fs::create_dir_all(directory)?;
        let image = image.kept_in(directory)?;
        let key = KeyPair::in_directory(directory, tools)?;
        let (directory, tools) = (directory.to_owned(), tools.clone());
        Ok(Self {
            image,
            tools,
            key,
            directory,
            registry: RefCell::new(None),
            web: OnceCell::new(),
            releases: OnceCell::new(),
            members: RefCell::default(),
        })
    }

    pub fn directory(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn spec(&self, name: &str) -> MachineSpec {
        MachineSpec::new(name, &self.image.disk, &self.key)
    }

    /// Starts a machine that is switched off when the value goes.
    pub fn start(&self, spec: MachineSpec) -> Result<Machine> {
        let directory = self.directory(&spec.name);
        let mut machine = Machine::start(spec, &directory, &self.tools)?;
        machine.wait_for_ssh(Deadline::seconds(BOOT_LIMIT))?;
        Ok(machine)
    }

    /// The registry on the host, started by the first who asks.
    pub fn registry(&self) -> Result<Registry> {
        if let Some(registry) = *self.registry.borrow() {
            return Ok(registry);
        }
        let registry = Registry::start(&self.directory("registry"), &self.tools)?;
        fs::write(self.registry_record(), serde_json::to_vec(&registry)?)?;
        *self.registry.borrow_mut() = Some(registry);
        Ok(registry)
    }

    /// The web server on the host, started by the first who asks.
    pub fn web(&self) -> Result<&Server> {
        if self.web.get().is_none() {
            let server = Server::start().context("starting the web server")?;
            let _ = self.web.set(server);
        }
        self.web.get().context("the web server was just started")
    }

    /// The releases to update to and their repository, made by the first who asks.
    pub(super) fn releases(&self) -> Result<&Releases> {
        if let Some(releases) = self.releases.get() {
            return Ok(releases);
        }
        let releases = Releases::new(&self.directory("releases"), &self.tools)?;
        Ok(self.releases.get_or_init(|| releases))
    }

    /// The other machines of a scenario that has several.
    pub(super) fn members(&self) -> RefMut<'_, Members> {
        self.members.borrow_mut()
    }

    /// Of the switch that a scenario with several machines runs.
    pub fn switch_sockets(&self) -> PathBuf {
        socket_directory(&self.directory)
    }

    fn registry_record(&self) -> PathBuf {
        registry_record(&self.directory)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.switch_sockets());
        if let Some(registry) = self.registry.take() {
            // The next run ends it, should this fail.
            let _ = registry.stop();
        }
    }
}

fn registry_record(directory: &Path) -> PathBuf {
    directory.join("registry.json")
}

/// A run that was killed leaves machines behind; only what its records name is ended.
fn end_leftovers(directory: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries {
        if let Ok(record) = crate::machine::Record::load(&entry?.path()) {
            record.process.kill()?;
        }
    }
    crate::publisher::end_leftover(&directory.join("releases/published"))?;
    if let Ok(text) = fs::read(registry_record(directory))
        && let Ok(registry) = serde_json::from_slice::<Registry>(&text)
    {
        registry.stop()?;
    }
    fs::remove_dir_all(directory).with_context(|| format!("emptying {}", directory.display()))
}

pub fn run(scenarios: &[&Scenario], stage: &Stage, wanted: &[String], extent: Extent) -> Totals {
    let mut totals = Totals::default();
    for scenario in scenarios
        .iter()
        .filter(|scenario| scenario.extent <= extent)
    {
        let full_name = |check: &Check| format!("{}: {}", scenario.name, check.name);
        let checks: Vec<(&Check, String)> = scenario
            .checks
            .iter()
            .map(|check| (check, full_name(check)))
            .filter(|(_, name)| is_wanted(wanted, name))
            .collect();
        if !checks.is_empty() {
            Run {
                stage,
                totals: &mut totals,
            }
            .scenario(scenario, &checks);
        }
    }
    totals
}

struct Run<'a> {
    stage: &'a Stage,
    totals: &'a mut Totals,
}

impl Run<'_> {
    fn scenario(&mut self, scenario: &Scenario, checks: &[(&Check, String)]) {
        let started = Instant::now();
        let mut machine = match (scenario.start)(self.stage) {
            Ok(machine) => machine,
            Err(error) => {
                let name = format!("{}: the machine comes up", scenario.name);
                self.report(&name, started.elapsed(), Verdict::Failed(error));
                self.skip(checks, "the machine did not come up");
                self.stage.members().clear();
                return;
            }
        };
        let name = format!("{}: the machine comes up", scenario.name);
        self.report(&name, started.elapsed(), Verdict::Passed);
        self.checks(&mut machine, checks);
        // Machines that nobody asks anything take time from the next ones.
        self.stage.members().clear();
    }

    fn checks(&mut self, machine: &mut Machine, checks: &[(&Check, String)]) {
        let mut across = Vec::new();
        for (place, (check, name)) in checks.iter().enumerate() {
            let started = Instant::now();
            let result = match check.how {
                How::Now(check) => check(machine, self.stage),
                How::AcrossReboot { before, after } => match before(machine, self.stage) {
                    Ok(found) => {
                        across.push((name, after, found));
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            let lost = result.is_err() && machine.ssh("true").is_err();
            let verdict = result.map_or_else(Verdict::Failed, |()| Verdict::Passed);
            self.report(name, started.elapsed(), verdict);
            if lost {
                self.skip(&checks[place + 1..], "the machine was lost");
                return;
            }
        }
        if across.is_empty() {
            return;
        }
        let started = Instant::now();
        if let Err(error) = machine.reboot(Deadline::seconds(BOOT_LIMIT)) {
            let error = error.context("rebooting");
            for (name, ..) in &across {
                let verdict = Verdict::Failed(anyhow!("{error:#}"));
                self.report(name, started.elapsed(), verdict);
            }
            return;
        }
        for (name, after, found) in across {
            let result = after(machine, self.stage, &found);
            let verdict = result.map_or_else(Verdict::Failed, |()| Verdict::Passed);
            self.report(name, started.elapsed(), verdict);
        }
    }

    fn skip(&mut self, checks: &[(&Check, String)], reason: &str) {
        for (_, name) in checks {
            self.report(name, Duration::ZERO, Verdict::Skipped(reason.to_owned()));
        }
    }

    fn report(&mut self, name: &str, took: Duration, verdict: Verdict) {
        report(self.totals, name, took, &verdict);
    }
}

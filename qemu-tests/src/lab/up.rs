//! Bringing a lab up: what is there is kept, what is missing is made.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cluster::{self, Cluster, Machine as ClusterMachine, name};
use super::state::{Lab, Services};
use crate::image::Image;
use crate::machine::{Machine, MachineSpec, SSH_PORT};
use crate::process::{ProcessId, ended_within};
use crate::progress::Progress;
use crate::registry::{GREETER_PORT, Registry};
use crate::ssh::KeyPair;
use crate::switch::{Control, Port, port_socket};
use crate::tools::{Tools, run};
use crate::wait::Deadline;

/// Generous: a cluster of many machines shares two processors under emulation.
const BOOT_LIMIT: u64 = 600;
const SWITCH_LIMIT: u64 = 10;

/// A machine that has come up.
#[derive(Debug)]
pub struct Booted {
    pub number: Port,
    pub ssh_port: u16,
    /// The web server of the example, when the cluster publishes its port.
    pub web_port: Option<u16>,
}

/// What is needed to switch a machine on.
#[derive(Debug)]
struct Supplies<'a> {
    lab: &'a Lab,
    cluster: &'a Cluster,
    tools: &'a Tools,
    disk: PathBuf,
    key: KeyPair,
    services: Services,
    membership: String,
}

pub fn up(
    lab: &Lab,
    cluster: &Cluster,
    image: &Image,
    tools: &Tools,
    progress: &Progress,
) -> Result<Vec<Booted>> {
    let _lock = lab.lock()?;
    let key = lab.key(tools)?;
    let services = start_services(lab, tools, progress)?;
    let disk = image.kept_in(lab.directory())?.disk;
    let membership = membership(lab.directory(), cluster.machines, tools)?;
    let supplies = Supplies {
        lab,
        cluster,
        tools,
        disk,
        key,
        services,
        membership,
    };
    let mut machines = Vec::new();
    for number in 1..=cluster.machines {
        if let Ok(record) = lab.running(number) {
            progress.say(&format!(
                "{} runs already (ssh port {})",
                name(number),
                record.ssh_port()
            ));
            continue;
        }
        let mut machine = supplies.switch_on(number)?;
        // A machine that does not come up is left for `lab console` and `lab logs`.
        machine.detach();
        progress.say(&format!("{} is switched on", name(number)));
        machines.push((number, machine));
    }
    let mut booted = Vec::new();
    for (number, machine) in &mut machines {
        wait_until_healthy(machine, progress)?;
        let (ssh_port, web_port) = (machine.port(SSH_PORT)?, machine.port(GREETER_PORT).ok());
        booted.push(Booted {
            number: *number,
            ssh_port,
            web_port,
        });
    }
    Ok(booted)
}

/// Of a cluster that is made once: machines that come later belong to the same one.
pub fn membership(directory: &Path, machines: Port, tools: &Tools) -> Result<String> {
    let kept = directory.join("cluster-init.yaml");
    let part = match fs::read_to_string(&kept) {
        Ok(part) => part,
        Err(_) => {
            let seeds = cluster::seeds(machines).join(",");
            let mut init = tools.strake();
            init.args(["cluster", "init", "--name", "lab", "--seeds", &seeds]);
            let part = run(&mut init)?;
            fs::write(&kept, &part).with_context(|| format!("writing {}", kept.display()))?;
            part
        }
    };
    Ok(cluster::membership(&part)?)
}

impl Supplies<'_> {
    fn switch_on(&self, number: Port) -> Result<Machine> {
        let Self {
            lab,
            cluster,
            tools,
            ..
        } = self;
        let directory = lab.machine_directory(number);
        if lab.record(number).is_ok() {
            return Machine::resume(&directory, tools)
                .with_context(|| format!("switching {} on again", name(number)));
        }
        let (ssh_key, registry) = (self.key.public()?, self.services.registry.address());
        let machine = ClusterMachine {
            number,
            ssh_key: &ssh_key,
            registry: &registry,
            membership: &self.membership,
        };
        let mut spec = MachineSpec::new(&machine.name(), &self.disk, &self.key)
            .config_drive(&machine.user_data(cluster)?)
            .lan(&port_socket(&lab.sockets(), number), &machine.mac());
        spec.memory_mib = cluster.memory;
        spec.cpus = cluster.processors;
        spec.disk_gib = cluster.disk;
        spec.published.clone_from(&cluster.publish);
        Machine::start(spec, &directory, tools)
            .with_context(|| format!("starting {}", name(number)))
    }
}

fn wait_until_healthy(machine: &mut Machine, progress: &Progress) -> Result<()> {
    let deadline = Deadline::seconds(BOOT_LIMIT);
    let name = machine.name().to_owned();
    machine.wait_for_ssh(deadline)?;
    progress.say(&format!("{name} can be logged in to"));
    let state = machine.wait_until_blessed(deadline)?;
    progress.say(&format!("{name} is healthy, its boot entry {state}"));
    if let Ok(port) = machine.port(GREETER_PORT) {
        machine.wait_until("an answer of the container", deadline, |machine| {
            machine.http(GREETER_PORT, "/")
        })?;
        progress.say(&format!("{name} answers at http://127.0.0.1:{port}/"));
    }
    Ok(())
}

fn start_services(lab: &Lab, tools: &Tools, progress: &Progress) -> Result<Services> {
    if let Some(services) = lab.services()
        && services.switch.is_alive()
        && services.registry.is_alive()
    {
        return Ok(services);
    }
    if lab
        .machines()
        .iter()
        .any(|(_, record)| record.process.is_alive())
    {
        bail!("the lab's switch or registry has ended while machines run; `cargo lab down` first");
    }
    let switch = start_switch(lab)?;
    let registry = progress.stage("registry with the example's container image", || {
        Registry::start(&lab.directory().join("registry"), tools)
    });
    let registry = registry.inspect_err(|_| drop(switch.kill()))?;
    let services = Services { switch, registry };
    fs::write(lab.services_file(), serde_json::to_vec_pretty(&services)?)?;
    Ok(services)
}

fn start_switch(lab: &Lab) -> Result<ProcessId> {
    let sockets = lab.make_sockets()?;
    let log = File::create(lab.directory().join("switch.log"))?;
    // By this name the program is found even when a build has replaced it meanwhile.
    let child = Command::new("/proc/self/exe")
        .arg("switch")
        .arg(&sockets)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("starting the switch")?;
    let switch = ProcessId::of(child.id())?;
    let ended = switch.open().context("watching the switch")?;
    let deadline = Deadline::seconds(SWITCH_LIMIT);
    while Control::connect(&sockets).is_err() {
        if ended_within(&ended, Duration::from_millis(20))? || deadline.is_over() {
            let said = fs::read_to_string(lab.directory().join("switch.log"))?;
            bail!("the switch does not answer:\n{said}");
        }
    }
    Ok(switch)
}

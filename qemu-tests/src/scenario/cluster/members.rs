//! Three machines with one cloud-config, word for word, on a switch of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::machine::{Machine, MachineSpec, make_private};
use crate::scenario::Stage;
use crate::scenario::runner::BOOT_LIMIT;
use crate::switch::{self, Control, port_socket};
use crate::tools::run;
use crate::wait::Deadline;

pub(super) const NUMBERS: [u8; 3] = [1, 2, 3];
/// An election and more, on machines that share two processors.
pub(super) const LIMIT: u64 = 300;
const SEED: u64 = 2;

const NETWORK: &str = "  - path: /etc/systemd/network/10-lab{{number}}.network
    content: |
      [Match]
      MACAddress={{mac}}
      [Network]
      Address={{address}}/24
";

/// The machines beside the one that the runner holds, by number.
pub(in crate::scenario) type Members = BTreeMap<u8, Machine>;

pub(super) fn address(number: u8) -> String {
    format!("10.9.0.{number}")
}

fn mac(number: u8) -> String {
    format!("52:54:00:09:02:{number:02x}")
}

/// What a scenario has beside the cluster itself.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Sections of the cloud-config.
    pub(super) sections: String,
    /// Items of `write_files`.
    pub(super) files: String,
    /// Keys of `strake`, indented by two; the boot is healthy at once without them.
    pub(super) strake: Option<String>,
    pub(super) published: Vec<u16>,
}

/// Each machine finds its own address in it.
fn user_data(stage: &Stage, extra: &Extra) -> Result<String> {
    let made = stage.directory("cluster-init.yaml");
    let part = match fs::read_to_string(&made) {
        Ok(part) => part,
        Err(_) => {
            let seeds = NUMBERS.map(address).join(",");
            let mut init = stage.tools.strake();
            init.args(["cluster", "init", "--name", "lab", "--seeds", &seeds]);
            let part = run(&mut init)?;
            fs::write(&made, &part).context("keeping the cluster's part")?;
            part
        }
    };
    let networks = NUMBERS.map(|number| {
        NETWORK
            .replace("{{number}}", &number.to_string())
            .replace("{{mac}}", &mac(number))
            .replace("{{address}}", &address(number))
    });
    let key = stage.key.public()?;
    let networks = networks.concat();
    let Extra {
        sections, files, ..
    } = extra;
    let strake = extra.strake.as_deref().unwrap_or("  health: {for: 1s}\n");
    Ok(format!(
        "#cloud-config\nssh_authorized_keys:\n  - {key}\n{sections}write_files:\n\
         {networks}{files}{part}{strake}"
    ))
}

fn sockets(stage: &Stage) -> PathBuf {
    stage.switch_sockets().join("members")
}

fn spec(stage: &Stage, name: &str, number: u8, extra: &Extra) -> Result<MachineSpec> {
    let mut spec = stage
        .spec(name)
        .config_drive(&user_data(stage, extra)?)
        .lan(&port_socket(&sockets(stage), number), &mac(number));
    spec.memory_mib = 1024;
    spec.published.clone_from(&extra.published);
    Ok(spec)
}

/// Switched on; nobody has waited for it yet.
pub(super) fn begin(stage: &Stage, name: &str, number: u8, extra: &Extra) -> Result<Machine> {
    let directory = stage.directory(name);
    Machine::start(spec(stage, name, number, extra)?, &directory, &stage.tools)
}

pub(super) fn start(stage: &Stage) -> Result<Machine> {
    start_with(stage, &Extra::default())
}

/// All three at once; the first is the runner's.
pub(super) fn start_with(stage: &Stage, extra: &Extra) -> Result<Machine> {
    make_private(&stage.switch_sockets())?;
    let sockets = sockets(stage);
    make_private(&sockets)?;
    // Ends with the test run.
    thread::spawn(move || switch::serve(&sockets, SEED));
    let mut first = begin(stage, "member1", 1, extra)?;
    for number in [2, 3] {
        let machine = begin(stage, &format!("member{number}"), number, extra)?;
        stage.members().insert(number, machine);
    }
    first.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    for machine in stage.members().values_mut() {
        machine.wait_for_ssh(Deadline::seconds(2 * BOOT_LIMIT))?;
    }
    Ok(first)
}

pub(super) fn control(stage: &Stage) -> Result<Control> {
    Control::connect(&sockets(stage)).context("reaching the switch")
}

/// A command's JSON; nothing while it fails.
pub(super) fn told(machine: &mut Machine, command: &str) -> Result<Option<Value>> {
    let output = machine.ssh(&format!("sudo strake {command} -o json"))?;
    Ok(serde_json::from_str(&output.stdout).ok())
}

/// Where the unit is active, by the address of its machine, as this machine is told.
pub(super) fn places(machine: &mut Machine, unit: &str) -> Result<Vec<String>> {
    let listed = told(machine, "unit list")?;
    let rows = listed.as_ref().and_then(Value::as_array);
    let active = |row: &&Value| row["unit"] == unit && row["active"] == "active";
    let address = |row: &Value| Some(row["machine"].as_str()?.rsplit_once('/')?.1.to_owned());
    let rows = rows.into_iter().flatten().filter(active);
    Ok(rows.filter_map(address).collect())
}

pub(super) fn number_of(address: &str) -> Result<u8> {
    let last = address.rsplit_once('.').map(|(_, last)| last);
    let number = last.and_then(|last| last.parse().ok());
    number.with_context(|| format!("{address} is no machine's"))
}

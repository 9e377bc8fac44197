//! What is asked of a machine about its config, wherever that came from.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::runner::BOOT_LIMIT;
use crate::machine::Machine;
use crate::wait::Deadline;

/// What `strake status` says of the config.
pub(super) fn config(machine: &mut Machine) -> Result<Value> {
    let mut status = machine.status()?.context("strake status says nothing")?;
    Ok(status["config"].take())
}

/// The config from this source is in force, nothing is wrong with it, and the boot is a good one.
pub(super) fn in_force(machine: &mut Machine, source: &str) -> Result<()> {
    machine.wait_until_blessed(Deadline::seconds(BOOT_LIMIT))?;
    let config = config(machine)?;
    let is_applied = config["source"] == source && config["outcome"] == "applied";
    let problems = config["problems"].as_array().map_or(0, Vec::len);
    ensure!(
        is_applied && problems == 0,
        "expected {source} without problems, strake status says {config}"
    );
    nothing_failed(machine)
}

pub(super) fn nothing_failed(machine: &mut Machine) -> Result<()> {
    // Its exit code only repeats what it prints.
    let state = machine.ask("systemctl is-system-running --wait || true")?;
    let failed = machine.ask("systemctl --failed --no-legend --plain")?;
    ensure!(
        failed.is_empty() && state.trim() == "running",
        "the system is {state}{failed}"
    );
    Ok(())
}

/// Commands and what each must say.
pub(super) fn answers(machine: &mut Machine, expected: &[(&str, &str)]) -> Result<()> {
    for (command, expected) in expected {
        let answer = machine.ask(command)?;
        ensure!(
            answer.trim() == *expected,
            "`{command}` said {answer:?}, not {expected:?}"
        );
    }
    Ok(())
}

/// Whether a problem of the config says this.
pub(super) fn tells(config: &Value, text: &str) -> bool {
    let problems = config["problems"].as_array().into_iter().flatten();
    problems
        .filter_map(|problem| problem["message"].as_str())
        .any(|message| message.contains(text))
}

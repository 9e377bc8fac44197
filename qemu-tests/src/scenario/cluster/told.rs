//! What a unit says, asked on a machine that does not hold it.

use anyhow::{Context, Result, ensure};

use super::members::told;
use super::{address, id_at, number_of, on, start_unit};
use crate::machine::Machine;
use crate::scenario::Stage;

const NAME: &str = "talker.service";
const SAID: &str = "the talker has spoken";

pub(super) fn told_anywhere(one: &mut Machine, stage: &Stage) -> Result<()> {
    let id = id_at(one, &address(2))?;
    let options = format!("ExecStartPre=/usr/bin/echo {SAID}\n[X-Fleet]\nMachineID={id}");
    start_unit(one, NAME, &options)?;
    ensure!(number_of(&on(one, NAME)?)? == 2, "it is not on 2");
    // Root with the machine's own certificate; a user through the machine's service; no ssh.
    for command in ["sudo strake unit journal", "fleetctl journal"] {
        let said = one.ask(&format!("{command} -n 50 {NAME}"))?;
        ensure!(said.contains(SAID), "{command}: {said}");
    }
    for command in ["sudo strake unit status", "fleetctl status"] {
        let said = one.ask(&format!("{command} {NAME}"))?;
        ensure!(
            said.contains("Active: active (running)"),
            "{command}: {said}"
        );
    }
    let followed = one.ask(&format!(
        "timeout 20 sudo strake unit journal -f -n 50 {NAME} | grep --max-count 1 '{SAID}'"
    ))?;
    ensure!(followed.contains(SAID), "followed: {followed}");
    let bare = format!("curl -sS --max-time 20 -k https://{}:2383/", address(2));
    let bare = one.ssh(&bare)?;
    ensure!(
        matches!(bare.status.code(), Some(35 | 56)),
        "a machine does not refuse who shows no certificate: {bare:?}"
    );
    let refused = one.ssh("sudo strake unit journal none.service")?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");

    let events = one.ask(&format!("sudo strake events --unit {NAME}"))?;
    ensure!(events.contains("placed on"), "events: {events}");
    let status = one.status()?.context("strake status says nothing")?;
    let summary = &status["cluster"]["summary"];
    let is_told = summary["registered"] == true && summary["machines"] == 3;
    ensure!(
        is_told && summary["leader"].is_string(),
        "{}",
        status["cluster"]
    );

    let mut members = stage.members();
    let two = members.get_mut(&2).context("no second machine")?;
    let fields =
        format!("sudo journalctl --output json UNIT={NAME} SYSLOG_IDENTIFIER=strake-scheduler");
    let lines = two.ask(&fields)?;
    let has_fields = lines.contains("\"MACHINE\"") && lines.contains("\"PLAN\"");
    ensure!(
        lines.contains("start talker.service") && has_fields,
        "journal: {lines}"
    );
    let figures = "curl -sS --unix-socket /run/strake/metrics/scheduler.sock http://x/metrics";
    let figures = two.ask(figures)?;
    ensure!(
        figures.contains("strake_agent_registered 1\n"),
        "metrics: {figures}"
    );
    let memory = figures
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    println!(
        "        the scheduler's memory: {} bytes",
        memory.unwrap_or("unknown")
    );
    drop(members);
    told(one, &format!("unit status {NAME}"))?.context("no status")?;
    one.ask(&format!("sudo strake unit destroy {NAME}"))?;
    Ok(())
}

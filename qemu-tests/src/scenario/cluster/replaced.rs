//! Replicas of a container get another text while a client uses them.

use anyhow::{Result, ensure};

use super::client::Client;
use super::members::{LIMIT, NUMBERS, places};
use super::rolling::ports;
use crate::machine::Machine;
use crate::registry::GREETER_PORT;
use crate::scenario::Stage;
use crate::wait::Deadline;

pub(super) const SHOP_PORT: u16 = GREETER_PORT + 1;
const TEMPLATE: &str = "shop@.container";

fn submit(machine: &mut Machine, stage: &Stage, edition: u8) -> Result<()> {
    let registry = stage.registry()?.address();
    let text = format!(
        "[Container]\nImage={registry}/greeter:1\nPublishPort={SHOP_PORT}:{GREETER_PORT}\n\
         Environment=EDITION={edition}\n[Service]\nRestart=always\nTimeoutStartSec=300\n[X-Fleet]\n\
         Conflicts=shop@*\n[X-Strake]\nReplicas={}\nMaxUnavailable=1\nHealthyFor=3s\nHealthyWithin=5m",
        NUMBERS.len()
    );
    machine.ask(&format!("cat >/tmp/{TEMPLATE} <<'END'\n{text}\nEND"))?;
    Ok(())
}

fn editions(machine: &mut Machine) -> Result<String> {
    machine.ask(
        "sudo docker ps --quiet | xargs --no-run-if-empty sudo docker inspect --format '{{.Config.Env}}'",
    )
}

pub(super) fn replaced(one: &mut Machine, stage: &Stage) -> Result<()> {
    submit(one, stage, 1)?;
    let start = "cd /tmp && sudo strake unit start --no-block";
    one.ask(&format!("{start} {TEMPLATE}"))?;
    let mut members = stage.members();
    for machine in [&mut *one].into_iter().chain(members.values_mut()) {
        let what = format!("a replica on {}", machine.name());
        machine.wait_until(&what, Deadline::seconds(2 * LIMIT), |machine| {
            machine.http(SHOP_PORT, "/")
        })?;
    }
    let client = Client::start(ports(one, &members, SHOP_PORT)?);
    submit(one, stage, 2)?;
    one.ask(&format!("{start} --replace {TEMPLATE}"))?;
    let mut all_new = Ok(());
    for machine in [&mut *one].into_iter().chain(members.values_mut()) {
        let what = format!("the new text on {}", machine.name());
        all_new = all_new.and(
            machine.wait_until(&what, Deadline::seconds(2 * LIMIT), |machine| {
                let editions = editions(machine)?;
                let is_new = editions.contains("EDITION=2") && !editions.contains("EDITION=1");
                Ok(is_new.then_some(()))
            }),
        );
    }
    let (asked, failed) = client.end()?;
    println!("        {asked} requests, {failed} failed");
    all_new?;
    ensure!(failed == 0, "{failed} of {asked} requests failed");
    // The machines' turn comes next: a replica that fits no other machine would hold up each.
    one.ask(&format!("sudo strake unit destroy {TEMPLATE}"))?;
    one.wait_until("no replica", Deadline::seconds(LIMIT), |one| {
        let mut left = Vec::new();
        for number in NUMBERS {
            left.extend(places(one, &format!("shop@{number}.container"))?);
        }
        Ok(left.is_empty().then_some(()))
    })
}

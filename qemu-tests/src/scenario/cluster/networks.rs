//! Networks with names: containers join them on every machine, and policy keeps them apart.

use anyhow::{Result, ensure};

use super::members::LIMIT;
use crate::machine::Machine;
use crate::registry::{GREETER_PORT, GREETING};
use crate::scenario::Stage;
use crate::wait::Deadline;

/// Below `strake.overlay`.
pub(super) const CONFIG: &str = "    networks:
      - {name: db, network: 10.78.0.0/16, vni: 2}
      - {name: web, network: 10.79.0.0/16, vni: 3, allow: [db]}
";

const UNIT: &str = "[Container]\nImage={{registry}}/greeter:1\nNetwork={{network}}\n";

/// The address of a container in the network, of its name on this machine.
fn run(machine: &mut Machine, network: &str, registry: &str) -> Result<String> {
    let format = format!("'{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}'");
    let runs = format!("sudo docker inspect in-{network} --format {format}");
    if !machine.ssh(&runs)?.status.success() {
        let start = format!("sudo docker run --detach --network {network} --name in-{network}");
        machine.ask(&format!("{start} {registry}/greeter:1"))?;
    }
    Ok(machine.ask(&runs)?.trim().to_owned())
}

fn reaches(machine: &mut Machine, container: &str, address: &str) -> Result<bool> {
    let inside = format!(
        "sudo nsenter --net --target $(sudo docker inspect {container} --format '{{{{.State.Pid}}}}')"
    );
    let asked = machine.ssh(&format!(
        "{inside} curl -sS --max-time 5 http://{address}:{GREETER_PORT}/"
    ))?;
    Ok(asked.stdout.contains(GREETING))
}

fn until_reached(machine: &mut Machine, container: &str, address: &str) -> Result<()> {
    let what = format!("{address} seen from {container} on {}", machine.name());
    machine.wait_until(&what, Deadline::seconds(LIMIT), |machine| {
        Ok(reaches(machine, container, address)?.then_some(()))
    })
}

/// Both machines have a container `greeter` in the network without a name.
pub(super) fn apart(one: &mut Machine, other: &mut Machine, stage: &Stage) -> Result<()> {
    let registry = stage.registry()?.address();
    let mut addresses = Vec::new();
    for machine in [&mut *one, &mut *other] {
        let (db, web) = (
            run(machine, "db", &registry)?,
            run(machine, "web", &registry)?,
        );
        ensure!(
            db.starts_with("10.78.") && web.starts_with("10.79."),
            "the addresses are {db} and {web}"
        );
        addresses.push((db, web));
    }
    let [(db_here, web_here), (db_there, web_there)] = &addresses[..] else {
        unreachable!("there are two machines");
    };
    until_reached(one, "in-db", db_there)?;
    until_reached(other, "in-db", db_here)?;
    // The pair is allowed, also on one machine, where docker itself keeps its networks apart.
    until_reached(one, "in-db", web_there)?;
    until_reached(one, "in-web", db_here)?;
    until_reached(other, "in-db", web_there)?;
    for address in [db_here, db_there, web_here, web_there] {
        ensure!(
            !reaches(one, "greeter", address)?,
            "{address} is reached from the network without a name"
        );
    }
    one.ask("sudo nft flush table inet strake_overlay")?;
    one.wait_until("the rules again", Deadline::seconds(LIMIT), |one| {
        Ok((!reaches(one, "greeter", db_there)?).then_some(()))
    })
}

/// A unit's network and address, right and wrong.
pub(super) fn of_units(one: &mut Machine, stage: &Stage) -> Result<()> {
    let registry = stage.registry()?.address();
    let mut begin = |name: &str, network: &str| {
        let unit = UNIT
            .replace("{{registry}}", &registry)
            .replace("{{network}}", network);
        let unit = unit.replace('\n', "\\n");
        one.ask(&format!("printf '{unit}' >/tmp/{name}.container"))?;
        // What cannot start is told by its unit, not by the order.
        one.ssh(&format!(
            "sudo strake unit start --no-block /tmp/{name}.container"
        ))
    };
    begin("store", "db")?;
    begin("lost", "nobody")?;
    let deadline = Deadline::seconds(LIMIT);
    let found = one.wait_until("the unit's name", deadline, |one| {
        let listed = one.ssh("getent ahostsv4 store.lab.strake")?.stdout;
        let address = listed.split_whitespace().next().map(str::to_owned);
        Ok(address)
    })?;
    ensure!(found.starts_with("10.78."), "store.lab.strake is {found}");
    until_reached(one, "in-db", &found)?;
    one.wait_until("why the other one does not start", deadline, |one| {
        let told = one.ssh("sudo strake unit journal lost.container")?.stdout;
        Ok(told.contains("network nobody not found").then_some(()))
    })?;
    let taken = run(one, "db", &registry)?;
    for (address, why) in [
        ("10.99.0.1", "no configured subnet"),
        (&taken, "already in use"),
    ] {
        let tried =
            format!("sudo docker run --rm --network db --ip {address} {registry}/greeter:1");
        let told = one.ssh(&format!("{tried} 2>&1"))?;
        let is_refused = !told.status.success() && told.stdout.to_lowercase().contains(why);
        ensure!(is_refused, "{address}: {}", told.stdout);
    }
    Ok(())
}

//! Units are found by their names, from containers and from machines, wherever they run.

use anyhow::{Context, Result, ensure};

use super::members::LIMIT;
use crate::machine::Machine;
use crate::registry::{GREETER_PORT, GREETING};
use crate::scenario::Stage;
use crate::wait::Deadline;

const NAME: &str = "greet.lab.strake";
/// Each on a machine of its own.
const UNIT: &str =
    "[Container]\nImage={{registry}}/greeter:1\n[X-Fleet]\nConflicts=greet@*.container\n";

/// How one asks who is in the container `greeter`: its network, and the resolver that docker gave it.
const INSIDE: &str = "sudo unshare --mount sh -c 'mount --bind \
     $(docker inspect greeter --format {{.ResolvConfPath}}) $(readlink -f /etc/resolv.conf) && \
     exec nsenter --net --target $(docker inspect greeter --format {{.State.Pid}}) ";

/// The container `greeter` runs on this machine.
fn in_container(machine: &mut Machine, command: &str) -> Result<String> {
    let told = machine.ssh(&format!("{INSIDE}{command}'"))?;
    Ok(told.stdout)
}

fn addresses(listed: &str) -> Vec<String> {
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let mut all: Vec<String> = listed.lines().filter_map(first).collect();
    all.sort();
    all.dedup();
    all
}

fn found_in_container(machine: &mut Machine, name: &str) -> Result<Vec<String>> {
    let listed = in_container(machine, &format!("getent -s dns ahostsv4 {name}"))?;
    Ok(addresses(&listed))
}

/// Until the name has so many addresses, for containers of this machine.
fn found(machine: &mut Machine, name: &str, count: usize) -> Result<Vec<String>> {
    let what = format!("{count} addresses of {name} on {}", machine.name());
    let waited = machine.wait_until(&what, Deadline::seconds(LIMIT), |machine| {
        let found = found_in_container(machine, name)?;
        Ok((found.len() == count).then_some(found))
    });
    if waited.is_err() {
        let told = "sudo strake names; resolvectl status strake-names; sudo docker ps --all; \
                    journalctl --no-pager -n 40 -u strake-scheduler";
        let told = machine.ssh(told)?.stdout;
        return waited.with_context(|| format!("what {} says:\n{told}", machine.name()));
    }
    waited
}

/// Both machines have a container `greeter`.
pub(super) fn by_name(one: &mut Machine, other: &mut Machine, stage: &Stage) -> Result<()> {
    let unit = UNIT.replace("{{registry}}", &stage.registry()?.address());
    one.ask(&format!(
        "printf '{}' >/tmp/greet@.container",
        unit.replace('\n', "\\n")
    ))?;
    one.ask("sudo strake unit submit /tmp/greet@.container")?;
    one.ask("sudo strake unit start --timeout 300 greet@1.container greet@2.container")?;
    for machine in [&mut *one, &mut *other] {
        let all = found(machine, NAME, 2)?;
        let mut each = found(machine, &format!("1.{NAME}"), 1)?;
        each.extend(found(machine, &format!("2.{NAME}"), 1)?);
        each.sort();
        ensure!(all == each, "{NAME} is {all:?}, its instances are {each:?}");
        for instance in [1, 2] {
            let url = format!("http://{instance}.{NAME}:{GREETER_PORT}/");
            let answer = in_container(machine, &format!("curl -sS --max-time 10 {url}"))?;
            ensure!(answer.contains(GREETING), "{url} says {answer:?}");
        }
        // The machine itself asks systemd-resolved, which asks here for these names only.
        let host = addresses(&machine.ask(&format!("getent ahostsv4 {NAME}"))?);
        ensure!(host == all, "the machine finds {host:?}");
        let link = machine.ask("resolvectl domain strake-names")?;
        ensure!(link.contains("~lab.strake"), "{link}");
        // A name that only the machine's own resolver knows.
        let stub = found_in_container(machine, "_localdnsstub")?;
        ensure!(
            stub == ["127.0.0.53"],
            "what is not of the cluster: {stub:?}"
        );
        let nobody = found_in_container(machine, "nobody.lab.strake")?;
        ensure!(nobody.is_empty(), "{nobody:?}");
    }
    one.ask("sudo strake unit stop greet@2.container")?;
    for machine in [one, other] {
        let left = found(machine, NAME, 1)?;
        ensure!(left == found(machine, &format!("1.{NAME}"), 1)?, "{left:?}");
    }
    Ok(())
}

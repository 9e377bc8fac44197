//! What only the machine of a unit knows: status and journal through the API, and ssh. Where the API
//! has no way to that machine, ssh has to do for all three, as it did in the original.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::client::{Client, Machine};
use super::flags::Flags;
use crate::cli::output::{Reader, print, write};
use crate::cli::ssh::Login;
use crate::cli::unit::find;
use crate::exit::Exit;
use crate::peer::Wanted;
use crate::root::Root;
use crate::scheduler::facts;
use crate::scheduler::name::UnitName;

pub(super) async fn status(client: &Client, flags: &Flags) -> Result<Exit> {
    let mut exit = Exit::Done;
    for word in &flags.words {
        let (unit, machine) = on_machine(client, word, "status").await?;
        if let Some(report) = client.report(unit.as_str()).await? {
            print(&report.text);
            if report.code != 0 {
                exit = Exit::Failed;
            }
            continue;
        }
        let unit = unit.on_systemd();
        let code = run(
            &machine,
            flags,
            &["systemctl", "status", "-l", unit.as_str()],
        )?;
        if code != Some(0) {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

pub(super) async fn journal(client: &Client, flags: &Flags) -> Result<Exit> {
    let word = flags.words.first().context("journal needs a unit")?;
    let (unit, machine) = on_machine(client, word, "journal").await?;
    let lines = flags.number("lines").map_err(anyhow::Error::msg)?;
    let wanted = Wanted {
        lines: u32::try_from(lines).unwrap_or(u32::MAX),
        follow: flags.is_set("follow"),
        output: flags.value("output").to_string(),
    };
    let wanted = wanted.checked()?;
    if let Some(body) = client.journal(unit.as_str(), &wanted).await? {
        return copy(body).await;
    }
    let (unit, lines) = (unit.on_systemd(), lines.to_string());
    let mut command = vec!["journalctl", "--unit", unit.as_str()];
    command.extend(["--no-pager", "-n", &lines]);
    command.extend(["--output", flags.value("output")]);
    if flags.is_set("sudo") {
        command.insert(0, "sudo");
    }
    if flags.is_set("follow") {
        command.push("-f");
    }
    match run(&machine, flags, &command)? {
        Some(0) => Ok(Exit::Done),
        _ => Ok(Exit::Failed),
    }
}

async fn copy(mut body: Incoming) -> Result<Exit> {
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the journal broke off")?;
        let part = frame.into_data().unwrap_or_default();
        if write(&part) == Reader::Gone {
            break;
        }
    }
    Ok(Exit::Done)
}

/// The machine is the first word, or that of `--machine` or `--unit`; the rest is a command.
pub(super) async fn ssh(client: &Client, flags: &Flags) -> Result<Exit> {
    let (named, unit) = (flags.value("machine"), flags.value("unit"));
    let mut rest = flags.words.as_slice();
    let machine = match (named, unit) {
        ("", "") => {
            let (first, others) = rest
                .split_first()
                .context("ssh needs a machine or a unit")?;
            rest = others;
            match machine(client, first).await? {
                Some(machine) => machine,
                None => on_machine(client, first, "ssh").await?.1,
            }
        }
        ("", unit) => on_machine(client, unit, "ssh").await?.1,
        (named, "") => {
            let found = machine(client, named).await?;
            found.with_context(|| format!("machine {named} does not exist"))?
        }
        _ => bail!("both --machine and --unit are given: one is enough"),
    };
    if rest.first().map(String::as_str) == Some("--") {
        rest = &rest[1..];
    }
    let error = remote(&machine, flags, rest)?.exec();
    Err(error).context("running ssh")
}

async fn machine(client: &Client, word: &str) -> Result<Option<Machine>> {
    let machines = client.machines().await?;
    let fits = |machine: &Machine| !word.is_empty() && machine.id.starts_with(word);
    let mut found = machines.into_iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => bail!("found more than one machine with prefix {word:?}"),
        (found, _) => Ok(found),
    }
}

async fn on_machine(client: &Client, word: &str, verb: &str) -> Result<(UnitName, Machine)> {
    let name = find::known(word)?;
    let unit = client.unit(name.as_str()).await?;
    let unit = unit.with_context(|| format!("unit {name} does not exist"))?;
    if unit.is_global() {
        bail!("unable to {verb} global unit {name}: use `systemctl` on a machine");
    }
    if unit.machine_id.is_empty() {
        bail!("unit {name} is on no machine");
    }
    let machine = machine(client, &unit.machine_id).await?;
    let machine = machine.with_context(|| format!("the machine of {name} is away"))?;
    Ok((name, machine))
}

fn run(machine: &Machine, flags: &Flags, command: &[&str]) -> Result<Option<i32>> {
    let own = facts::machine_id(&Root::new("/")).ok();
    let status = if own.is_some_and(|own| own.as_str() == machine.id) {
        Command::new(command[0]).args(&command[1..]).status()
    } else {
        let words: Vec<String> = command.iter().map(ToString::to_string).collect();
        remote(machine, flags, &words)?.status()
    };
    Ok(status
        .with_context(|| format!("running {}", command[0]))?
        .code())
}

fn remote(machine: &Machine, flags: &Flags, command: &[String]) -> Result<Command> {
    let timeout = flags.number("ssh-timeout").map_err(anyhow::Error::msg)?;
    let mut options = vec![format!("-oConnectTimeout={timeout}")];
    if flags.value("strict-host-key-checking") == "false" {
        options.extend(
            [
                "-oStrictHostKeyChecking=no",
                "-oUserKnownHostsFile=/dev/null",
            ]
            .map(str::to_string),
        );
    }
    if flags.is_set("forward-agent") {
        options.push("-A".to_string());
    }
    let login = Login {
        address: &machine.address,
        port: flags.value("ssh-port"),
        user: flags.value("ssh-username"),
        options,
    };
    login.command(command)
}

//! The verbs that change units, and waiting until they have.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use super::client::{Client, Unit, options};
use super::flags::Flags;
use crate::cli::unit::find;
use crate::exit::Exit;
use crate::scheduler::name::UnitName;
use crate::scheduler::text::Text;

/// What an attempt of `--block-attempts` is.
const ATTEMPT: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(200);

/// Of the words of a verb: names, with globs over what is known for the verbs that take them.
pub(super) async fn set(client: &Client, flags: &Flags, verb: &str) -> Result<Exit> {
    let state = match verb {
        "submit" | "unload" => "inactive",
        "load" | "stop" => "loaded",
        _ => "launched",
    };
    let creates = matches!(verb, "submit" | "load" | "start");
    let mut names = Vec::new();
    for word in &flags.words {
        let name = match creates {
            true => created(client, flags, word).await?,
            false => find::known(word)?,
        };
        let Some(unit) = client.unit(name.as_str()).await? else {
            bail!("unable to find unit {name}");
        };
        if verb == "stop" && unit.current_state == "inactive" && unit.desired_state == "inactive" {
            bail!("unable to stop unit {name} in state inactive");
        }
        if verb != "submit" && unit.desired_state != state {
            client.put(name.as_str(), state, &[]).await?;
        }
        names.push((name, unit.is_global()));
    }
    if verb == "submit" {
        for (name, _) in &names {
            println!("Unit {name} inactive");
        }
        return Ok(Exit::Done);
    }
    let blocks = !flags.is_set("no-block");
    let mut open = BTreeSet::new();
    for (name, is_global) in names {
        match (is_global, blocks) {
            // Nobody waits for all machines.
            (true, _) => println!("Triggered global unit {name} {verb}"),
            (false, false) => println!("Triggered unit {name} {verb}"),
            (false, true) => drop(open.insert(name)),
        }
    }
    wait(client, flags, open, state).await
}

async fn wait(
    client: &Client,
    flags: &Flags,
    mut open: BTreeSet<UnitName>,
    state: &str,
) -> Result<Exit> {
    let attempts = flags.number("block-attempts").map_err(anyhow::Error::msg)?;
    let end = Instant::now() + ATTEMPT * u32::try_from(attempts).unwrap_or(u32::MAX);
    loop {
        for name in open.clone() {
            let unit = client.unit(name.as_str()).await?;
            let unit = unit.with_context(|| format!("unit {name} was destroyed meanwhile"))?;
            if unit.current_state == state {
                told(client, &unit).await?;
                open.remove(&name);
            }
        }
        if open.is_empty() {
            return Ok(Exit::Done);
        }
        if attempts > 0 && Instant::now() >= end {
            for name in open {
                eprintln!("Error waiting for unit {name}: timed out waiting for it to be {state}");
            }
            return Ok(Exit::Failed);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn told(client: &Client, unit: &Unit) -> Result<()> {
    let (name, state) = (&unit.name, &unit.current_state);
    if unit.machine_id.is_empty() {
        println!("Unit {name} {state}");
        return Ok(());
    }
    let machines = client.machines().await?;
    let machine = machines
        .iter()
        .find(|machine| machine.id == unit.machine_id);
    let address = machine.map_or("", |machine| machine.address.as_str());
    let short = unit.machine_id.get(..8).unwrap_or(&unit.machine_id);
    println!("Unit {name} {state} on {short}.../{address}");
    Ok(())
}

/// A file is submitted; an instance gets the text of its template, from the cluster first.
async fn created(client: &Client, flags: &Flags, word: &str) -> Result<UnitName> {
    let path = Path::new(word);
    let name = find::known(word)?;
    let known = client.unit(name.as_str()).await?;
    let local = local(client, path, &name, known.is_some()).await?;
    match (known, local) {
        (None, None) => bail!("failed getting unit {name} from file: no such file or unit"),
        (None, Some(text)) => {
            client
                .put(name.as_str(), "inactive", &options(&text))
                .await?
        }
        (Some(known), Some(text)) if known.text().as_ref() != Some(&text) => {
            if flags.is_set("replace") {
                client
                    .put(name.as_str(), &known.desired_state, &options(&text))
                    .await?;
            } else {
                eprintln!(
                    "WARNING: Unit {name} in registry differs from local unit file {}. Add --replace \
                     to override.",
                    path.display()
                );
            }
        }
        (Some(_), _) => {}
    }
    Ok(name)
}

async fn local(
    client: &Client,
    path: &Path,
    name: &UnitName,
    is_known: bool,
) -> Result<Option<Text>> {
    if path.is_file() {
        return Ok(Some(find::read(path)?.1));
    }
    let Some(template) = name.template().filter(|_| !is_known) else {
        return Ok(None);
    };
    if let Some(unit) = client.unit(template.as_str()).await? {
        return Ok(unit.text());
    }
    let beside = path.with_file_name(template.as_str());
    match beside.is_file() {
        true => Ok(Some(find::read(&beside)?.1)),
        false => Ok(None),
    }
}

pub(super) async fn destroy(client: &Client, flags: &Flags) -> Result<Exit> {
    let mut exit = Exit::Done;
    for word in &flags.words {
        let name = find::known(word)?;
        match client.delete(name.as_str()).await? {
            true => println!("Destroyed {name}"),
            false => {
                eprintln!("Error destroying units: unit {name} does not exist");
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

/// Stop, then start, one unit after the other.
pub(super) async fn restart(client: &Client, flags: &Flags) -> Result<Exit> {
    for word in &flags.words {
        let name = find::known(word)?;
        let Some(unit) = client.unit(name.as_str()).await? else {
            bail!("unable to find unit {name}");
        };
        if unit.is_global() {
            bail!("unable to restart global unit {name}");
        }
        for state in ["loaded", "launched"] {
            client.put(name.as_str(), state, &[]).await?;
            let open = BTreeSet::from([name.clone()]);
            if wait(client, flags, open, state).await? == Exit::Failed {
                return Ok(Exit::Failed);
            }
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn cat(client: &Client, flags: &Flags) -> Result<Exit> {
    for word in &flags.words {
        let name = find::known(word)?;
        let Some(unit) = client.unit(name.as_str()).await? else {
            bail!("unit {name} not found");
        };
        let text = unit
            .text()
            .with_context(|| format!("{name} is not understood"))?;
        crate::cli::output::print(&text.to_string());
    }
    Ok(Exit::Done)
}

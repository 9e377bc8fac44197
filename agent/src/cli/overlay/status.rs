//! `strake overlay status`

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::super::output::{Output, columns};
use super::super::runtime::on_one_thread;
use super::{peers, settings};
use crate::exit::Exit;
use crate::overlay::cidr::Family;
use crate::overlay::kernel::{Connection, Counters, Kernel};
use crate::overlay::named::{Name, Networks, Which};
use crate::overlay::netlink::Netlink;
use crate::overlay::report::{Peer, Status};
use crate::overlay::seen;
use crate::root::Root;
use crate::update::clock;

/// One network.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    pub(super) status: Status,
    /// By device.
    pub(super) counters: Vec<(String, Counters)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) wireguard: Vec<Connection>,
    /// Milliseconds that peers needed to answer just now, by their subnets; none: no answer.
    pub(super) answers: BTreeMap<String, Option<f64>>,
}

#[derive(Debug, Serialize)]
struct All {
    #[serde(flatten)]
    own: Shown,
    /// Networks with names.
    named: BTreeMap<Name, Shown>,
}

/// Nothing where the service has told nothing, which is said.
pub(super) fn load(root: &Root, which: &Which) -> Result<Option<Status>> {
    let status = Status::load(root, which);
    let status = status.with_context(|| format!("reading the status of {which}"))?;
    if status.is_none() {
        let of = match which {
            Which::Default => "the overlay network".to_string(),
            Which::Named(name) => format!("the overlay network {name}"),
        };
        eprintln!(
            "strake: {of} is not in use here: strake-overlay.service has told nothing since the boot"
        );
    }
    Ok(status)
}

pub(super) fn run(root: &Root, output: Output, which: &Which) -> Result<Exit> {
    let Some(status) = load(root, which)? else {
        return Ok(Exit::NothingToDo);
    };
    let mut named = BTreeMap::new();
    if *which == Which::Default {
        for (name, _) in Networks::read(&settings(root)?.networks).all {
            let found = Status::load(root, &Which::Named(name.clone()));
            if let Some(found) = found.with_context(|| format!("reading the status of {name}"))? {
                named.insert(name, found);
            }
        }
    }
    let all = on_one_thread(async {
        let own = shown(status).await;
        let mut all = All {
            own,
            named: BTreeMap::new(),
        };
        for (name, status) in named {
            all.named.insert(name, shown(status).await);
        }
        all
    })?;
    output.print(&all, || table(&all))?;
    Ok(Exit::Done)
}

/// With what the kernel and the peers say now; without them the rest is worth showing.
async fn shown(status: Status) -> Shown {
    let mut counters = Vec::new();
    let mut wireguard = Vec::new();
    if let Ok(mut netlink) = Netlink::open() {
        for device in &status.devices {
            if let Ok(Some(found)) = netlink.counters(device) {
                counters.push((device.clone(), found));
            }
            if status.backend.as_deref() == Some("wireguard") {
                let found = netlink.connections(device);
                wireguard.extend(found.unwrap_or_default());
            }
        }
    }
    let mut answers = BTreeMap::new();
    for family in [Family::V4, Family::V6] {
        let Some((own, asked)) = status.asked(family) else {
            continue;
        };
        let doors: BTreeSet<IpAddr> = asked.iter().map(|(_, door)| *door).collect();
        if doors.is_empty() {
            continue;
        }
        let Ok(found) = seen::answers(own, &doors).await else {
            continue;
        };
        for (peer, door) in asked {
            note(&mut answers, peer, found.get(&door).copied());
        }
    }
    Shown {
        status,
        counters,
        wireguard,
        answers,
    }
}

/// One family that answers is enough.
fn note(answers: &mut BTreeMap<String, Option<f64>>, peer: &Peer, took: Option<Duration>) {
    let known = answers.entry(peer.subnet.clone()).or_default();
    *known = known.or(took.map(|took| took.as_secs_f64() * 1000.0));
}

fn table(all: &All) -> String {
    let mut text = own_table(&all.own);
    if !all.named.is_empty() {
        text += &format!("\n{}", of_named(&all.named));
    }
    if !all.own.status.peers.is_empty() {
        text += &format!("\n{}", peers::table(&all.own, clock()));
    }
    text
}

fn own_table(shown: &Shown) -> String {
    let status = &shown.status;
    let dash = || "-".to_string();
    let joined = |all: &[String]| match all.is_empty() {
        true => dash(),
        false => all.join(", "),
    };
    let networks: Vec<String> = status.networks.iter().map(|one| one.to_string()).collect();
    let mut rows = vec![
        ("state", status.state.word().to_string()),
        ("backend", status.backend.clone().unwrap_or_else(dash)),
        ("network", joined(&networks)),
        (
            "subnet",
            match (&status.subnets, status.reserved) {
                (Some(subnets), true) => format!("{subnets} (reserved)"),
                (Some(subnets), false) => subnets.to_string(),
                (None, _) => dash(),
            },
        ),
        ("address", joined(&status.public_addresses)),
        ("uplink", status.uplink.clone().unwrap_or_else(dash)),
        (
            "mtu",
            status.mtu.map_or_else(dash, |mtu| format!("{mtu} bytes")),
        ),
        (
            "renewed",
            status.lease_renewed.map_or_else(dash, |at| at.to_string()),
        ),
    ];
    for (device, count) in &shown.counters {
        let line = format!(
            "{device}: {} packets in, {} out; dropped {} in, {} out; errors {} in, {} out",
            count.received_packets,
            count.sent_packets,
            count.receive_drops,
            count.send_drops,
            count.receive_errors,
            count.send_errors
        );
        rows.push(("device", line));
    }
    for (subject, problem) in &status.problems {
        rows.push(("problem", format!("{subject}: {problem}")));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_string(), value])
        .collect();
    columns(&rows)
}

fn of_named(named: &BTreeMap<Name, Shown>) -> String {
    let head = [
        "NETWORK", "STATE", "BACKEND", "SUBNET", "PEERS", "SILENT", "DROPPED", "PROBLEMS",
    ];
    let mut rows = vec![head.map(str::to_string).to_vec()];
    rows.extend(named.iter().map(|(name, shown)| {
        let status = &shown.status;
        let subnet = status.subnets.as_ref().map(ToString::to_string);
        let problems = status.problems.iter();
        let problems: Vec<String> = problems.map(|(of, text)| format!("{of}: {text}")).collect();
        let silent = shown.answers.values().filter(|answer| answer.is_none());
        let counters = shown.counters.iter();
        let drops = counters.map(|(_, count)| count.receive_drops + count.send_drops);
        vec![
            name.to_string(),
            status.state.word().to_string(),
            status.backend.clone().unwrap_or("-".to_string()),
            subnet.unwrap_or("-".to_string()),
            status.peers.len().to_string(),
            silent.count().to_string(),
            drops.sum::<u64>().to_string(),
            problems.join("; "),
        ]
    }));
    columns(&rows)
}

//! `strake overlay check`

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::spawn_local;

use super::super::output::{Output, columns};
use super::super::runtime::on_one_thread;
use super::{settings, status};
use crate::exit::Exit;
use crate::overlay::check::{Finding, Side, Target, check};
use crate::overlay::cidr::Family;
use crate::overlay::named::{Networks, Which};
use crate::overlay::report::{PeerWay, Status};
use crate::root::Root;

/// What was found of a peer, in one network.
#[derive(Debug, Serialize)]
struct Found {
    network: String,
    #[serde(flatten)]
    finding: Finding,
}

pub(super) fn run(root: &Root, output: Output, only: Option<&Which>) -> Result<Exit> {
    let mut asked = Vec::new();
    let mut is_well = true;
    for which in networks(root, only)? {
        let Some(status) = status::load(root, &which)? else {
            if only.is_some() || which == Which::Default {
                return Ok(Exit::NothingToDo);
            }
            is_well = false;
            continue;
        };
        if status.doors.is_empty() {
            let why = status.problems.get("joining").map_or("", String::as_str);
            eprintln!("strake: network {which}: this machine has no subnet of it: {why}");
            is_well = false;
            continue;
        }
        asked.push((which, status));
    }
    let tasks = tokio::task::LocalSet::new();
    let all = on_one_thread(tasks.run_until(in_all(asked)))??;
    is_well &= all.iter().all(|found| found.finding.fault.is_none());
    if all.is_empty() && is_well {
        eprintln!("strake: there is no peer to ask");
        return Ok(Exit::NothingToDo);
    }
    output.print(&all, || table(&all))?;
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

/// The one that is asked for, or all of this machine's.
fn networks(root: &Root, only: Option<&Which>) -> Result<Vec<Which>> {
    if let Some(which) = only {
        return Ok(vec![which.clone()]);
    }
    let named = Networks::read(&settings(root)?.networks).all.into_iter();
    let named = named.map(|(name, _)| Which::Named(name));
    Ok([Which::Default].into_iter().chain(named).collect())
}

/// In all networks at the same time.
async fn in_all(asked: Vec<(Which, Status)>) -> Result<Vec<Found>> {
    let mut tasks = Vec::new();
    for (which, status) in asked {
        let task = spawn_local(async move { findings(&status).await });
        tasks.push((which, task));
    }
    let mut all = Vec::new();
    for (which, task) in tasks {
        let findings = task.await.context("waiting for a check")?;
        let findings = findings.with_context(|| format!("asking peers in the network {which}"))?;
        all.extend(findings.into_iter().map(|finding| Found {
            network: which.to_string(),
            finding,
        }));
    }
    Ok(all)
}

async fn findings(status: &Status) -> Result<Vec<Finding>> {
    let mut all = Vec::new();
    for family in [Family::V4, Family::V6] {
        let (Some((own, asked)), Some(mtu)) = (status.asked(family), status.mtu) else {
            continue;
        };
        let side = Side {
            own,
            mtu: mtu as usize,
        };
        let targets = asked.into_iter().filter_map(|(peer, at)| {
            Some(Target {
                subnet: peer.subnets?.of(family)?,
                public_addresses: peer.public_addresses.clone(),
                at,
                overhead: match peer.way {
                    PeerWay::Tunnel => status.overhead.unwrap_or_default() as usize,
                    PeerWay::Direct | PeerWay::Ignored => 0,
                },
            })
        });
        all.extend(check(side, targets.collect()).await?);
    }
    Ok(all)
}

fn table(all: &[Found]) -> String {
    let head = [
        "NETWORK", "PEER", "ADDRESS", "TIME", "OUT", "BACK", "VERDICT",
    ];
    let mut rows = vec![head.map(str::to_string).to_vec()];
    let bytes = |size: Option<usize>| size.map_or("-".to_string(), |size| size.to_string());
    rows.extend(all.iter().map(|found| {
        let finding = &found.finding;
        let time = finding.milliseconds;
        let fault = finding.fault.as_ref();
        vec![
            found.network.clone(),
            finding.target.subnet.to_string(),
            finding.target.public_addresses.join(", "),
            time.map_or("-".to_string(), |time| format!("{time:.1} ms")),
            bytes(finding.largest_out),
            bytes(finding.largest_back),
            fault.map_or("well".to_string(), |fault| fault.to_string()),
        ]
    }));
    columns(&rows)
}

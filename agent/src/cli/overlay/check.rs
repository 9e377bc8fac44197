//! `strake overlay check`

use anyhow::{Context, Result};

use super::super::output::{Output, columns};
use super::super::runtime::on_one_thread;
use super::load;
use crate::exit::Exit;
use crate::overlay::check::{Finding, Side, Target, check};
use crate::overlay::cidr::Family;
use crate::overlay::report::{PeerWay, Status};
use crate::root::Root;

pub(super) fn run(root: &Root, output: Output) -> Result<Exit> {
    let Some(status) = load(root)? else {
        return Ok(Exit::NothingToDo);
    };
    if status.devices.is_empty() {
        eprintln!("strake: without a tunnel (backend host-gw) there is nothing to check");
        return Ok(Exit::NothingToDo);
    }
    let tasks = tokio::task::LocalSet::new();
    let findings = on_one_thread(tasks.run_until(findings(&status)))??;
    if findings.is_empty() {
        eprintln!("strake: there is no peer to ask");
        return Ok(Exit::NothingToDo);
    }
    output.print(&findings, || table(&findings))?;
    let is_well = findings.iter().all(|finding| finding.fault.is_none());
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

async fn findings(status: &Status) -> Result<Vec<Finding>> {
    let mut all = Vec::new();
    for family in [Family::V4, Family::V6] {
        let own = status.subnets.and_then(|subnets| subnets.of(family));
        let (Some(own), Some(mtu)) = (own, status.mtu) else {
            continue;
        };
        let side = Side {
            own: own.address(),
            mtu: mtu as usize,
            overhead: status.overhead.unwrap_or_default() as usize,
        };
        let reached = status
            .peers
            .iter()
            .filter(|peer| peer.way == PeerWay::Tunnel);
        let targets = reached.filter_map(|peer| {
            Some(Target {
                subnet: peer.subnets?.of(family)?,
                public_addresses: peer.public_addresses.clone(),
            })
        });
        let checked = check(side, targets.collect()).await;
        all.extend(checked.context("asking peers from the tunnel's address")?);
    }
    Ok(all)
}

fn table(findings: &[Finding]) -> String {
    let head = ["PEER", "ADDRESS", "TIME", "OUT", "BACK", "VERDICT"].map(str::to_string);
    let mut rows = vec![head.to_vec()];
    let bytes = |size: Option<usize>| size.map_or("-".to_string(), |size| size.to_string());
    rows.extend(findings.iter().map(|finding| {
        let time = finding.milliseconds;
        let fault = finding.fault.as_ref();
        vec![
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

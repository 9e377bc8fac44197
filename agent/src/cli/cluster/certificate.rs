//! `strake cluster certificate list|revoke|allow`: machines that were lost or stolen.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;

use super::Access;
use crate::cli::output::{Output, columns};
use crate::cluster::authority::Role;
use crate::cluster::clock::seconds;
use crate::exit::Exit;
use crate::root::Root;

const DAY: u64 = 24 * 3600;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// All certificates of machines that have not ended
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Let a machine in no more, and give its address no certificate. Exit code 3: there is none
    Revoke { address: IpAddr },
    /// Let a machine at this address join again. Exit code 3: it was not revoked
    Allow { address: IpAddr },
}

#[derive(Debug, Serialize)]
struct Row {
    address: IpAddr,
    role: Role,
    serial: String,
    days_left: u64,
    revoked: bool,
}

pub(super) async fn run(root: &Root, command: Command) -> Result<Exit> {
    let access = Access::load(root)?;
    let seeds = &access.settings.seeds;
    if let Command::Revoke { address } | Command::Allow { address } = &command
        && seeds.contains(address)
    {
        eprintln!(
            "strake: error: {address} is a member's address: a member has the authority's key, and \
             could sign for itself again. `strake cluster members remove {address}`, then \
             `strake cluster authority new`"
        );
        return Ok(Exit::BadInput);
    }
    let mut store = access.store().await?;
    let now = seconds(access.clock.now());
    match command {
        Command::List { output } => {
            let revoked = store.revoked_certificates().await?.into_iter();
            let revoked: BTreeSet<String> = revoked.map(|revoked| revoked.serial).collect();
            let issued = store.issued().await?.into_iter();
            let rows = issued
                .filter(|issued| issued.not_after > now)
                .map(|issued| Row {
                    revoked: revoked.contains(&issued.serial),
                    address: issued.address,
                    role: issued.role,
                    days_left: (issued.not_after - now) / DAY,
                    serial: issued.serial,
                });
            let rows: Vec<Row> = rows.collect();
            output.print(&rows, || table(&rows))?;
            Ok(Exit::Done)
        }
        Command::Revoke { address } => {
            let mut issued = store.issued().await?;
            issued.retain(|issued| issued.address == address && issued.not_after > now);
            if issued.is_empty() {
                println!("no certificate was given to {address}");
                return Ok(Exit::NothingToDo);
            }
            // First: or it would have another one at once.
            store.shut_out(address).await?;
            for issued in &issued {
                store.revoke_certificate(issued).await?;
            }
            println!("{address}: {} certificates are revoked", issued.len());
            eprintln!(
                "Members refuse it within seconds, other machines within minutes. Open connections \
                 to etcd end as etcd begins\nanew, one member after the other. Whoever has the \
                 machine has the join secret too: make another one by\n`strake cluster secret new` \
                 and revoke it, or it joins again from another address."
            );
            Ok(Exit::Done)
        }
        Command::Allow { address } => match store.let_in(address).await? {
            true => {
                println!("{address} may join; its revoked certificates stay revoked");
                Ok(Exit::Done)
            }
            false => {
                println!("{address} was not revoked");
                Ok(Exit::NothingToDo)
            }
        },
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["ADDRESS", "ROLE", "SERIAL", "DAYS LEFT", "STATE"];
    let mut lines = vec![head.map(str::to_string).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let state = match row.revoked {
            true => "revoked",
            false => "good",
        };
        vec![
            row.address.to_string(),
            row.role.common_name().to_string(),
            row.serial.clone(),
            row.days_left.to_string(),
            state.to_string(),
        ]
    }));
    columns(&lines)
}

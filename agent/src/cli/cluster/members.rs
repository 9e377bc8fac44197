//! `strake cluster members add|remove|replace`

use std::net::IpAddr;

use anyhow::{Result, bail};
use clap::Subcommand;

use super::Access;
use crate::cluster::environment::peer_url;
use crate::cluster::store::Store;
use crate::exit::Exit;
use crate::root::Root;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Let a removed member in again; its machine then adds itself. Exit code 3: it was not
    /// removed
    Add { address: IpAddr },
    /// Take a member out for good: it stays out, whatever its cloud-config says
    Remove { address: IpAddr },
    /// Take a member out whose data is lost or bad; it comes back by itself with an empty disk
    Replace { address: IpAddr },
}

pub(super) async fn run(root: &Root, command: Command) -> Result<Exit> {
    let access = Access::load(root)?;
    let mut store = access.store().await?;
    match command {
        Command::Add { address } => {
            if !access.settings.seeds.contains(&address) {
                bail!("{address} is not among the seeds: a member is made by strake.cluster.seeds");
            }
            match store.let_in(address).await? {
                true => {
                    println!("{address} may join; its machine does so by itself");
                    Ok(Exit::Done)
                }
                false => {
                    println!("{address} was not removed");
                    Ok(Exit::NothingToDo)
                }
            }
        }
        Command::Remove { address } => {
            // First: or the member would be back at once.
            store.shut_out(address).await?;
            take_out(&mut store, address).await
        }
        Command::Replace { address } => take_out(&mut store, address).await,
    }
}

async fn take_out(store: &mut Store, address: IpAddr) -> Result<Exit> {
    let url = peer_url(address);
    let members = store.members().await?;
    let member = members
        .iter()
        .find(|member| member.peer_urls.contains(&url));
    let Some(member) = member else {
        println!("{address} is not a member");
        return Ok(Exit::NothingToDo);
    };
    store.remove(member.id).await?;
    println!("{address} ({:x}) is out", member.id);
    Ok(Exit::Done)
}

//! `strake cluster backup`, `strake cluster restore` and `strake cluster discard`

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::Access;
use crate::cluster::backup::{self, Founders};
use crate::cluster::launch::Launch;
use crate::cluster::place::Place;
use crate::cluster::settings::Settings;
use crate::exit::Exit;
use crate::root::Root;
use crate::systemd::bus::Bus;
use crate::systemd::{Active, Job, Units};

const SERVICE: &str = "strake-cluster.service";
/// etcd's own program for copies.
const TOOL: &str = "etcdutl";

pub(super) async fn backup(root: &Root, file: &Path) -> Result<Exit> {
    let access = Access::load(root)?;
    let length = backup::backup(&access.settings, &access.identity, file).await?;
    println!("{}: {length} bytes", file.display());
    Ok(Exit::Done)
}

/// Refused while etcd runs: a member that still belongs to the old cluster must be stopped by
/// whoever knows that all of them are to be.
pub(super) async fn restore(place: &Place, file: &Path, founders: Founders) -> Result<Exit> {
    if let Err(error) = backup::check(file) {
        eprintln!("strake: error: {error:#}");
        return Ok(Exit::BadInput);
    }
    let Some((own, settings)) = member(place).await? else {
        return Ok(Exit::BadInput);
    };
    backup::restore(&place.root, &settings, own, (file, founders), &[TOOL]).await?;
    start(place).await?;
    println!(
        "restored; {}",
        match founders {
            Founders::All => "etcd serves once a majority of the members is restored",
            Founders::Alone =>
                "etcd serves, and the other members are taken in once they are empty",
        }
    );
    Ok(Exit::Done)
}

pub(super) async fn discard(place: &Place) -> Result<Exit> {
    if member(place).await?.is_none() {
        return Ok(Exit::BadInput);
    }
    let kept = backup::discard(&place.root)?;
    start(place).await?;
    Ok(match kept {
        Some(path) => {
            println!(
                "the data is in {} now; this member comes back empty",
                path.display()
            );
            Exit::Done
        }
        None => {
            println!("this member has no data");
            Exit::NothingToDo
        }
    })
}

/// None, with the reason printed: the services still run.
async fn member(place: &Place) -> Result<Option<(IpAddr, Settings)>> {
    let settings = Settings::load(&place.root)?;
    let own = settings.own_seed(&place.addresses()?);
    let own = own.context("this machine is no member: its address is not among the seeds")?;
    if place.root.is_machine() {
        let bus = Bus::system().await.context("reaching systemd")?;
        let asked = bus.active(SERVICE).await;
        let service = asked.context("asking for strake-cluster.service")?;
        if bus.is_up().await? || service != Active::Inactive {
            eprintln!(
                "strake: error: stop both on all members first: systemctl stop {SERVICE} etcd.service"
            );
            return Ok(None);
        }
    }
    Ok(Some((own, settings)))
}

/// Below another root nothing runs.
async fn start(place: &Place) -> Result<()> {
    if place.root.is_machine() {
        let bus = Bus::system().await.context("reaching systemd")?;
        let started = bus.run(Job::Start, SERVICE).await;
        started.context("starting strake-cluster.service")?;
    }
    Ok(())
}

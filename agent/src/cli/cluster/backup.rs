//! `strake cluster backup` and `strake cluster restore`

use std::path::Path;

use anyhow::{Context, Result};

use super::Access;
use crate::cluster::backup;
use crate::cluster::launch::Launch;
use crate::cluster::place::Place;
use crate::cluster::settings::Settings;
use crate::exit::Exit;
use crate::root::Root;
use crate::systemd::bus::Bus;
use crate::systemd::{Active, Job, Units};

const SERVICE: &str = "strake-cluster.service";

pub(super) async fn backup(root: &Root, file: &Path) -> Result<Exit> {
    let access = Access::load(root)?;
    let length = backup::backup(&access.settings, &access.identity, file).await?;
    println!("{}: {length} bytes", file.display());
    Ok(Exit::Done)
}

/// Refused while etcd runs: a member that still belongs to the old cluster must be stopped by
/// whoever knows that all of them are to be.
pub(super) async fn restore(file: &Path) -> Result<Exit> {
    let place = Place::of_machine();
    let settings = Settings::load(&place.root)?;
    let own = settings.own_seed(&place.addresses()?);
    let own = own.context("this machine is no member: its address is not among the seeds")?;
    let bus = Bus::system().await.context("reaching systemd")?;
    let service = bus
        .active(SERVICE)
        .await
        .context("asking for strake-cluster.service")?;
    if bus.is_up().await? || service != Active::Inactive {
        eprintln!(
            "strake: error: stop both on all members first: systemctl stop {SERVICE} etcd.service"
        );
        return Ok(Exit::BadInput);
    }
    let tool = ["/usr/bin/etcdutl"];
    backup::restore(&place.root, &settings, own, file, &tool).await?;
    bus.run(Job::Start, SERVICE)
        .await
        .context("starting strake-cluster.service")?;
    println!("restored; etcd serves once a majority of the members is restored");
    Ok(Exit::Done)
}

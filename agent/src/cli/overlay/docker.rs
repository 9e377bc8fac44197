//! `strake overlay docker`

use anyhow::{Context, Result};

use super::super::runtime::on_one_thread;
use super::settings;
use crate::docker::Docker;
use crate::exit::Exit;
use crate::overlay::docker::{Spec, ensure, remove_others};
use crate::overlay::named::{Name, Networks, Which};
use crate::overlay::report::Status;
use crate::root::Root;

pub(super) fn run(root: &Root) -> Result<Exit> {
    let settings = settings(root)?;
    let names: Vec<Name> = Networks::read(&settings.networks)
        .all
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let Some(docker) = Docker::running(root).filter(|_| !names.is_empty()) else {
        return Ok(Exit::NothingToDo);
    };
    on_one_thread(give(root, &docker, &names, settings.masquerade))?
}

/// What is wrong with one network keeps no other from docker.
async fn give(root: &Root, docker: &Docker, names: &[Name], masquerade: bool) -> Result<Exit> {
    let mut exit = Exit::Done;
    for name in names {
        let done = async {
            let status = Status::load(root, &Which::Named(name.clone()))?;
            let (subnets, mtu) = status
                .and_then(|status| Some((status.subnets?, status.mtu?)))
                .context("this machine has no subnet of it yet; it is given to docker then")?;
            let spec = Spec {
                subnets,
                mtu,
                masquerade,
            };
            ensure(docker, name, &spec).await
        };
        if let Err(error) = done.await {
            eprintln!("strake: network {name}: {error:#}");
            exit = Exit::Failed;
        }
    }
    for name in remove_others(docker, names).await? {
        eprintln!("strake: network {name} is no longer one: docker has it no more");
    }
    Ok(exit)
}

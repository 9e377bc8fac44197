//! Starting container runtimes again when the subnet is another one.

use anyhow::{Context, Result};

use super::docker::{self, Spec};
use super::named::Name;
use super::service::Runtimes;
use crate::docker::Docker;
use crate::root::Root;
use crate::systemd::bus::Bus;
use crate::systemd::{Job, Units};

/// docker reads its options only when it starts; CNI's list is read for each container.
const DOCKER: &str = "docker.service";

#[derive(Debug, Clone, Copy)]
pub struct Systemd;

impl Runtimes for Systemd {
    async fn restart(&self) -> Result<()> {
        let bus = Bus::system().await.context("reaching systemd")?;
        Ok(bus.run(Job::TryRestart, DOCKER).await?)
    }

    async fn network(&self, name: &Name, spec: &Spec) -> Result<bool> {
        match Docker::running(&Root::new("/")) {
            Some(docker) => docker::ensure(&docker, name, spec).await,
            None => Ok(false),
        }
    }
}

/// Where no runtime is to be touched: outside of a machine of Strake.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Runtimes for Nobody {
    async fn restart(&self) -> Result<()> {
        Ok(())
    }

    async fn network(&self, _: &Name, _: &Spec) -> Result<bool> {
        Ok(false)
    }
}

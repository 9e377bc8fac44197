//! Starting container runtimes again when the subnet is another one.

use anyhow::{Context, Result};

use super::service::Runtimes;
use crate::systemd::bus::Bus;
use crate::systemd::{Job, Units};

/// docker reads its options only when it starts; CNI's list is read for each container.
const DOCKER: &str = "docker.service";

#[derive(Debug)]
pub struct Systemd;

impl Runtimes for Systemd {
    async fn restart(&self) -> Result<()> {
        let bus = Bus::system().await.context("reaching systemd")?;
        Ok(bus.run(Job::TryRestart, DOCKER).await?)
    }
}

/// Where no runtime is to be touched: outside of a machine of Strake.
#[derive(Debug)]
pub struct Nobody;

impl Runtimes for Nobody {
    async fn restart(&self) -> Result<()> {
        Ok(())
    }
}

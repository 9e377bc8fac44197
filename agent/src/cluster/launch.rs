//! Starting and stopping etcd on this machine.

use anyhow::{Context, Result};

use crate::systemd::bus::Bus;
use crate::systemd::{Active, Job, Units};

const SERVICE: &str = "etcd.service";

#[allow(async_fn_in_trait, reason = "used in this crate only, on one thread")]
pub trait Launch {
    /// Also while it is on its way up or down.
    async fn is_up(&self) -> Result<bool>;

    /// With the environment that was written before; does not wait until it serves.
    async fn start(&self) -> Result<()>;

    async fn stop(&self) -> Result<()>;
}

impl Launch for Bus {
    async fn is_up(&self) -> Result<bool> {
        let active = self
            .active(SERVICE)
            .await
            .context("asking for etcd.service")?;
        Ok(!matches!(
            active,
            Active::Inactive | Active::Failed | Active::Unknown
        ))
    }

    async fn start(&self) -> Result<()> {
        self.run(Job::Start, SERVICE).await.context("starting etcd")
    }

    async fn stop(&self) -> Result<()> {
        self.run(Job::Stop, SERVICE).await.context("stopping etcd")
    }
}

//! This machine's systemd, as the agent uses it: units it was given, under their digests.

mod journal;
pub mod systemd;

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::keys::{Ended, Seen};
use super::name::UnitName;
use super::text::{Digest, Text};

#[allow(async_fn_in_trait, reason = "used in this crate only, on one thread")]
pub trait Host {
    /// Every unit that was loaded and not unloaded, as systemd sees it now.
    async fn units(&self) -> anyhow::Result<BTreeMap<UnitName, Seen>>;

    /// Makes the unit known to systemd; what was known under the name is replaced.
    async fn load(&self, name: &UnitName, digest: &Digest, text: &Text) -> anyhow::Result<()>;

    /// Queues the start and notes that it was asked for, and for which run.
    async fn start(&self, name: &UnitName, run: u64) -> anyhow::Result<()>;

    /// How a unit that was started and is down ended.
    async fn ended(&self, name: &UnitName) -> anyhow::Result<Ended>;

    /// Queues the stop; what is stopping already is let be.
    async fn stop(&self, name: &UnitName) -> anyhow::Result<()>;

    /// Forgets a unit that is down.
    async fn unload(&self, name: &UnitName) -> anyhow::Result<()>;

    /// A counter that moves whenever a unit changed; several changes may be one move.
    fn changes(&self) -> watch::Receiver<u64>;
}

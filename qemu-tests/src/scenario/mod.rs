//! The end-to-end tests: what a machine must do, proven on machines in QEMU.
//!
//! A scenario is one machine and many checks, because a boot costs far more than a question.
//! Checks that need a reboot share one: all are asked before it, then all after it.

mod bad_config;
mod cluster;
mod container;
mod network;
mod node;
mod power;
mod runner;
mod sockets;
mod source;
mod source_cloud;
mod source_url;
mod update;

pub use runner::{Extent, Stage, run};

use anyhow::Result;

use crate::machine::Machine;

#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub extent: Extent,
    pub start: fn(&Stage) -> Result<Machine>,
    pub checks: &'static [Check],
}

/// The name says what is true when the check has passed.
#[derive(Debug)]
pub struct Check {
    pub name: &'static str,
    pub how: How,
}

#[derive(Debug)]
pub enum How {
    Now(fn(&mut Machine, &Stage) -> Result<()>),
    /// What `before` found is handed to `after`.
    AcrossReboot {
        before: fn(&mut Machine, &Stage) -> Result<String>,
        after: fn(&mut Machine, &Stage, &str) -> Result<()>,
    },
}

pub const SCENARIOS: [&Scenario; 22] = [
    &node::SCENARIO,
    &bad_config::SCENARIO,
    &container::SCENARIO,
    &network::SCENARIO,
    &source_url::SCENARIO,
    &source_cloud::EC2,
    &source_cloud::GCE,
    &update::SHORT,
    &cluster::SCENARIO,
    &cluster::FAULTS,
    &cluster::UNITS,
    &cluster::OVERLAY,
    &cluster::OVERLAY_WIREGUARD,
    &cluster::OVERLAY_IPIP,
    &cluster::OVERLAY_FAULTS,
    &cluster::ROLLING,
    &cluster::REBOOTS,
    &power::SCENARIO,
    &update::GOOD,
    &update::FALL_BACK,
    &update::CHAIN,
    &update::POWER_CUTS,
];

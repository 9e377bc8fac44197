//! What a checked config says: plain values, everything decoded, nothing left to doubt.
//!
//! Only `check` makes one from text. A text that needs an address not yet known keeps a marker
//! in its place; `plan` finds the markers and plans what holds them for the network phase.

mod files;
mod host;
mod service;
mod strake;
mod unit;
mod user;

use std::collections::BTreeMap;

use serde::Serialize;

pub use files::{Owner, Source, WriteFile, Written};
pub use host::{CaCert, EtcHosts, KernelModule, Mount, Ntp, Proxy, Swap};
pub use service::{Daemon, Oem, RebootStrategy, Setting, Update};
pub use strake::{
    AddressSources, Cluster, Dashboard, Health, Overlay, OverlayNetwork, Reboot, Strake,
    UpdateLimits, Window,
};
pub use unit::{Command, DropIn, Unit, UnitGroup};
pub use user::{KeyImport, User};

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Config {
    pub hostname: Option<String>,
    /// Keys of the user `core`.
    pub ssh_authorized_keys: Vec<String>,
    pub users: Vec<User>,
    pub write_files: Vec<WriteFile>,
    pub manage_etc_hosts: Option<EtcHosts>,
    pub oem: Oem,
    pub update: Update,
    /// `coreos.{locksmith,fleet,flannel,etcd,etcd2}` as environment variables.
    pub daemons: BTreeMap<Daemon, Vec<Setting>>,
    pub units: Vec<Unit>,
    pub ntp: Ntp,
    pub timezone: Option<String>,
    pub ca_certs: Vec<CaCert>,
    pub sysctl: BTreeMap<String, String>,
    pub kernel_modules: Vec<KernelModule>,
    pub mounts: Vec<Mount>,
    pub swap: Option<Swap>,
    pub proxy: Proxy,
    /// Registry host to its mirrors, first choice first.
    pub registry_mirrors: BTreeMap<String, Vec<String>>,
    pub insecure_registries: Vec<String>,
    pub strake: Strake,
    /// `#!` user-data, run once the machine is up.
    pub scripts: Vec<Script>,
}

/// A script given as user-data or as one part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Script {
    pub text: String,
}

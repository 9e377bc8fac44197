//! The files that the service writes: its report, the record of its lease, and what container
//! runtimes read.

use anyhow::{Context, Result};

use super::{Runtimes, Service, public_addresses};
use crate::apply::write::write;
use crate::names::settings as names;
use crate::overlay::config::Config;
use crate::overlay::kernel::{Kernel, Uplink};
use crate::overlay::lease::{Lease, Subnets};
use crate::overlay::place;
use crate::overlay::record::Record;
use crate::overlay::runtime::{self, Told};
use crate::store::Store;
use crate::update::clock;

impl<S: Store, K: Kernel, R: Runtimes> Service<S, K, R> {
    pub(super) fn write_report(&mut self) {
        self.report.write(&self.root);
        self.figures.tell(&self.report.status);
    }

    /// A record that cannot be written costs the subnet after a long absence, and nothing now.
    pub(super) fn remember(&mut self, config: &[u8], subnets: Subnets, devices: Vec<String>) {
        let now = clock();
        self.report.status.lease_renewed = Some(now);
        let record = Record {
            prefix: self.settings.prefix.clone(),
            config: String::from_utf8_lossy(config).into_owned(),
            subnets,
            renewed: now,
            ttl: self.pace.ttl.as_secs(),
            devices,
        };
        let saved = record.save(&self.root, &self.which.record());
        let problem = saved.err().map(|error| error.to_string());
        self.report.problem("remembering the subnet", problem);
    }

    /// Writes what container runtimes read.
    pub(super) fn tell(&mut self, config: &Config, lease: &Lease, uplink: &Uplink) -> Result<()> {
        let told = Told {
            which: self.which.clone(),
            config: config.clone(),
            subnets: lease.subnets,
            mtu: place::mtu(config, uplink),
            masquerade: self.settings.masquerade,
            resolver: names::Settings::load(&self.root)?.map(|names| names.listen.ip()),
        };
        let files = told.files(&self.settings.subnet_file);
        // Of this boot: nothing is there when docker has not been told anything yet.
        let before = self.root.read_optional(runtime::DOCKER);
        let before = before.context("reading what docker was told before")?;
        self.outdated |= before.is_some_and(|before| before != told.docker_env());
        write(&self.root, &files).context("writing what container runtimes read")?;
        let status = &mut self.report.status;
        status.backend = Some(config.backend.name().to_string());
        status.networks = config.networks();
        status.subnets = Some(lease.subnets);
        status.uplink = Some(uplink.name.clone());
        status.mtu = Some(told.mtu);
        status.public_addresses = public_addresses(lease);
        let tunnels = place::tunnels(config, lease, uplink, self.key);
        status.devices = tunnels.into_iter().map(|one| one.name).collect();
        status.doors = place::doors(config, lease, uplink);
        status.overhead = Some(place::overhead(config));
        self.told = Some(told);
        Ok(())
    }
}

//! `strake overlay run`: joins the network and keeps the kernel as the leases say, in one task.
//!
//! Joining (`join`) is tried until it works; holding (`hold`) goes on until the lease, the network's
//! config or the uplink is another one, and then the machine joins anew. What the kernel has stays
//! as it is through all of it: only a list of leases, read whole, ever removes an entry
//! (`bring_about`).

mod answer;
mod bring_about;
mod files;
mod hold;
mod join;
mod pace;
mod predecessor;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind::NotFound;
use std::net::IpAddr;
use std::rc::Rc;

use anyhow::Result;
use tokio::net::UdpSocket;

use super::cidr::Family;
use super::client::{Client, Held};
use super::config::Config;
use super::desired::Own;
use super::docker::Spec;
use super::figures::Figures;
use super::kernel::{Kernel, Made, Place, Tunnel, Uplink};
use super::lease::{Lease, Wrong};
use super::named::{Name, Which};
use super::probe::Responder;
use super::report::Report;
use super::rules::Part;
use super::runtime::Told;
use super::settings::Settings;
use super::shared::Shared;
use super::wire::Secret;
use crate::root::Root;
use crate::store::Store;
pub use pace::Pace;

/// Who wants to know that files of the container runtimes are other ones.
#[allow(async_fn_in_trait, reason = "used in this crate only, on one thread")]
pub trait Runtimes {
    /// The subnet is another one while containers may be running.
    async fn restart(&self) -> Result<()>;

    /// docker, if it runs, has this network with a name; whether it had to be made.
    async fn network(&self, name: &Name, spec: &Spec) -> Result<bool>;
}

#[derive(Debug)]
pub struct Service<S, K, R> {
    pub root: Root,
    pub which: Which,
    pub shared: Rc<Shared>,
    pub settings: Settings,
    pub machine: String,
    /// From where this machine reaches its cluster, if that is known.
    pub towards: Option<IpAddr>,
    pub pace: Pace,
    pub client: Client<S>,
    pub kernel: K,
    pub runtimes: R,
    pub report: Report,
    /// What the container runtimes were told last.
    pub told: Option<Told>,
    /// docker may still run with what it was told before that.
    pub outdated: bool,
    pub figures: Figures,
    /// This machine's of wireguard, once it has needed one.
    pub key: Option<Secret>,
}

/// The network as this machine takes part in it.
#[derive(Debug)]
struct Joined {
    config: Config,
    config_text: Vec<u8>,
    uplink: Uplink,
    held: Held,
    own: Own,
    tunnels: Vec<Tunnel>,
    place: Place,
    /// Where peers' checks are answered.
    doors: Vec<UdpSocket>,
    responder: Responder,
    /// The tunnel's addresses of machines with a lease.
    peers: BTreeSet<IpAddr>,
}

impl<S: Store, K: Kernel, R: Runtimes> Service<S, K, R> {
    pub async fn run(&mut self) -> Result<()> {
        let mut first = true;
        loop {
            let joined = self.join(std::mem::take(&mut first)).await;
            let why = self.hold(joined).await;
            self.report.say(&format!("{why}: joining anew"));
        }
    }

    fn make_tunnel(&mut self, tunnel: &Tunnel) -> Result<u32> {
        let (index, made) = self.kernel.make_tunnel(tunnel)?;
        let name = &tunnel.name;
        match made {
            Made::Kept => {}
            Made::Adapted => self
                .report
                .say(&format!("{name} brought to what it should be")),
            Made::Created => self.report.say(&format!("made {name}")),
            Made::Recreated => self
                .report
                .say(&format!("made {name} anew: it was another")),
        }
        Ok(index)
    }

    /// The masquerading table is there and ours, whoever flushed or changed what meanwhile.
    fn hold_rules(&mut self, config: &Config, lease: &Lease) {
        let part = Part {
            config: config.clone(),
            subnets: lease.subnets,
            masquerade: self.settings.masquerade,
        };
        let held = self.shared.hold_rules(&self.which, part, &mut self.kernel);
        let problem = match held {
            Ok(()) => None,
            // Without the program there are no rules of ours either.
            Err(error) if !self.settings.masquerade && error.kind() == NotFound => None,
            Err(error) => Some(chain(&error)),
        };
        self.report.problem("masquerade", problem);
    }
}

fn public_addresses(lease: &Lease) -> Vec<String> {
    let both = [Family::V4, Family::V6].into_iter();
    let addresses = both.filter_map(|family| lease.public(family));
    addresses.map(|address| address.to_string()).collect()
}

/// Leases of others as they are in the store, those that cannot be read with the reason.
type Leases = BTreeMap<String, Result<Lease, Wrong>>;

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text += &format!(": {inner}");
        source = inner.source();
    }
    text
}

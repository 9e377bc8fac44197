//! What the channel offers this machine, verified and decided upon. Changes nothing but the trust
//! that is kept.

use strake_updates::channel::Channel;
use strake_updates::entry::{Counter, Entry};
use strake_updates::fetch::http::{Http, InvalidBase, Patience};
use strake_updates::fetch::refresh::{self, RefreshError};
use strake_updates::offer::{Catalog, Offer};
use strake_updates::policy::{Decision, Machine, Window, decide};
use strake_updates::time::Timestamp;
use strake_updates::tuf::role::Targets;
use strake_updates::tuf::store::Store;
use strake_updates::tuf::workflow::Verified;
use strake_updates::version::Version;

use super::disk::{self, Disk};
use super::entries::{self, Entries};
use super::limit::Paced;
use super::node::Node;
use super::settings::{self, Settings, trusted_root};
use super::window::{InvalidWindow, permission, zone};
use super::{Unknown, clock, machine_id, running};
use crate::root::Root;

pub const TRUST: &str = "/state/update/trust";
const ARCHITECTURE: &str = "x86-64";

/// A verified view of the channel.
#[derive(Debug)]
pub struct Look {
    pub transport: Paced<Http>,
    pub verified: Verified,
    pub targets: Targets,
    pub catalog: Catalog,
    pub decision: Decision,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("updates are off: no SERVER in /etc/coreos/update.conf (coreos.update.server)")]
    Off,
    #[error("reading the settings of updates")]
    Settings(#[from] settings::Error),
    #[error("finding out what runs")]
    Unknown(#[from] Unknown),
    #[error("SERVER in /etc/coreos/update.conf")]
    Server(#[from] InvalidBase),
    #[error(transparent)]
    Window(#[from] InvalidWindow),
    #[error("finding {}", TRUST)]
    Place(#[source] std::io::Error),
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    #[error("finding the slots")]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Entries(#[from] entries::Error),
}

pub async fn look(root: &Root, settings: &Settings, node: &Node) -> Result<Look, Error> {
    let server = settings.server.as_deref().ok_or(Error::Off)?;
    let shipped = trusted_root(root)?;
    let inner = Http::new(server, Patience::default())?;
    let transport = Paced {
        inner,
        rate: settings.bandwidth,
    };
    let store = Store::new(root.follow(TRUST.as_ref()).map_err(Error::Place)?);
    let verified = refresh::refresh(&transport, &store, &shipped, clock()).await?;
    let targets = refresh::channel(&transport, &store, &verified, &settings.channel).await?;
    let catalog = Catalog::read(&settings.channel, &targets);
    let now = verified.now();
    let window = permission(&settings.windows, &zone(root), now)?;
    let machine = facts(root, &settings.channel, node, window)?;
    let decision = decide(&machine, &catalog, now);
    Ok(Look {
        transport,
        verified,
        targets,
        catalog,
        decision,
    })
}

/// What the decision rests on.
fn facts(root: &Root, channel: &Channel, node: &Node, window: Window) -> Result<Machine, Error> {
    let running = running(root)?;
    let entries = Entries::read(root)?;
    Ok(Machine {
        id: machine_id(root)?,
        channel: channel.clone(),
        architecture: ARCHITECTURE.to_owned(),
        running,
        staged: staged(node, &entries, running).map(|entry| entry.version),
        pinned: node.pinned,
        refused: node.refused.iter().map(|refusal| refusal.version).collect(),
        slot_size: Disk::find(root)?.slot_size()?,
        window,
    })
}

/// The release that a reboot would bring.
pub fn staged(node: &Node, entries: &Entries, running: Version) -> Option<Entry> {
    let attempt = node.attempt.as_ref()?;
    let entry = entries.of(attempt.version)?;
    let waits = matches!(entry.counter, Counter::Trying { left: 1.., .. });
    (waits && entry.version != running).then_some(entry)
}

impl Look {
    pub fn offer(&self, version: Version) -> Option<&Offer> {
        self.catalog
            .offers
            .iter()
            .find(|offer| offer.version == version)
    }

    pub fn now(&self) -> Timestamp {
        self.verified.now()
    }
}

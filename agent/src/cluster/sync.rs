//! A member and the store tell each other which authorities count and what is revoked.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;
use tokio::time::sleep;

use super::anchor::{Anchor, keys};
use super::authority::{Authority, Leaf};
use super::clock::{Clock, seconds};
use super::founding::Data;
use super::identity::{self, Identity};
use super::join::Caller;
use super::ledger::{Issued, Said};
use super::member;
use super::place::Place;
use super::revoked;
use super::settings::Settings;
use super::store::Store;
use super::trust::{self, Trust};
use super::turn;

const EVERY: Duration = Duration::from_secs(5);
const DAY: u64 = 24 * 3600;
/// The end of an authority is told so long before.
pub const WARN_DAYS: u64 = 365;

#[derive(Debug)]
pub struct Sync<'a> {
    pub place: &'a Place,
    pub settings: &'a Settings,
    pub own: IpAddr,
    pub clock: Clock,
    pub authority: &'a Authority,
    pub identity: watch::Receiver<Identity>,
}

/// What the store was told already.
#[derive(Debug, Default)]
struct Told {
    runs: Option<u64>,
    serial: Vec<u8>,
}

impl Sync<'_> {
    /// Ends when other authorities count: the next run begins with them.
    pub async fn run(&self) {
        let mut told = Told::default();
        let mut last = String::new();
        loop {
            sleep(EVERY.min(self.place.ask_every)).await;
            // Before that there is no store.
            if member::data(&self.place.root) != Data::Formed {
                continue;
            }
            match self.step(&mut told).await {
                Ok(Next::Same) => last.clear(),
                Ok(Next::Changed) => {
                    eprintln!("strake cluster: other authorities count now");
                    return;
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    if text != last {
                        eprintln!("strake cluster: following the authorities: {text}");
                        last = text;
                    }
                }
            }
        }
    }

    async fn step(&self, told: &mut Told) -> Result<Next> {
        let identity = self.identity.borrow().clone();
        let mut store = Store::of(&[self.own], &self.settings.ca, &identity).await?;
        let ours = &self.settings.trust;
        let (theirs, since) = store.trust().await?;
        let version = theirs.as_ref().map_or(0, |theirs| theirs.version);
        if let Some(theirs) = theirs.filter(|theirs| theirs.version > ours.version) {
            self.adopt(&theirs, &identity).await?;
            return Ok(Next::Changed);
        }
        // The store was made anew from an old copy.
        if version < ours.version {
            store.put_trust(ours, since).await?;
        }
        let revoked = store.revoked_certificates().await?.into_iter();
        let revoked: BTreeSet<String> = revoked.map(|revoked| revoked.serial).collect();
        if revoked != revoked::known(&self.place.root) {
            revoked::keep(&self.place.root, &revoked)?;
            revoked::tell_etcd(&self.place.root, self.authority, self.clock)?;
        }
        if told.serial != identity.leaf.serial {
            store.note_issued(&issued(&identity.leaf, self.own)).await?;
            told.serial.clone_from(&identity.leaf.serial);
        }
        let runs = turn::is_up_to_date(&self.place.root, self.settings);
        if runs && told.runs != Some(ours.version) {
            store.note(Said::Runs, self.own, ours.version).await?;
            told.runs = Some(ours.version);
        }
        Ok(Next::Same)
    }

    /// The keys first: a member that knows an authority can sign for it.
    async fn adopt(&self, trust: &Trust, identity: &Identity) -> Result<()> {
        let root = &self.place.root;
        let mut found = identity::keys(root, self.settings);
        let has_all = |found: &[String]| {
            let has = |pem: &String| found.iter().any(|key| Authority::load(pem, key).is_ok());
            trust.authorities.iter().all(has)
        };
        if !has_all(&found) {
            let own = Some(self.own);
            let caller = Caller::new(self.settings, Some(identity), own, self.clock)?;
            for seed in self.settings.other_seeds(self.own) {
                // Those that have not got it yet are asked again.
                if let Ok(handed) = caller.keys(seed).await {
                    found.extend(keys(&handed));
                }
            }
        }
        ensure!(
            has_all(&found),
            "no member has handed over the key of the new authority yet"
        );
        identity::keep_keys(root, &found, &trust.authorities)?;
        trust::keep(root, trust).context("keeping which authorities count")
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Same,
    Changed,
}

pub fn issued(leaf: &Leaf, address: IpAddr) -> Issued {
    Issued {
        address,
        serial: leaf.serial_text(),
        role: leaf.role,
        not_after: seconds(leaf.not_after),
        authority: leaf.authority.clone(),
    }
}

/// What is to be said of the authority that signs, in time.
pub fn warning(settings: &Settings, clock: Clock) -> Option<String> {
    let anchor = Anchor::parse(settings.trust.signer()).ok()?;
    let days = seconds(anchor.not_after).saturating_sub(seconds(clock.now())) / DAY;
    let text = format!(
        "the authority ends in {days} days: `strake cluster authority new` begins to replace it"
    );
    Some(text).filter(|_| days < WARN_DAYS)
}

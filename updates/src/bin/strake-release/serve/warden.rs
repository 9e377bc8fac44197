//! Looks after the rollouts: what is offered, what machines said of it, and whether to hold it.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use strake_updates::channel::Channel;
use strake_updates::offer::{Catalog, Offer};
use strake_updates::report::Event;
use strake_updates::time::Timestamp;
use strake_updates::tuf::role::Hold;
use strake_updates::version::Version;

use super::database::{Database, Kept};
use super::judge::{Finding, Rule};
use crate::hold;
use crate::keys::Keyring;
use crate::repository::Repository;

pub(super) struct Warden {
    repository: Repository,
    pub(super) database: Database,
    rule: Rule,
    keyring: Keyring,
    offered: Offered,
}

/// The repository as it is published.
#[derive(Default)]
pub(super) struct Offered {
    /// When the timestamp's file was written.
    written: Option<SystemTime>,
    pub(super) expires: Timestamp,
    pub(super) channels: Vec<(Channel, Vec<Offer>)>,
    holds: Vec<Hold>,
    can_hold: bool,
}

impl Warden {
    pub(super) fn open(
        repository: Repository,
        database: &Path,
        rule: Rule,
        keyring: Keyring,
    ) -> anyhow::Result<Self> {
        let opened = Database::open(database).with_context(|| {
            let path = database.display();
            format!("opening {path} (--events FILE for another place, --static to take no reports)")
        })?;
        let mut warden = Self {
            repository,
            database: opened,
            rule,
            keyring,
            offered: Offered::default(),
        };
        warden.reload()?;
        Ok(warden)
    }

    pub(super) fn now() -> Timestamp {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp::from_unix(since_1970.map_or(0, |since| since.as_secs()))
    }

    pub(super) fn rule(&self) -> Rule {
        self.rule
    }

    pub(super) fn offered(&self) -> &Offered {
        &self.offered
    }

    /// Whether a rollout can be held here.
    pub(super) fn can_hold(&self) -> bool {
        self.offered.can_hold
    }

    /// Everything that is due: what is published is read again, old reports are forgotten, rollouts
    /// that fail are held.
    pub(super) fn look(&mut self) {
        let now = Self::now();
        let mut run = || -> anyhow::Result<()> {
            self.reload()?;
            self.database
                .forget(now)
                .context("forgetting old reports")?;
            for (channel, version) in self.offered.all() {
                self.judge(&channel, version, now)?;
            }
            Ok(())
        };
        if let Err(error) = run() {
            eprintln!("strake-release: {error:#}");
        }
    }

    /// Reads the repository again when it was written since.
    pub(super) fn reload(&mut self) -> anyhow::Result<()> {
        let path = self.repository.metadata().join("timestamp.json");
        let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let written = Some(written.with_context(|| format!("reading {}", path.display()))?);
        if self.offered.written == written {
            return Ok(());
        }
        let published = self.repository.published()?;
        let mut channels = Vec::new();
        let holds = published.timestamp.body().holds.clone();
        for name in published.snapshot.body().meta.keys() {
            let role = name.trim_end_matches(".json");
            let Ok(channel) = role.parse::<Channel>() else {
                continue;
            };
            if let Some(targets) = self.repository.published_targets(&published, role)? {
                let mut offers = Catalog::read(&channel, targets.body()).offers;
                for offer in &mut offers {
                    let target = Offer::target_name(&channel, offer.version);
                    offer.held = holds.iter().find(|hold| hold.target == target).cloned();
                }
                channels.push((channel, offers));
            }
        }
        let targets: Vec<&str> = holds.iter().map(|hold| hold.target.as_str()).collect();
        self.database
            .note_holds(&targets)
            .context("keeping the holds")?;
        self.offered = Offered {
            written,
            expires: published.timestamp.body().head.expires,
            channels,
            holds,
            can_hold: self.keyring.reaches(&published.root.body().roles.timestamp),
        };
        Ok(())
    }

    /// Keeps an event and acts on it.
    pub(super) fn keep(&mut self, event: &Event, address: &str) -> anyhow::Result<Kept> {
        let now = Self::now();
        let kept = self.database.keep(event, address, now);
        let kept = kept.context("keeping a report")?;
        if kept == Kept::Yes {
            self.judge(&event.channel, event.release, now)?;
        }
        Ok(kept)
    }

    pub(super) fn find(&self, channel: &Channel, version: Version) -> anyhow::Result<Finding> {
        let target = Offer::target_name(channel, version);
        let outcomes = self.database.outcomes(channel, version, &target);
        Ok(self.rule.find(&outcomes.context("reading the reports")?))
    }

    fn judge(&mut self, channel: &Channel, version: Version, now: Timestamp) -> anyhow::Result<()> {
        let target = Offer::target_name(channel, version);
        let is_offered = self.offered.offer(channel, version).is_some();
        let is_held = self.offered.holds.iter().any(|hold| hold.target == target);
        if !is_offered || is_held || !self.can_hold() {
            return Ok(());
        }
        let finding = self.find(channel, version)?;
        if !finding.too_many {
            return Ok(());
        }
        let Ok(_lock) = self.repository.lock() else {
            // A command is at work; the next look is soon.
            return Ok(());
        };
        let (failed, last) = (finding.fell_back(), self.rule.last);
        let reason = format!("{failed} of the last {last} machines that tried it fell back");
        hold::place(
            &self.repository,
            &self.keyring,
            (channel, version),
            &reason,
            now,
        )
        .with_context(|| format!("holding {version} in {channel}"))?;
        self.reload()
    }
}

impl Offered {
    pub(super) fn offer(&self, channel: &Channel, version: Version) -> Option<&Offer> {
        let (_, offers) = self.channels.iter().find(|(name, _)| name == channel)?;
        offers.iter().find(|offer| offer.version == version)
    }

    fn all(&self) -> Vec<(Channel, Version)> {
        let all = self.channels.iter();
        all.flat_map(|(channel, offers)| offers.iter().map(|o| (channel.clone(), o.version)))
            .collect()
    }
}

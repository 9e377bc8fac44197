//! One run of the client under the lock: settle, look, install, and tell of it as it goes.
//!
//! `strake update ...` and the service do the same through this; they differ in who asks and in
//! what is shown.

use std::fmt::Debug;
use std::time::Duration;

use strake_updates::fetch::Failure as Fetched;
use strake_updates::fetch::refresh::RefreshError;
use strake_updates::install::{InstallError, Progress};
use strake_updates::policy::{Choice, Obstacle};
use strake_updates::version::Version;

use super::history::{self, Event, What};
use super::install::{self, Goal, Installed};
use super::limit::Share;
use super::live::{Failure, FailureKind, Live, Operation};
use super::look::{self, Look};
use super::node::{self, Node};
use super::report::{self, Kind};
use super::settings::{self, Settings};
use super::{Lock, clock, entries, lock, settle};
use crate::root::Root;

/// Called with every change of what is being done.
pub type Tell<'a> = dyn FnMut(&Live) + Send + 'a;

pub struct Engine<'a> {
    root: &'a Root,
    pub settings: Settings,
    pub live: Live,
    tell: &'a mut Tell<'a>,
    _lock: Lock,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "another update command or strake-update.service is at work; `strake update status` shows \
         how far it is"
    )]
    Busy,
    #[error("locking /run/strake/update.lock")]
    Lock(#[source] std::io::Error),
    #[error("reading the settings of updates")]
    Settings(#[from] settings::Error),
    #[error(transparent)]
    Look(#[from] look::Error),
    #[error(transparent)]
    Install(#[from] install::Error),
    #[error("release {version} is not for this machine: {obstacle}")]
    Forbidden { version: Version, obstacle: String },
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error(transparent)]
    Entries(#[from] entries::Error),
    #[error("taking away the boot entry of release {0}")]
    Discard(Version, #[source] InstallError),
    #[error(transparent)]
    History(#[from] crate::apply::write::Error),
}

impl Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

/// What an administrator's word overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insistence {
    /// The decision stands.
    None,
    /// Waves, windows, pins and what failed here before do not count.
    Forced,
}

impl<'a> Engine<'a> {
    pub fn open(root: &'a Root, tell: &'a mut Tell<'a>) -> Result<Engine<'a>, Error> {
        let lock = lock(root).map_err(Error::Lock)?.ok_or(Error::Busy)?;
        // What cannot be found out about the last release is told by the alarms; it does not keep
        // the next one away.
        let _ = settle::settle(root);
        Ok(Engine {
            root,
            settings: Settings::read(root)?,
            live: Live::read(root),
            tell,
            _lock: lock,
        })
    }

    /// Looks, and keeps what came of it for those who ask.
    pub async fn check(&mut self) -> Result<Look, Error> {
        self.say(|live| live.operation = Operation::CheckingForUpdate);
        let node = Node::load(self.root)?;
        let looked = look::look(self.root, &self.settings, &node).await;
        match looked {
            Ok(look) => {
                let now = clock();
                let (operation, version) = shown(&look.decision.choice);
                let offer = version.and_then(|version| look.offer(version));
                let size = offer.map_or(0, |offer| offer.usr.size);
                self.say(|live| {
                    live.operation = operation;
                    (live.version, live.size) = (version, size);
                    live.last_check = Some(now);
                    live.last_error = None;
                });
                let newest = look.catalog.offers.last().map(|offer| offer.version);
                let release = newest.unwrap_or(look.decision.running);
                self.report(look.decision.running, release, Kind::Checked, None)
                    .await;
                Ok(look)
            }
            Err(error) => {
                let error = Error::from(error);
                self.failed(&error);
                Err(error)
            }
        }
    }

    pub async fn install(
        &mut self,
        look: &Look,
        version: Version,
        goal: Goal,
        insistence: Insistence,
    ) -> Result<Installed, Error> {
        let done = self.try_install(look, version, goal, insistence).await;
        let running = look.decision.running;
        match &done {
            Ok(installed) => {
                let activated = installed.entry.is_some();
                self.say(|live| {
                    live.operation = if activated {
                        Operation::UpdatedNeedReboot
                    } else {
                        Operation::UpdateAvailable
                    };
                    live.progress = 1.0;
                });
                if activated {
                    self.report(running, version, Kind::Installed, None).await;
                }
            }
            Err(error) => {
                self.failed(error);
                let text = text(error);
                let (what, note) = (What::Failed, text.clone());
                let event = Event {
                    time: clock(),
                    what,
                    version,
                    note,
                };
                // The error itself matters more than that it is written down.
                let _ = history::add(self.root, event);
                self.report(running, version, Kind::Downloading, Some(&text))
                    .await;
            }
        }
        done
    }

    async fn try_install(
        &mut self,
        look: &Look,
        version: Version,
        goal: Goal,
        insistence: Insistence,
    ) -> Result<Installed, Error> {
        allowed(look, version, insistence)?;
        let running = look.decision.running;
        self.report(running, version, Kind::Downloading, None).await;
        let size = look.offer(version).map_or(0, |offer| offer.usr.size);
        self.say(|live| {
            live.operation = Operation::Downloading;
            (live.version, live.size, live.progress) = (Some(version), size, 0.0);
        });
        let mut share = Share::new(self.settings.cpu_percent);
        let (root, live, tell) = (self.root, &mut self.live, &mut self.tell);
        let mut watch = |progress: Progress| {
            if let Some(share) = &mut share {
                share.rest();
            }
            if live.advance(progress) {
                live.write(root);
                tell(live);
            }
        };
        Ok(install::run(self.root, look, version, goal, &mut watch).await?)
    }

    /// Takes a staged release away from the loader; its blocks may stay.
    pub fn discard(&mut self, version: Version, why: &str) -> Result<(), Error> {
        let entries = entries::Entries::read(self.root)?;
        let gone = entries.library().discard(version);
        gone.map_err(|error| Error::Discard(version, error))?;
        let mut node = Node::load(self.root)?;
        node.attempt = None;
        node.save(self.root)?;
        let (what, note) = (What::Discarded, why.to_owned());
        history::add(
            self.root,
            Event {
                time: clock(),
                what,
                version,
                note,
            },
        )?;
        self.say(|live| live.operation = Operation::Idle);
        Ok(())
    }

    pub fn say(&mut self, change: impl FnOnce(&mut Live)) {
        change(&mut self.live);
        self.live.write(self.root);
        (self.tell)(&self.live);
    }

    fn failed(&mut self, error: &Error) {
        let failure = Failure {
            time: clock(),
            text: text(error),
            kind: kind(error),
        };
        self.say(|live| {
            live.operation = Operation::ReportingErrorEvent;
            live.last_error = Some(failure);
        });
    }

    /// With it goes what could not be told before.
    async fn report(&mut self, from: Version, release: Version, kind: Kind, cause: Option<&str>) {
        let Some(server) = self.settings.server.clone() else {
            return;
        };
        let channel = &self.settings.channel;
        let event = report::event(self.root, channel, (from, release), kind, cause);
        let events: Vec<_> = event.into_iter().collect();
        report::tell(self.root, &server, &events).await;
    }
}

impl Drop for Engine<'_> {
    /// An error is over once it was told; what it was stays.
    fn drop(&mut self) {
        if self.live.operation == Operation::ReportingErrorEvent {
            self.live.operation = Operation::Idle;
            self.live.write(self.root);
        }
    }
}

fn shown(choice: &Choice) -> (Operation, Option<Version>) {
    match choice {
        Choice::Install(version) => (Operation::UpdateAvailable, Some(*version)),
        Choice::Staged(version) => (Operation::UpdatedNeedReboot, Some(*version)),
        Choice::Discard(_) | Choice::Wait { .. } | Choice::Stay => (Operation::Idle, None),
    }
}

/// What the decision has against the release, as far as the administrator does not override it.
fn allowed(look: &Look, version: Version, insistence: Insistence) -> Result<(), Error> {
    let verdicts = &look.decision.verdicts;
    let Some(verdict) = verdicts.iter().find(|verdict| verdict.version == version) else {
        return Err(install::Error::NotOffered(version).into());
    };
    let yields = |obstacle: &Obstacle| {
        let is_own = matches!(
            obstacle,
            Obstacle::Wave { .. }
                | Obstacle::WindowClosed { .. }
                | Obstacle::NotPinned { .. }
                | Obstacle::Refused
        );
        let is_older = *obstacle == Obstacle::NotNewer && version != look.decision.running;
        insistence == Insistence::Forced && (is_own || is_older)
    };
    match verdict.obstacles.iter().find(|obstacle| !yields(obstacle)) {
        None => Ok(()),
        Some(obstacle) => Err(Error::Forbidden {
            version,
            obstacle: obstacle.to_string(),
        }),
    }
}

/// How long a server that is busy wants to be left alone.
pub fn asked(error: &Error) -> Option<Duration> {
    match error {
        Error::Look(look::Error::Refresh(RefreshError::Fetch(error))) => match error.failure {
            Fetched::Later { seconds, .. } => Some(Duration::from_secs(seconds)),
            _ => None,
        },
        _ => None,
    }
}

/// The whole chain of causes.
pub fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

fn kind(error: &Error) -> FailureKind {
    let fetched = |error: &strake_updates::fetch::FetchError| match error.is_not_found() {
        // A file that signed metadata names and the server does not have.
        true => FailureKind::Alarm,
        false => FailureKind::Network,
    };
    match error {
        Error::Look(look::Error::Refresh(RefreshError::Fetch(error))) => fetched(error),
        Error::Install(install::Error::Install {
            source: InstallError::Fetch(error),
            ..
        }) => fetched(error),
        Error::Look(look::Error::Off) | Error::Busy => FailureKind::Network,
        _ => FailureKind::Alarm,
    }
}

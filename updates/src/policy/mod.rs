//! Whether this machine takes a release, and why or why not.
//!
//! Pure: the machine's facts, the channel's offers and the time in, a [`Decision`] out. Everything
//! that stands against every newer release is listed, so that `strake update explain` prints what
//! was decided and not a second opinion.

use std::collections::BTreeSet;
use std::fmt;

use crate::channel::Channel;
use crate::offer::{Catalog, Offer};
use crate::rollout::{MachineId, Place, Turn};
use crate::time::Timestamp;
use crate::version::Version;

/// What the decision rests on.
#[derive(Clone, Debug)]
pub struct Machine {
    pub id: MachineId,
    pub channel: Channel,
    pub architecture: String,
    /// The release that runs.
    pub running: Version,
    /// A release already in the passive slot, waiting for a reboot.
    pub staged: Option<Version>,
    /// Only this version is wanted, older or newer.
    pub pinned: Option<Version>,
    /// Releases that did not come up healthy here.
    pub refused: BTreeSet<Version>,
    /// Bytes a slot can hold.
    pub slot_size: u64,
    pub window: Window,
}

/// Whether the administrator lets updates be installed at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Open,
    OpensAt(Timestamp),
}

/// Something that stands against a release on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    NotNewer,
    Retracted(String),
    Architecture(String),
    TooLarge { size: u64, slot: u64 },
    BelowFloor(Version),
    Barrier { min_from: Version },
    NotPinned { pinned: Version },
    Refused,
    Paused { since: Timestamp },
    Held { since: Timestamp, reason: String },
    Wave { due: Timestamp, place: Place },
    WindowClosed { opens: Timestamp },
}

/// All that was found on one release; without obstacles it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub version: Version,
    pub obstacles: Vec<Obstacle>,
}

/// What the machine does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Install(Version),
    /// It is in the passive slot; a reboot is all that is missing.
    Staged(Version),
    /// It is in the passive slot and must not be booted any more: its boot entry is to be removed.
    Discard(Version),
    /// Nothing changes before then, unless the publisher says otherwise.
    Wait {
        version: Version,
        until: Timestamp,
    },
    Stay,
}

/// A choice and its grounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub running: Version,
    pub channel: Channel,
    pub choice: Choice,
    /// One per offer, newest first.
    pub verdicts: Vec<Verdict>,
}

/// The newest release that nothing stands against is taken.
pub fn decide(machine: &Machine, catalog: &Catalog, now: Timestamp) -> Decision {
    let floor = catalog.floor();
    let newest_first = catalog.offers.iter().rev();
    let verdicts: Vec<Verdict> = newest_first
        .map(|offer| Verdict {
            version: offer.version,
            obstacles: obstacles(machine, offer, floor, now),
        })
        .collect();
    let allowed = verdicts.iter().find(|verdict| verdict.obstacles.is_empty());
    let choice = match allowed.map(|verdict| verdict.version) {
        Some(version) if machine.staged == Some(version) => Choice::Staged(version),
        Some(version) => Choice::Install(version),
        None => discard(machine, &verdicts).unwrap_or_else(|| wait(&verdicts)),
    };
    Decision {
        running: machine.running,
        channel: machine.channel.clone(),
        choice,
        verdicts,
    }
}

fn obstacles(
    machine: &Machine,
    offer: &Offer,
    floor: Option<Version>,
    now: Timestamp,
) -> Vec<Obstacle> {
    use Obstacle::*;
    let (version, pinned) = (offer.version, machine.pinned);
    let is_pinned = pinned == Some(version);
    if version == machine.running || version < machine.running && !is_pinned {
        return vec![NotNewer];
    }
    let place = Place::draw(machine.id, version);
    let size = offer.usr.size;
    let rollout = match offer.rollout.turn(place, now) {
        // Who names a version has decided for this machine; only a stop by the publisher counts.
        Turn::Now => None,
        Turn::At(_) if is_pinned => None,
        Turn::At(due) => Some(Wave { due, place }),
        Turn::Paused { since } => Some(Paused { since }),
    };
    let found = [
        offer.retracted.clone().map(Retracted),
        (offer.architecture != machine.architecture)
            .then(|| Architecture(offer.architecture.clone())),
        (size > machine.slot_size).then_some(TooLarge {
            size,
            slot: machine.slot_size,
        }),
        floor.filter(|floor| version < *floor).map(BelowFloor),
        offer
            .min_from
            .filter(|min_from| machine.running < *min_from)
            .map(|min_from| Barrier { min_from }),
        pinned
            .filter(|pinned| *pinned != version)
            .map(|pinned| NotPinned { pinned }),
        machine.refused.contains(&version).then_some(Refused),
        rollout,
        offer.held.as_ref().map(|hold| Held {
            since: hold.since,
            reason: hold.reason.clone(),
        }),
        match machine.window {
            Window::OpensAt(opens) if opens > now => Some(WindowClosed { opens }),
            _ => None,
        },
    ];
    found.into_iter().flatten().collect()
}

/// What was installed and is no longer allowed, for more than a matter of time. Its blocks may stay:
/// should it be allowed again, next to nothing is fetched.
fn discard(machine: &Machine, verdicts: &[Verdict]) -> Option<Choice> {
    let staged = verdicts
        .iter()
        .find(|verdict| Some(verdict.version) == machine.staged)?;
    let lasting = staged
        .obstacles
        .iter()
        .any(|obstacle| obstacle.ends().is_none());
    lasting.then_some(Choice::Discard(staged.version))
}

/// The release that is nearest to be allowed, when only time stands against it.
fn wait(verdicts: &[Verdict]) -> Choice {
    let waits = verdicts.iter().filter_map(|verdict| {
        let times: Option<Vec<Timestamp>> = verdict.obstacles.iter().map(Obstacle::ends).collect();
        Some((times?.into_iter().max()?, verdict.version))
    });
    match waits.min() {
        Some((until, version)) => Choice::Wait { version, until },
        None => Choice::Stay,
    }
}

impl Obstacle {
    /// When it is gone by itself.
    fn ends(&self) -> Option<Timestamp> {
        match self {
            Obstacle::Wave { due, .. } => Some(*due),
            Obstacle::WindowClosed { opens } => Some(*opens),
            _ => None,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NotNewer => f.write_str("not newer than what runs"),
            Obstacle::Retracted(why) => write!(f, "retracted by the publisher: {why}"),
            Obstacle::Architecture(name) => write!(f, "for {name} machines"),
            Obstacle::TooLarge { size, slot } => {
                write!(f, "needs {size} bytes, a slot has {slot}")
            }
            Obstacle::BelowFloor(floor) => write!(f, "below the channel's floor {floor}"),
            Obstacle::Barrier { min_from } => {
                write!(f, "can only be reached from {min_from} or newer (barrier)")
            }
            Obstacle::NotPinned { pinned } => write!(f, "this machine is pinned to {pinned}"),
            Obstacle::Refused => f.write_str("did not come up healthy here before (refused)"),
            Obstacle::Paused { since } => {
                write!(f, "rollout paused by the publisher since {since}")
            }
            Obstacle::Held { since, reason } => {
                write!(f, "rollout held by the repository since {since}: {reason}")
            }
            Obstacle::Wave { due, place } => {
                write!(
                    f,
                    "this machine's wave opens {due} (place {:.1} %)",
                    place.percent()
                )
            }
            Obstacle::WindowClosed { opens } => write!(f, "the update window opens {opens}"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "runs {}, channel {}: ", self.running, self.channel)?;
        match &self.choice {
            Choice::Install(version) => writeln!(f, "install {version}")?,
            Choice::Staged(version) => writeln!(f, "{version} is installed, reboot to use it")?,
            Choice::Discard(version) => writeln!(f, "{version} is installed, do not boot it")?,
            Choice::Wait { version, until } => writeln!(f, "wait for {version} until {until}")?,
            Choice::Stay => writeln!(f, "nothing to do")?,
        }
        for Verdict { version, obstacles } in &self.verdicts {
            match obstacles.as_slice() {
                [] => writeln!(f, "  {version}: allowed")?,
                all => {
                    for obstacle in all {
                        writeln!(f, "  {version}: {obstacle}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

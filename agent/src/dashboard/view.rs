//! What people want to know of the cluster, made of the picture. Pure.

use serde::Serialize;

pub use super::locks::{Group, Holder};
pub use super::machines::{Machine, Presence};
use super::picture::Picture;
pub use super::releases::Release;
pub use super::units::{Instance, Unit};
use super::{locks, machines, releases, units};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct View {
    /// The machine that plans.
    pub leader: Option<String>,
    /// Those that need somebody come first.
    pub machines: Vec<Machine>,
    /// Newest first.
    pub releases: Vec<Release>,
    pub locks: Vec<Group>,
    /// Those that need somebody come first.
    pub units: Vec<Unit>,
}

impl View {
    pub fn of(picture: &Picture) -> View {
        let locks = locks::read(picture);
        let machines = machines::read(picture, &locks);
        let seats = picture.model.seats.iter();
        let leader = seats.min_by_key(|seat| seat.created);
        let leader = leader.and_then(|seat| {
            let value = String::from_utf8_lossy(&seat.value);
            value.split(' ').next().map(str::to_string)
        });
        View {
            leader,
            releases: releases::read(picture, &machines),
            machines,
            locks,
            units: units::read(picture),
        }
    }

    pub fn live(&self) -> usize {
        let live = |machine: &&Machine| machine.presence == Presence::Live;
        self.machines.iter().filter(live).count()
    }
}

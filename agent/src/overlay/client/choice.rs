//! Which lease is this machine's, and which subnet it gets where none is. Pure.

use std::collections::BTreeSet;

use super::{Client, Origin};
use crate::overlay::allocate::{Full, choose};
use crate::overlay::cidr::{Cidr, Family};
use crate::overlay::config::Config;
use crate::overlay::lease::{Lease, Subnets};
use crate::store::Entry;

fn is_own(lease: &Lease, offer: &Lease) -> bool {
    match &lease.machine {
        Some(machine) => Some(machine) == offer.machine.as_ref(),
        None => lease.shares_address(offer),
    }
}

fn fits(config: &Config, subnets: &Subnets) -> bool {
    [Family::V4, Family::V6].into_iter().all(|family| {
        match (config.ranges(family), subnets.of(family)) {
            (Some(ranges), Some(subnet)) => {
                // A reservation may lie outside of what is given by chance.
                ranges.network.covers(&subnet) && subnet.length() == ranges.length()
            }
            (None, None) => true,
            _ => false,
        }
    })
}

/// The lease that this machine has: a reservation before others, the subnet of before next.
pub(super) fn own<'a>(
    config: &Config,
    offer: &Lease,
    known: &'a [(&'a Entry, Lease)],
) -> Option<(&'a Entry, &'a Lease)> {
    let mine = known
        .iter()
        .filter(|(_, lease)| is_own(lease, offer) && fits(config, &lease.subnets));
    let best = mine.min_by_key(|(entry, lease)| {
        (
            entry.lease.is_some(),
            lease.subnets != offer.subnets,
            entry.created,
        )
    });
    best.map(|(entry, lease)| (*entry, lease))
}

impl<S> Client<S> {
    /// The subnet of before when nobody else has it, otherwise any.
    pub(super) fn free(
        &self,
        config: &Config,
        offer: &Lease,
        known: &[(&Entry, Lease)],
        chance: &mut impl FnMut() -> u128,
    ) -> Result<(Subnets, Origin), Full> {
        let before = offer.subnets;
        let is_avoided = |subnet: Option<Cidr>| {
            subnet.is_some_and(|subnet| self.avoided.iter().any(|one| one.overlaps(&subnet)))
        };
        let is_taken = |subnets: &Subnets| {
            let mut all = known.iter();
            all.any(|(_, lease)| lease.subnets.overlaps(subnets))
                || is_avoided(subnets.v4)
                || is_avoided(subnets.v6)
        };
        let had_one = before.v4.is_some() || before.v6.is_some();
        let fitting = fits(config, &before);
        if had_one && fitting && !is_taken(&before) {
            return Ok((before, Origin::Again));
        }
        let mut one_of = |family| {
            let Some(ranges) = config.ranges(family) else {
                return Ok(None);
            };
            let taken = known
                .iter()
                .filter_map(|(_, lease)| lease.subnets.of(family));
            let avoided = self.avoided.iter().copied();
            let avoided = avoided.filter(|one| one.family() == family);
            let taken: BTreeSet<Cidr> = taken.chain(avoided).collect();
            choose(ranges, &taken, chance()).map(Some)
        };
        let subnets = Subnets {
            v4: one_of(Family::V4)?,
            v6: one_of(Family::V6)?,
        };
        let origin = match had_one && fitting {
            true => Origin::Moved(before),
            false => Origin::New,
        };
        Ok((subnets, origin))
    }
}

//! Which subnet a machine gets: pure. Chance comes in as a number.

use std::collections::BTreeSet;

use super::cidr::Cidr;
use super::config::Ranges;

/// Nothing is free.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the network {network} is too small: cut into /{length} it has {all} subnets, of which those \
     from {first} to {last} may be given, {most}, and all are taken; {hint}"
)]
pub struct Full {
    network: Cidr,
    length: u8,
    all: u128,
    first: Cidr,
    last: Cidr,
    most: u128,
    hint: String,
}

impl Full {
    fn of(ranges: &Ranges) -> Full {
        let (network, length) = (ranges.network, ranges.length());
        let longest = match network.family().bits() {
            32 => 30,
            _ => 126,
        };
        let hint = match length < longest {
            true => {
                let key = match network.family().bits() {
                    32 => "SubnetLen",
                    _ => "IPv6SubnetLen",
                };
                let next = length + 1;
                let more = network.highest(next);
                format!("{key} {next} would give {more} machines one, in a new network")
            }
            false => "a larger network is needed".to_string(),
        };
        Full {
            network,
            length,
            // A network is never cut into more than 2^126.
            all: network.highest(length) + 1,
            first: ranges.first,
            last: ranges.last,
            most: ranges.most() + 1,
            hint,
        }
    }
}

/// A free subnet: the first one at or behind the place that chance says, around the end.
pub fn choose(ranges: &Ranges, taken: &BTreeSet<Cidr>, chance: u128) -> Result<Cidr, Full> {
    let (network, length) = (ranges.network, ranges.length());
    let count = ranges.most() + 1;
    let first = network.index_of(&ranges.first).unwrap_or(0);
    // Of those taken, only so many can be in the way.
    let looks = count.min(taken.len() as u128 + 1);
    if taken.iter().any(|subnet| subnet.length() != length) {
        // Subnets of other sizes may take many places at once: look at every one.
        return walk(ranges, taken, chance % count, count);
    }
    for look in 0..looks {
        let index = first + (chance % count + look) % count;
        if let Some(subnet) = network
            .nth(length, index)
            .filter(|one| !taken.contains(one))
        {
            return Ok(subnet);
        }
    }
    Err(Full::of(ranges))
}

/// Past whatever is in the way, whatever its size.
fn walk(ranges: &Ranges, taken: &BTreeSet<Cidr>, start: u128, count: u128) -> Result<Cidr, Full> {
    let (network, length) = (ranges.network, ranges.length());
    let first = network.index_of(&ranges.first).unwrap_or(0);
    let mut passed = 0;
    while passed < count {
        let place = (start + passed) % count;
        let Some(subnet) = network.nth(length, first + place) else {
            break;
        };
        match taken.iter().find(|one| one.overlaps(&subnet)) {
            None => return Ok(subnet),
            Some(large) if large.length() < length => {
                let end = network
                    .index_of(&last_within(large, length))
                    .unwrap_or(first + place);
                // At least this one, and not beyond the end: there the walk goes on at the start.
                let step = (end.saturating_sub(first + place) + 1).min(count - place);
                passed += step;
            }
            Some(_) => passed += 1,
        }
    }
    Err(Full::of(ranges))
}

fn last_within(large: &Cidr, length: u8) -> Cidr {
    large.nth(length, large.highest(length)).unwrap_or(*large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::config::Config;
    use proptest::prelude::*;

    fn ranges(text: &str) -> Ranges {
        let config = Config::parse(text.as_bytes()).expect(text);
        config
            .families()
            .next()
            .map(|(_, ranges)| *ranges)
            .expect("ranges")
    }

    fn set(taken: &[&str]) -> BTreeSet<Cidr> {
        taken.iter().map(|text| text.parse().expect(text)).collect()
    }

    #[test]
    fn a_full_network_is_told_with_its_arithmetic() {
        let ranges = ranges(r#"{"Network":"10.5.0.0/24","SubnetLen":26}"#);
        let taken = set(&["10.5.0.64/26", "10.5.0.128/26", "10.5.0.192/26"]);
        let full = choose(&ranges, &taken, 2).expect_err("full");
        assert_eq!(
            full.to_string(),
            "the network 10.5.0.0/24 is too small: cut into /26 it has 4 subnets, of which those \
             from 10.5.0.64/26 to 10.5.0.192/26 may be given, 3, and all are taken; SubnetLen 27 \
             would give 7 machines one, in a new network"
        );
    }

    #[test]
    fn chance_says_where_and_taken_ones_are_passed() {
        let ranges = ranges(r#"{"Network":"10.5.0.0/24","SubnetLen":26}"#);
        let choose = |taken: &[&str], chance| choose(&ranges, &set(taken), chance);
        let free = |text: &str| Ok(text.parse().expect(text));
        assert_eq!(choose(&[], 0), free("10.5.0.64/26"));
        assert_eq!(choose(&[], 5), free("10.5.0.192/26"));
        assert_eq!(choose(&["10.5.0.192/26"], 2), free("10.5.0.64/26"));
        // A subnet of another size, from another time, covers two.
        assert_eq!(choose(&["10.5.0.128/25"], 1), free("10.5.0.64/26"));
        assert_eq!(choose(&["10.5.0.68/30"], 0), free("10.5.0.128/26"));
        assert!(choose(&["10.5.0.0/24"], 0).is_err());
    }

    #[test]
    fn a_wide_network_is_not_walked() {
        let config = r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/16","IPv6SubnetLen":112}"#;
        let ranges = ranges(config);
        let found = choose(&ranges, &set(&["fd00::/17"]), 7).expect("free");
        assert_eq!(found.to_string(), "fd00:8000::/112");
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_free_and_may_be_given_unless_nothing_is(
            taken in prop::collection::btree_set((0u128..64, 22u8..=26), 0..20), chance: u128,
        ) {
            let ranges = ranges(r#"{"Network":"10.5.0.0/20","SubnetLen":24,"SubnetMax":"10.5.12.0"}"#);
            let network = ranges.network;
            let taken: BTreeSet<Cidr> =
                taken.into_iter().filter_map(|(nth, length)| network.nth(length, nth)).collect();
            let is_free = |one: &Cidr| !taken.iter().any(|other| other.overlaps(one));
            match choose(&ranges, &taken, chance) {
                Ok(chosen) => prop_assert!(is_free(&chosen) && ranges.may_give(&chosen)),
                Err(_) => {
                    let mut all = (0..16).filter_map(|nth| network.nth(24, nth));
                    prop_assert!(!all.any(|one| is_free(&one) && ranges.may_give(&one)));
                }
            }
        }
    }
}

//! `strake.overlay.networks`: what two of them may not share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::findings::{Findings, Path};
use super::overlay::{fitting, number};
use super::view::View;
use crate::config::OverlayNetwork;
use crate::problem::{Level, Rule};

const MOST: usize = 32;
/// Of the first network with a name.
const DEFAULT_VNI: u32 = 2;
const INVALID: (Level, Rule) = (Level::Error, Rule::InvalidValue);

pub(super) fn read(
    overlay: View<'_>,
    path: &Path<'_>,
    out: &mut Findings<'_>,
) -> Vec<OverlayNetwork> {
    let path = path.key("networks");
    let mut all: Vec<OverlayNetwork> = Vec::new();
    // The network without a name, and then those that were read.
    let mut ranges = ranges_of(overlay, "default");
    let mut numbers = vec![(number(overlay, "vni").unwrap_or(1), "default".to_string())];
    if overlay.text("backend") == Some("host-gw") {
        numbers.clear();
    }
    for (index, view) in overlay.views("networks") {
        let path = path.index(index);
        let mut network = network(view);
        for (range, length) in [
            ("network", "subnet_length"),
            ("ipv6_network", "ipv6_subnet_length"),
        ] {
            fitting(view, range, length, (&path, &mut *out));
        }
        let mut tell = |key: &str, rule, message: String| {
            let node = view.get(key).unwrap_or(view.node());
            out.add(rule, &node.span, &path.key(key), &message);
        };
        let name = &network.name;
        if all.iter().any(|other| other.name == *name) {
            let message = format!("there are two networks {name:?}");
            tell("name", (Level::Error, Rule::DuplicateEntry), message);
        }
        if index == MOST {
            tell(
                "name",
                INVALID,
                format!("there are more than {MOST} networks"),
            );
        }
        for range in ranges_of(view, name) {
            if let Some(other) = ranges.iter().find(|other| other.overlaps(&range)) {
                let message = format!(
                    "{} overlaps {} of the network {}",
                    range.text, other.text, other.of
                );
                tell(range.key, INVALID, message);
            }
            ranges.push(range);
        }
        let mut number_given = None;
        match (network.backend.as_deref(), network.vni) {
            (Some("host-gw"), Some(_)) => {
                let message = "\"vni\" is vxlan's and counts for nothing with host-gw".to_string();
                tell("vni", (Level::Warning, Rule::InvalidValue), message);
            }
            (Some("host-gw"), None) => {}
            // The store has all of it.
            (_, None) if network.network.is_none() && network.ipv6_network.is_none() => {}
            (_, vni) => {
                let vni = vni.unwrap_or(DEFAULT_VNI + index as u32);
                if let Some((_, other)) = numbers.iter().find(|(other, _)| *other == vni) {
                    tell(
                        "vni",
                        INVALID,
                        format!("{vni} is also the VNI of the network {other}"),
                    );
                }
                numbers.push((vni, name.clone()));
                number_given = Some(vni);
            }
        }
        network.vni = number_given;
        all.push(network);
    }
    allowed(overlay, &all, &path, out);
    all
}

fn network(view: View<'_>) -> OverlayNetwork {
    OverlayNetwork {
        name: view.string("name").unwrap_or_default(),
        network: view.string("network"),
        ipv6_network: view.string("ipv6_network"),
        subnet_length: number(view, "subnet_length"),
        ipv6_subnet_length: number(view, "ipv6_subnet_length"),
        backend: view.string("backend"),
        vni: number(view, "vni"),
        allow: view.strings("allow"),
    }
}

/// Another layer may have the network that is missed, so that is only worth a warning.
fn allowed(overlay: View<'_>, all: &[OverlayNetwork], path: &Path<'_>, out: &mut Findings<'_>) {
    for (index, view) in overlay.views("networks") {
        let path = path.index(index);
        for other in view.items("allow") {
            let Some(name) = other.text() else { continue };
            if name != "default" && !all.iter().any(|one| one.name == name) {
                let message = format!("there is no network {name:?}");
                let rule = (Level::Warning, Rule::InvalidValue);
                out.add(rule, &other.span, &path.key("allow"), &message);
            }
        }
    }
}

struct Range {
    key: &'static str,
    text: String,
    of: String,
    first: u128,
    last: u128,
    v4: bool,
}

impl Range {
    fn overlaps(&self, other: &Range) -> bool {
        self.v4 == other.v4 && self.first <= other.last && other.first <= self.last
    }
}

/// Those that have the form of a network.
fn ranges_of(view: View<'_>, of: &str) -> Vec<Range> {
    let range = |key: &'static str| {
        let text = view.text(key)?;
        let (address, length) = text.split_once('/')?;
        let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
        let (first, bits) = match address {
            IpAddr::V4(address) => (u128::from(Ipv4Addr::to_bits(address)), 32),
            IpAddr::V6(address) => (Ipv6Addr::to_bits(address), 128),
        };
        let host = u32::checked_sub(bits, length)?;
        let mask = 1_u128.checked_shl(host).map_or(u128::MAX, |size| size - 1);
        Some(Range {
            key,
            text: text.to_string(),
            of: of.to_string(),
            first,
            last: first | mask,
            v4: address.is_ipv4(),
        })
    };
    let keys = ["network", "ipv6_network"].into_iter();
    keys.filter_map(range).collect()
}

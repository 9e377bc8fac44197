//! `/etc/network/interfaces` as config drives carry it: static, dhcp, manual and loopback, with
//! VLANs and bonds.

use std::net::IpAddr;

use super::address::{Cidr, bond_mode, is_domain, is_link_name, mac};
use super::{Dhcp, Kind, Link, Route, link};

pub fn parse(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut stanza: Option<Stanza<'_>> = None;
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["iface", name, family, method, ..] => {
                apply(stanza.take(), &mut links);
                stanza = Some(Stanza {
                    name,
                    family,
                    method,
                    options: Vec::new(),
                });
            }
            [
                "auto" | "allow-hotplug" | "allow-auto" | "source" | "mapping",
                ..,
            ] => {
                apply(stanza.take(), &mut links);
            }
            [key, rest @ ..] => {
                if let Some(stanza) = &mut stanza {
                    stanza.options.push((key, rest.to_vec()));
                }
            }
            [] => {}
        }
    }
    apply(stanza, &mut links);
    links
}

struct Stanza<'t> {
    name: &'t str,
    family: &'t str,
    method: &'t str,
    options: Vec<(&'t str, Vec<&'t str>)>,
}

impl<'t> Stanza<'t> {
    /// The words of an option, hyphen and underscore alike.
    fn words(&self, key: &str) -> &[&'t str] {
        let found = self
            .options
            .iter()
            .find(|(name, _)| name.replace('_', "-") == key);
        found.map_or(&[], |(_, words)| words)
    }

    fn word(&self, key: &str) -> Option<&'t str> {
        self.words(key).first().copied()
    }
}

fn apply(stanza: Option<Stanza<'_>>, links: &mut Vec<Link>) {
    let Some(stanza) = stanza else { return };
    if stanza.method == "loopback" || !is_link_name(stanza.name) {
        return;
    }
    let kind = kind(&stanza);
    let link = link(links, stanza.name);
    if kind != Kind::Physical {
        link.kind = kind;
    }
    let hardware = stanza.words("hwaddress").last().and_then(|text| mac(text));
    link.mac = hardware.or(link.mac.take());
    link.mtu = stanza
        .word("mtu")
        .and_then(|text| text.parse().ok())
        .or(link.mtu);
    match (stanza.method, stanza.family) {
        ("dhcp", "inet6") => link.dhcp = link.dhcp.and(Dhcp::V6),
        ("dhcp", _) => link.dhcp = link.dhcp.and(Dhcp::V4),
        ("static", _) => add_static(&stanza, link),
        _ => {}
    }
    link.dns.extend(
        stanza
            .words("dns-nameservers")
            .iter()
            .filter_map(|text| text.parse::<IpAddr>().ok()),
    );
    let search = stanza
        .words("dns-search")
        .iter()
        .filter(|text| is_domain(text));
    link.search.extend(search.map(|text| (*text).to_owned()));
    for (key, words) in &stanza.options {
        if matches!(*key, "up" | "post-up") {
            link.routes.extend(route(words));
        }
    }
}

fn add_static(stanza: &Stanza<'_>, link: &mut Link) {
    let address = stanza
        .word("address")
        .and_then(|address| match stanza.word("netmask") {
            Some(mask) => Cidr::with_mask(address, mask),
            None => Cidr::parse(address),
        });
    link.addresses.extend(address);
    let gateway = stanza.word("gateway").and_then(|text| text.parse().ok());
    link.routes.extend(gateway.map(|gateway| Route {
        destination: None,
        gateway,
    }));
}

fn kind(stanza: &Stanza<'_>) -> Kind {
    let members = stanza.words("bond-slaves");
    if !members.is_empty() {
        let members = members
            .iter()
            .filter(|name| is_link_name(name) && **name != "none");
        let members = members.map(|name| (*name).to_owned()).collect();
        let mode = bond_mode(stanza.word("bond-mode").unwrap_or_default()).to_owned();
        return Kind::Bond { members, mode };
    }
    let named = stanza
        .name
        .rsplit_once('.')
        .and_then(|(parent, id)| Some((parent, id.parse().ok()?)));
    let given = stanza.word("vlan-raw-device");
    let id = stanza.word("vlan-id").and_then(|text| text.parse().ok());
    let id = id.or(named.map(|(_, id)| id)).or_else(|| {
        stanza
            .name
            .strip_prefix("vlan")
            .filter(|_| given.is_some())?
            .parse()
            .ok()
    });
    let parent = given
        .or(named.map(|(parent, _)| parent))
        .filter(|name| is_link_name(name));
    match (id, parent) {
        (Some(id @ 1..=4094), Some(parent)) => Kind::Vlan {
            id,
            parent: parent.to_owned(),
        },
        _ => Kind::Physical,
    }
}

/// `route add [-net|-host] DESTINATION [netmask MASK] gw GATEWAY`, in any order.
fn route(words: &[&str]) -> Option<Route> {
    let words = words.strip_prefix(&["route", "add"])?;
    let after = |key: &str| {
        words
            .iter()
            .position(|word| *word == key)
            .and_then(|at| words.get(at + 1))
            .copied()
    };
    let gateway = after("gw")?.parse().ok()?;
    let destination = after("-net")
        .or(after("-host"))
        .or(words.first().copied())?;
    let destination = match after("netmask") {
        _ if destination == "default" => None,
        Some(mask) => Some(Cidr::with_mask(destination, mask)?),
        None => Some(Cidr::parse(destination)?),
    };
    Some(Route {
        destination,
        gateway,
    })
}

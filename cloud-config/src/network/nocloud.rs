//! NoCloud's `network-config`, version 1 (a list of devices) and version 2 (netplan's mapping).

use std::net::IpAddr;

use super::address::{Cidr, bond_mode, is_domain, is_link_name, mac};
use super::{Dhcp, Kind, Link, Route, link};
use crate::check::{View, flag};
use crate::document::{Document, parse as parse_document};

/// `None` when the text is no YAML mapping of a known version.
pub fn parse(text: &str) -> Option<Vec<Link>> {
    let Document { root, .. } = parse_document(text);
    let root = root?;
    let view = View::new(&root);
    let view = view.map("network").unwrap_or(view);
    match view.text("version")? {
        "1" => Some(version_1(view)),
        "2" => Some(version_2(view)),
        _ => None,
    }
}

fn version_1(view: View<'_>) -> Vec<Link> {
    let mut links = Vec::new();
    let mut servers: Vec<IpAddr> = Vec::new();
    for (_, item) in view.views("config") {
        let kind = item.text("type").unwrap_or_default();
        if kind == "nameserver" {
            servers.extend(
                texts(item, "address")
                    .iter()
                    .filter_map(|text| text.parse::<IpAddr>().ok()),
            );
            continue;
        }
        let Some(name) = item.text("name").filter(|name| is_link_name(name)) else {
            continue;
        };
        let link = link(&mut links, name);
        link.mac = item.text("mac_address").and_then(mac);
        link.mtu = item.text("mtu").and_then(|text| text.parse().ok());
        link.kind = match kind {
            "vlan" => vlan(item.text("vlan_id"), item.text("vlan_link")),
            "bond" => Kind::Bond {
                members: names(item, "bond_interfaces"),
                mode: bond_mode(
                    item.map("params")
                        .and_then(|p| p.text("bond-mode"))
                        .unwrap_or_default(),
                )
                .to_owned(),
            },
            _ => Kind::Physical,
        };
        for (_, subnet) in item.views("subnets") {
            add_subnet(link, subnet);
        }
    }
    if let Some(first) = links
        .iter_mut()
        .find(|link| link.dhcp != Dhcp::No || !link.addresses.is_empty())
    {
        first.dns.extend(servers);
    }
    links
}

fn add_subnet(link: &mut Link, subnet: View<'_>) {
    match subnet.text("type").unwrap_or_default() {
        "dhcp" | "dhcp4" => link.dhcp = link.dhcp.and(Dhcp::V4),
        "dhcp6" | "ipv6_dhcpv6-stateful" => link.dhcp = link.dhcp.and(Dhcp::V6),
        _ => {
            let address = subnet.text("address").unwrap_or_default();
            link.addresses.extend(match subnet.text("netmask") {
                Some(mask) => Cidr::with_mask(address, mask),
                None => Cidr::parse(address),
            });
        }
    }
    let gateway = subnet
        .text("gateway")
        .and_then(|text| text.parse::<IpAddr>().ok());
    link.routes.extend(gateway.map(|gateway| Route {
        destination: None,
        gateway,
    }));
    for (_, route) in subnet.views("routes") {
        let network = route
            .text("network")
            .or(route.text("destination"))
            .unwrap_or_default();
        let destination = match route.text("netmask") {
            Some(mask) => Cidr::with_mask(network, mask),
            None => Cidr::parse(network),
        };
        add_route(link, destination, route.text("gateway"));
    }
    link.dns.extend(
        texts(subnet, "dns_nameservers")
            .iter()
            .filter_map(|text| text.parse::<IpAddr>().ok()),
    );
    link.search.extend(
        texts(subnet, "dns_search")
            .into_iter()
            .filter(|text| is_domain(text)),
    );
}

fn version_2(view: View<'_>) -> Vec<Link> {
    let mut links = Vec::new();
    for section in ["ethernets", "bonds", "vlans"] {
        for (id, node) in view.pairs(section).filter(|(id, _)| is_link_name(id)) {
            let item = View::new(node);
            let matched = item.map("match");
            let named = matched
                .and_then(|found| found.text("name"))
                .filter(|name| is_link_name(name));
            let name = item
                .text("set-name")
                .filter(|name| is_link_name(name))
                .or(named)
                .unwrap_or(id);
            let link = link(&mut links, name);
            link.mac = matched
                .and_then(|m| m.text("macaddress"))
                .or(item.text("macaddress"))
                .and_then(mac);
            link.mtu = item.text("mtu").and_then(|text| text.parse().ok());
            link.kind = match section {
                "vlans" => vlan(item.text("id"), item.text("link")),
                "bonds" => Kind::Bond {
                    members: names(item, "interfaces"),
                    mode: bond_mode(
                        item.map("parameters")
                            .and_then(|p| p.text("mode"))
                            .unwrap_or_default(),
                    )
                    .to_owned(),
                },
                _ => Kind::Physical,
            };
            add_netplan(link, item);
        }
    }
    links
}

fn add_netplan(link: &mut Link, item: View<'_>) {
    let on = |key: &str| item.text(key).and_then(flag) == Some(true);
    link.dhcp = match (on("dhcp4"), on("dhcp6")) {
        (true, true) => Dhcp::Both,
        (true, false) => Dhcp::V4,
        (false, true) => Dhcp::V6,
        (false, false) => Dhcp::No,
    };
    link.addresses.extend(
        texts(item, "addresses")
            .iter()
            .filter_map(|text| Cidr::parse(text)),
    );
    for key in ["gateway4", "gateway6"] {
        add_route(link, Cidr::parse("0.0.0.0/0"), item.text(key));
    }
    for (_, route) in item.views("routes") {
        let to = match route.text("to") {
            Some("default") | None => Cidr::parse("0.0.0.0/0"),
            Some(text) => Cidr::parse(text),
        };
        add_route(link, to, route.text("via"));
    }
    if let Some(servers) = item.map("nameservers") {
        link.dns.extend(
            texts(servers, "addresses")
                .iter()
                .filter_map(|text| text.parse::<IpAddr>().ok()),
        );
        link.search.extend(
            texts(servers, "search")
                .into_iter()
                .filter(|text| is_domain(text)),
        );
    }
}

fn add_route(link: &mut Link, destination: Option<Cidr>, gateway: Option<&str>) {
    if let (Some(destination), Some(Ok(gateway))) = (destination, gateway.map(str::parse)) {
        let destination = (!destination.is_default()).then_some(destination);
        link.routes.push(Route {
            destination,
            gateway,
        });
    }
}

fn vlan(id: Option<&str>, parent: Option<&str>) -> Kind {
    match (
        id.and_then(|text| text.parse::<u16>().ok()),
        parent.filter(|name| is_link_name(name)),
    ) {
        (Some(id @ 1..=4094), Some(parent)) => Kind::Vlan {
            id,
            parent: parent.to_owned(),
        },
        _ => Kind::Physical,
    }
}

fn names(view: View<'_>, key: &str) -> Vec<String> {
    view.strings(key)
        .into_iter()
        .filter(|name| is_link_name(name))
        .collect()
}

/// A list, or one value that stands for a list of one.
fn texts(view: View<'_>, key: &str) -> Vec<String> {
    match view.text(key) {
        Some(text) => vec![text.to_owned()],
        None => view.strings(key),
    }
}

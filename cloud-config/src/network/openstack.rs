//! `network_data.json` of OpenStack: links, networks on them, name servers.

use serde::Deserialize;

use super::address::{Cidr, bond_mode, is_link_name, mac};
use super::{Dhcp, Kind, Link, Route};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    links: Vec<RawLink>,
    networks: Vec<RawNetwork>,
    services: Vec<Service>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawLink {
    id: String,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    ethernet_mac_address: Option<String>,
    vlan_mac_address: Option<String>,
    mtu: Option<u32>,
    vlan_id: Option<u16>,
    vlan_link: Option<String>,
    bond_links: Vec<String>,
    bond_mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawNetwork {
    link: String,
    #[serde(rename = "type")]
    kind: String,
    ip_address: Option<String>,
    netmask: Option<String>,
    gateway: Option<String>,
    routes: Vec<RawRoute>,
    services: Vec<Service>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawRoute {
    network: String,
    netmask: String,
    gateway: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

pub fn parse(bytes: &[u8]) -> Result<Vec<Link>, serde_json::Error> {
    let data: Data = serde_json::from_slice(bytes)?;
    let mut links: Vec<Link> = Vec::new();
    for raw in data.links.iter().filter(|raw| is_link_name(&name(raw))) {
        links.push(read_link(raw, &data.links));
    }
    for network in &data.networks {
        let Some(at) = data
            .links
            .iter()
            .find(|raw| raw.id == network.link)
            .map(name)
        else {
            continue;
        };
        if let Some(link) = links.iter_mut().find(|link| link.name == at) {
            add_network(link, network);
            let services = network.services.iter().chain(&data.services);
            let servers = services.filter(|service| service.kind == "dns");
            for server in servers.filter_map(|service| service.address.parse().ok()) {
                if !link.dns.contains(&server) {
                    link.dns.push(server);
                }
            }
        }
    }
    Ok(links)
}

/// Ids such as `tap1a81968a-79` may be too long for the kernel; the end tells them apart.
fn name(raw: &RawLink) -> String {
    let name = raw.name.as_deref().unwrap_or(&raw.id);
    let skip = name.len().saturating_sub(15);
    name.get(skip..)
        .unwrap_or_default()
        .trim_start_matches('-')
        .to_owned()
}

fn read_link(raw: &RawLink, all: &[RawLink]) -> Link {
    let known = |id: &String| all.iter().find(|other| other.id == *id).map(name);
    let kind = match (&raw.vlan_id, raw.vlan_link.as_ref().and_then(known)) {
        _ if raw.kind == "bond" => Kind::Bond {
            members: raw.bond_links.iter().filter_map(known).collect(),
            mode: bond_mode(raw.bond_mode.as_deref().unwrap_or_default()).to_owned(),
        },
        (Some(id @ 1..=4094), Some(parent)) if raw.kind == "vlan" => Kind::Vlan { id: *id, parent },
        _ => Kind::Physical,
    };
    let own = raw
        .ethernet_mac_address
        .as_ref()
        .or(raw.vlan_mac_address.as_ref());
    Link {
        name: name(raw),
        kind,
        mac: own.and_then(|text| mac(text)),
        mtu: raw.mtu,
        ..Link::default()
    }
}

fn add_network(link: &mut Link, network: &RawNetwork) {
    match network.kind.as_str() {
        "ipv4_dhcp" => link.dhcp = link.dhcp.and(Dhcp::V4),
        "ipv6_dhcp" | "ipv6_dhcpv6-stateful" => link.dhcp = link.dhcp.and(Dhcp::V6),
        _ => {
            let address = network.ip_address.as_deref().unwrap_or_default();
            let cidr = match network.netmask.as_deref() {
                Some(mask) => Cidr::with_mask(address, mask),
                None => Cidr::parse(address),
            };
            link.addresses.extend(cidr);
        }
    }
    let default = network
        .gateway
        .as_deref()
        .and_then(|text| text.parse().ok());
    link.routes.extend(default.map(|gateway| Route {
        destination: None,
        gateway,
    }));
    for route in &network.routes {
        let destination = Cidr::with_mask(&route.network, &route.netmask);
        if let (Some(destination), Ok(gateway)) = (destination, route.gateway.parse()) {
            link.routes.push(Route {
                destination: Some(destination),
                gateway,
            });
        }
    }
}

//! Interfaces and name servers in DigitalOcean's `metadata/v1.json`. Interfaces have no names
//! there and are known by their hardware address; one without is left to the image's own files.

use std::net::IpAddr;

use serde_json::Value;

use super::address::{Cidr, mac};
use super::{Link, Route};

pub fn parse(document: &Value) -> Vec<Link> {
    let interfaces = &document["interfaces"];
    let mut links = Vec::new();
    for (index, raw) in list(&interfaces["public"]).enumerate() {
        links.extend(link(format!("public{index}"), raw, Way::Out));
    }
    if let Some(first) = links.first_mut() {
        let servers = list(&document["dns"]["nameservers"]);
        first.dns = servers
            .filter_map(|server| server.as_str()?.parse().ok())
            .collect();
    }
    for (index, raw) in list(&interfaces["private"]).enumerate() {
        links.extend(link(format!("private{index}"), raw, Way::Within));
    }
    links
}

/// Whether the interface leads to the world.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    Within,
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn link(name: String, raw: &Value, way: Way) -> Option<Link> {
    let mut link = Link {
        name,
        mac: Some(mac(raw["mac"].as_str()?)?),
        ..Link::default()
    };
    for family in ["ipv4", "anchor_ipv4", "ipv6"] {
        let part = &raw[family];
        let Some(address) = part["ip_address"].as_str() else {
            continue;
        };
        let cidr = match (part["netmask"].as_str(), part["cidr"].as_u64()) {
            (Some(mask), _) => Cidr::with_mask(address, mask),
            (None, Some(length)) => Cidr::parse(&format!("{address}/{length}")),
            (None, None) => None,
        };
        let Some(cidr) = cidr else { continue };
        link.addresses.push(cidr);
        // The anchor is a second address on the same wire: its gateway is no way out.
        let gateway = part["gateway"].as_str().filter(|_| family != "anchor_ipv4");
        let gateway = gateway.and_then(|text| text.parse::<IpAddr>().ok());
        if let Some(gateway) = gateway.filter(|known| way == Way::Out && !known.is_unspecified()) {
            link.routes.push(Route {
                destination: None,
                gateway,
            });
        }
    }
    (!link.addresses.is_empty()).then_some(link)
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use super::*;

    const DROPLET: &str = r#"{"dns": {"nameservers": ["192.0.2.53", "2001:db8::53", "no"]},
        "interfaces": {
          "public": [{"mac": "04:01:0A:00:00:01", "type": "public",
            "ipv4": {"ip_address": "192.0.2.7", "netmask": "255.255.255.0", "gateway": "192.0.2.1"},
            "anchor_ipv4": {"ip_address": "10.17.0.5", "netmask": "255.255.0.0", "gateway": "10.17.0.1"},
            "ipv6": {"ip_address": "2001:db8::7", "cidr": 64, "gateway": "2001:db8::1"}}],
          "private": [{"mac": "04:01:0a:00:00:02",
            "ipv4": {"ip_address": "10.132.0.7", "netmask": "255.255.0.0", "gateway": "10.132.0.1"}}]}}"#;

    #[test]
    fn a_droplet_gets_its_addresses_the_way_out_and_name_servers() {
        let links = parse(&serde_json::from_str(DROPLET).expect("JSON"));
        let units: Vec<(String, String)> = render(&links)
            .into_iter()
            .map(|unit| (unit.name, unit.content.expect("a text")))
            .collect();
        let public = "[Match]\nMACAddress=04:01:0a:00:00:01\nType=!vlan bond\n\n[Network]\n\
                      DNS=192.0.2.53\nDNS=2001:db8::53\n\n[Address]\nAddress=192.0.2.7/24\n\n\
                      [Address]\nAddress=10.17.0.5/16\n\n[Address]\nAddress=2001:db8::7/64\n\n\
                      [Route]\nGateway=192.0.2.1\n\n[Route]\nGateway=2001:db8::1\n";
        let private = "[Match]\nMACAddress=04:01:0a:00:00:02\nType=!vlan bond\n\n[Network]\n\n\
                       [Address]\nAddress=10.132.0.7/16\n";
        let expected = [
            ("10-public0.network", public),
            ("10-private0.network", private),
        ];
        assert_eq!(
            units,
            expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
        );
    }

    #[test]
    fn what_is_not_known_for_certain_is_left_to_the_image() {
        for text in [
            "{}",
            r#"{"interfaces": []}"#,
            r#"{"interfaces": {"public": [{"ipv4": {"ip_address": "192.0.2.7", "netmask": "255.0.0.0"}}]}}"#,
            r#"{"interfaces": {"public": [{"mac": "04:01:0a:00:00:01", "ipv4": {"ip_address": "192.0.2.7"}}]}}"#,
            r#"{"interfaces": {"public": [{"mac": "x\ny", "ipv4": {"ip_address": "1.2.3.4", "netmask": "8"}}]}}"#,
        ] {
            assert_eq!(
                parse(&serde_json::from_str(text).expect("JSON")),
                [],
                "{text}"
            );
        }
    }
}

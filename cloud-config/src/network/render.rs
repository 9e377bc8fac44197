use std::fmt::Write;

use super::{Dhcp, Kind, Link};
use crate::config::Unit;

/// The files for networkd, as units of the run: `10-NAME.network`, and `.netdev` for what is made.
pub fn render(links: &[Link]) -> Vec<Unit> {
    let mut units = Vec::new();
    for link in links {
        if let Some(text) = netdev(link) {
            units.push(unit(format!("10-{}.netdev", link.name), text));
        }
        units.push(unit(
            format!("10-{}.network", link.name),
            network(link, links),
        ));
    }
    units
}

fn unit(name: String, content: String) -> Unit {
    Unit {
        name,
        runtime: true,
        content: Some(content),
        ..Unit::default()
    }
}

// Writing to a string cannot fail.
fn netdev(link: &Link) -> Option<String> {
    let (kind, own) = match &link.kind {
        Kind::Physical => return None,
        Kind::Vlan { id, .. } => ("vlan", format!("\n[VLAN]\nId={id}\n")),
        Kind::Bond { mode, .. } => (
            "bond",
            format!("\n[Bond]\nMode={mode}\nMIIMonitorSec=100ms\n"),
        ),
    };
    let mut text = format!("[NetDev]\nName={}\nKind={kind}\n", link.name);
    if let Some(mac) = &link.mac {
        let _ = writeln!(text, "MACAddress={mac}");
    }
    Some(text + &own)
}

fn network(link: &Link, all: &[Link]) -> String {
    let mut text = String::from("[Match]\n");
    let _ = match (&link.kind, &link.mac) {
        (Kind::Physical, Some(mac)) => writeln!(text, "MACAddress={mac}\nType=!vlan bond"),
        _ => writeln!(text, "Name={}", link.name),
    };
    if let Some(mtu) = link.mtu {
        let _ = write!(text, "\n[Link]\nMTUBytes={mtu}\n");
    }
    text.push_str("\n[Network]\n");
    let _ = match link.dhcp {
        Dhcp::No => Ok(()),
        Dhcp::V4 => writeln!(text, "DHCP=ipv4"),
        Dhcp::V6 => writeln!(text, "DHCP=ipv6"),
        Dhcp::Both => writeln!(text, "DHCP=yes"),
    };
    for server in &link.dns {
        let _ = writeln!(text, "DNS={server}");
    }
    if !link.search.is_empty() {
        let _ = writeln!(text, "Domains={}", link.search.join(" "));
    }
    for other in all {
        let _ = match &other.kind {
            Kind::Vlan { parent, .. } if *parent == link.name => {
                writeln!(text, "VLAN={}", other.name)
            }
            Kind::Bond { members, .. } if members.contains(&link.name) => {
                writeln!(text, "Bond={}", other.name)
            }
            _ => Ok(()),
        };
    }
    for address in &link.addresses {
        let _ = write!(text, "\n[Address]\nAddress={address}\n");
    }
    for route in &link.routes {
        let _ = write!(text, "\n[Route]\nGateway={}\n", route.gateway);
        if let Some(destination) = route.destination.filter(|known| !known.is_default()) {
            let _ = writeln!(text, "Destination={destination}");
        }
    }
    text
}

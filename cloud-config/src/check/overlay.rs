//! `strake.overlay`.

use super::findings::{Findings, Path};
use super::overlay_networks;
use super::view::View;
use crate::config::Overlay;
use crate::problem::{Level, Rule};

const BACKENDS: [&str; 4] = ["vxlan", "host-gw", "wireguard", "ipip"];
/// Keys that only some backends have.
const OF_BACKENDS: [(&str, &[&str]); 6] = [
    ("vni", &["vxlan"]),
    ("port", &["vxlan", "wireguard"]),
    ("mtu", &["vxlan", "wireguard"]),
    ("direct_routing", &["vxlan", "ipip"]),
    ("mode", &["wireguard"]),
    ("keepalive", &["wireguard"]),
];

pub(super) fn read(strake: View<'_>, path: &Path<'_>, out: &mut Findings<'_>) -> Overlay {
    let Some(view) = strake.map("overlay") else {
        return Overlay::default();
    };
    let overlay = Overlay {
        network: view.string("network"),
        ipv6_network: view.string("ipv6_network"),
        subnet_length: number(view, "subnet_length"),
        ipv6_subnet_length: number(view, "ipv6_subnet_length"),
        backend: view.string("backend"),
        vni: number(view, "vni"),
        port: number(view, "port"),
        mtu: number(view, "mtu"),
        direct_routing: view.flag("direct_routing"),
        mode: view.string("mode"),
        keepalive: number(view, "keepalive"),
        masquerade: view.flag("masquerade"),
        interface: view.string("interface"),
        prefix: view.string("prefix"),
        networks: overlay_networks::read(view, path, out),
    };
    for (network, subnet) in [
        ("network", "subnet_length"),
        ("ipv6_network", "ipv6_subnet_length"),
    ] {
        fitting(view, network, subnet, (path, &mut *out));
    }
    // Where none is named here, another layer may have it.
    let named = overlay.backend.as_deref();
    let backend = BACKENDS.into_iter().find(|backend| named == Some(backend));
    for (name, whose) in OF_BACKENDS {
        let Some(backend) = backend.filter(|backend| !whose.contains(backend)) else {
            continue;
        };
        if let Some(node) = view.get(name) {
            let whose = whose.join(" and ");
            let message = format!("\"{name}\" is {whose}'s and counts for nothing with {backend}");
            let rule = (Level::Warning, Rule::InvalidValue);
            out.add(rule, &node.span, &path.key(name), &message);
        }
    }
    overlay
}

pub(super) fn number<T: std::str::FromStr>(view: View<'_>, name: &str) -> Option<T> {
    view.text(name).and_then(|text| text.parse().ok())
}

/// A share is cut from a network, four of them at least.
pub(super) fn fitting(
    view: View<'_>,
    network: &str,
    subnet: &str,
    (path, out): (&Path<'_>, &mut Findings<'_>),
) {
    let Some(node) = view.get(subnet) else {
        return;
    };
    let length = view.text(network).and_then(|text| text.split_once('/'));
    let length: Option<u8> = length.and_then(|(_, length)| length.parse().ok());
    let share: Option<u8> = number(view, subnet);
    // Without a network here another layer may have it.
    let message = match (length, share) {
        (Some(length), Some(share)) if share < length.saturating_add(2) => {
            format!(
                "a /{length} cannot be cut into shares of /{share}: at least /{}",
                length + 2
            )
        }
        _ => return,
    };
    let rule = (Level::Error, Rule::InvalidValue);
    out.add(rule, &node.span, &path.key(subnet), &message);
}

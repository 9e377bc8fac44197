//! `strake.overlay`.

use super::findings::{Findings, Path};
use super::view::View;
use crate::config::Overlay;
use crate::problem::{Level, Rule};

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
        masquerade: view.flag("masquerade"),
        interface: view.string("interface"),
        prefix: view.string("prefix"),
    };
    for (network, subnet) in [
        ("network", "subnet_length"),
        ("ipv6_network", "ipv6_subnet_length"),
    ] {
        fitting(view, network, subnet, (path, &mut *out));
    }
    if overlay.backend.as_deref() == Some("host-gw") {
        for name in ["vni", "port", "mtu", "direct_routing"] {
            if let Some(node) = view.get(name) {
                let message = format!("\"{name}\" is vxlan's and counts for nothing with host-gw");
                let rule = (Level::Warning, Rule::InvalidValue);
                out.add(rule, &node.span, &path.key(name), &message);
            }
        }
    }
    overlay
}

fn number<T: std::str::FromStr>(view: View<'_>, name: &str) -> Option<T> {
    view.text(name).and_then(|text| text.parse().ok())
}

/// A share is cut from a network, four of them at least.
fn fitting(
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

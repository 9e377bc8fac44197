//! What systemd would say about a unit's text, as far as the text alone tells.
//!
//! What systemd refuses to load is an error, what it skips with a log line is a warning.

use std::collections::{BTreeSet, HashSet};

use super::findings::{Findings, Path, shown};
use super::unit_settings;
use crate::config::UnitGroup;
use crate::document::Node;
use crate::problem::{Level, Rule};
use crate::schema::nearest;
use crate::unit_file::UnitFile;
use crate::unit_name::UnitName;

/// Sections networkd and udev read, by type.
const NETWORK: &[&str] = &[
    "Match",
    "Link",
    "Network",
    "Address",
    "Neighbor",
    "IPv6AddressLabel",
    "RoutingPolicyRule",
    "NextHop",
    "Route",
    "DHCP",
    "DHCPv4",
    "DHCPv6",
    "DHCPPrefixDelegation",
    "IPv6AcceptRA",
    "DHCPServer",
    "DHCPServerStaticLease",
    "IPv6SendRA",
    "IPv6Prefix",
    "IPv6RoutePrefix",
    "IPv6PREF64Prefix",
    "Bridge",
    "BridgeFDB",
    "BridgeMDB",
    "BridgeVLAN",
    "LLDP",
    "CAN",
    "IPoIB",
    "QDisc",
    "NetworkEmulator",
    "TokenBucketFilter",
    "PIE",
    "FlowQueuePIE",
    "StochasticFairBlue",
    "StochasticFairnessQueueing",
    "BFIFO",
    "PFIFO",
    "PFIFOHeadDrop",
    "PFIFOFast",
    "CAKE",
    "ControlledDelay",
    "DeficitRoundRobinScheduler",
    "DeficitRoundRobinSchedulerClass",
    "EnhancedTransmissionSelection",
    "GenericRandomEarlyDetection",
    "FairQueueingControlledDelay",
    "FairQueueing",
    "TrivialLinkEqualizer",
    "HierarchyTokenBucket",
    "HierarchyTokenBucketClass",
    "ClassfulMultiQueueing",
    "BandMultiQueueing",
    "HeavyHitterFilter",
    "QuickFairQueueing",
    "QuickFairQueueingClass",
    "MobileNetwork",
];
const NETDEV: &[&str] = &[
    "Match",
    "NetDev",
    "Bridge",
    "VLAN",
    "MACVLAN",
    "MACVTAP",
    "IPVLAN",
    "IPVTAP",
    "VXLAN",
    "GENEVE",
    "BareUDP",
    "L2TP",
    "L2TPSession",
    "MACsec",
    "MACsecReceiveChannel",
    "MACsecTransmitAssociation",
    "MACsecReceiveAssociation",
    "Tunnel",
    "FooOverUDP",
    "Peer",
    "VXCAN",
    "Tun",
    "Tap",
    "WireGuard",
    "WireGuardPeer",
    "Bond",
    "Xfrm",
    "VRF",
    "BatmanAdvanced",
    "IPoIB",
    "WLAN",
    "HSR",
];

fn sections(name: &UnitName) -> Vec<&'static str> {
    let own = match name.kind() {
        "network" => return NETWORK.to_vec(),
        "netdev" => return NETDEV.to_vec(),
        "link" => return vec!["Match", "Link", "SR-IOV", "EnergyEfficientEthernet"],
        "service" => "Service",
        "socket" => "Socket",
        "mount" => "Mount",
        "automount" => "Automount",
        "swap" => "Swap",
        "path" => "Path",
        "timer" => "Timer",
        "slice" => "Slice",
        _ => return vec!["Unit", "Install"],
    };
    vec!["Unit", "Install", own]
}

/// Lines and sections: holds for whole files and for drop-ins.
pub(crate) fn check_lines(
    name: &UnitName,
    node: &Node<'_>,
    path: &Path<'_>,
    out: &mut Findings<'_>,
) {
    let Some(text) = node.text() else { return };
    let file = UnitFile::parse(text);
    for fault in &file.faults {
        let place = out.place_in(node, fault.line, fault.columns.clone());
        out.add((fault.level, Rule::UnitFile), &place, path, &*fault.message)
            .hint(fault.hint);
    }
    let known = sections(name);
    for section in &file.sections {
        if known.contains(&section.name) || section.name.starts_with("X-") {
            continue;
        }
        let place = out.place_in(node, section.line, 0..section.name.len() + 2);
        let message = format!(
            "the section [{}] is not known in a .{}",
            section.name,
            name.kind()
        );
        let hint = match nearest(section.name, known.iter().copied()) {
            Some(near) => format!("did you mean [{near}]?"),
            None if name.group() == UnitGroup::System => {
                format!("known are [{}]", known.join("], ["))
            }
            None => "it is ignored".to_owned(),
        };
        out.add((Level::Warning, Rule::UnitFile), &place, path, message)
            .hint(hint);
    }
    if name.group() == UnitGroup::System {
        check_settings(&file, node, path, out);
    }
    if file.sections.is_empty() && file.faults.is_empty() && !text.trim().is_empty() {
        let message = "the unit holds comments only";
        out.add((Level::Warning, Rule::UnitFile), &node.span, path, message)
            .hint("remove it");
    }
}

/// Settings systemd does not know and skips: mostly slips of the pen.
fn check_settings(file: &UnitFile<'_>, node: &Node<'_>, path: &Path<'_>, out: &mut Findings<'_>) {
    for section in &file.sections {
        let Some(known) = unit_settings::of_section(section.name) else {
            continue;
        };
        for setting in &section.assignments {
            if known.contains(setting.key) || setting.key.starts_with("X-") {
                continue;
            }
            let columns = setting.column..setting.column + setting.key.len();
            let place = out.place_in(node, setting.line, columns);
            let message = format!(
                "the setting {} is not known in [{}]",
                shown(setting.key),
                section.name
            );
            let hint = match out.is_full() {
                true => String::new(),
                false => meant(setting.key, section.name, known),
            };
            out.add((Level::Warning, Rule::UnitFile), &place, path, message)
                .hint(hint);
        }
    }
}

fn meant(key: &str, section: &str, known: &HashSet<&'static str>) -> String {
    if let Some(other) = unit_settings::section_of(key).filter(|other| *other != section) {
        return format!("it belongs in [{other}]");
    }
    // In order, so that equally near names always give the same hint.
    let known: BTreeSet<&str> = known.iter().copied().collect();
    match nearest(key, known) {
        Some(near) => format!("did you mean {near}=?"),
        None => "systemd skips it".to_owned(),
    }
}

//! What systemd would say about a unit's text, as far as the text alone tells.
//!
//! What systemd refuses to load is an error, what it skips with a log line is a warning.

use super::findings::{Findings, Path};
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
    if file.sections.is_empty() && file.faults.is_empty() && !text.trim().is_empty() {
        let message = "the unit holds comments only";
        out.add((Level::Warning, Rule::UnitFile), &node.span, path, message)
            .hint("remove it");
    }
}

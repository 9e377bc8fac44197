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

/// What a unit needs to be loaded: its own text and its drop-ins together.
pub(crate) fn check_whole(
    name: &UnitName,
    node: &Node<'_>,
    drop_ins: &[&str],
    path: &Path<'_>,
    out: &mut Findings<'_>,
) {
    let Some(text) = node.text() else { return };
    let texts: Vec<UnitFile<'_>> = std::iter::once(text)
        .chain(drop_ins.iter().copied())
        .map(UnitFile::parse)
        .collect();
    if texts
        .iter()
        .flat_map(|file| &file.faults)
        .any(|fault| fault.level == Level::Error)
    {
        return;
    }
    let all = Together(&texts);
    let refusal = match name.kind() {
        "service" => service(&all),
        "socket" => all.needs(
            "Socket",
            LISTEN,
            "the socket listens on nothing",
            "add ListenStream=",
        ),
        "timer" => all.needs(
            "Timer",
            ON,
            "the timer never elapses",
            "add OnCalendar= or OnBootSec=",
        ),
        "path" => all.needs(
            "Path",
            PATHS,
            "the path unit watches nothing",
            "add PathExists= or PathChanged=",
        ),
        "swap" => all.needs(
            "Swap",
            &["What"],
            "the swap unit has no What=",
            "name the device or file",
        ),
        "mount" => located(name, &all, "Mount"),
        "automount" => located(name, &all, "Automount"),
        "netdev" => all.needs(
            "NetDev",
            &["Kind"],
            "the netdev has no Kind=",
            "add Name= and Kind= below [NetDev]",
        ),
        _ => None,
    };
    if let Some((message, hint)) = refusal {
        let first = out.place_in(node, 0, 0..text.lines().next().map_or(1, str::len));
        out.add((Level::Error, Rule::UnitFile), &first, path, message)
            .hint(hint);
    }
}

const LISTEN: &[&str] = &[
    "ListenStream",
    "ListenDatagram",
    "ListenSequentialPacket",
    "ListenFIFO",
    "ListenSpecial",
    "ListenNetlink",
    "ListenMessageQueue",
    "ListenUSBFunction",
];
const ON: &[&str] = &[
    "OnActiveSec",
    "OnBootSec",
    "OnStartupSec",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
    "OnCalendar",
    "OnClockChange",
    "OnTimezoneChange",
];
const PATHS: &[&str] = &[
    "PathExists",
    "PathExistsGlob",
    "PathChanged",
    "PathModified",
    "DirectoryNotEmpty",
];

type Refusal = Option<(String, String)>;

fn refuse(message: &str, hint: &str) -> Refusal {
    Some((message.to_owned(), hint.to_owned()))
}

/// A unit's own file and its drop-ins, read one after the other.
struct Together<'f>(&'f [UnitFile<'f>]);

impl<'f> Together<'f> {
    fn has(&self, section: &str) -> bool {
        self.0.iter().any(|file| file.section(section).is_some())
    }

    /// The values in force: an empty assignment drops those before it.
    fn list(&self, section: &'f str, key: &'f str) -> Vec<&'f str> {
        let mut values = Vec::new();
        for value in self.0.iter().flat_map(|file| file.values(section, key)) {
            match value {
                "" => values.clear(),
                _ => values.push(value),
            }
        }
        values
    }

    fn last(&self, section: &'f str, key: &'f str) -> Option<&'f str> {
        self.list(section, key).pop()
    }

    fn needs(&self, section: &'f str, keys: &[&'f str], message: &str, hint: &str) -> Refusal {
        let given = keys.iter().any(|key| !self.list(section, key).is_empty());
        if given { None } else { refuse(message, hint) }
    }
}

fn service(all: &Together<'_>) -> Refusal {
    if !all.has("Service") {
        return refuse(
            "the service has no [Service] section",
            "add [Service] with ExecStart=",
        );
    }
    let kind = all.last("Service", "Type").unwrap_or("simple");
    let starts = all.list("Service", "ExecStart").len();
    let stops = !all.list("Service", "ExecStop").is_empty();
    let acts = all.last("Unit", "SuccessAction").is_some();
    let stays = all
        .last("Service", "RemainAfterExit")
        .and_then(super::view::flag)
        == Some(true);
    match (starts, kind) {
        (0, _) if !stops && !acts => refuse(
            "the service has no ExecStart=",
            "say what to run: ExecStart=/path/to/program",
        ),
        (0, kind) if kind != "oneshot" && !acts && !stays => refuse(
            "the service has ExecStop= alone",
            "add ExecStart=, or RemainAfterExit=yes if there is nothing to start",
        ),
        (2.., kind) if kind != "oneshot" => refuse(
            "the service has more than one ExecStart=",
            "only Type=oneshot takes several; use ExecStartPre= for what runs before",
        ),
        (_, "oneshot")
            if matches!(
                all.last("Service", "Restart"),
                Some("always" | "on-success")
            ) =>
        {
            refuse(
                "Restart=always and on-success are not possible with Type=oneshot",
                "use Restart=on-failure",
            )
        }
        (_, "dbus") if all.last("Service", "BusName").is_none() => refuse(
            "Type=dbus needs BusName=",
            "add BusName=, or use another Type=",
        ),
        _ => None,
    }
}

fn located(name: &UnitName, all: &Together<'_>, section: &'static str) -> Refusal {
    let Some(point) = all.last(section, "Where") else {
        return refuse("the unit has no Where=", "add the mount point");
    };
    let expected = format!("{}.{}", crate::unit_name::escape_path(point), name.kind());
    if !point.contains('%') && expected != name.as_str() {
        let message = format!("the name of the unit does not fit Where={point}");
        return Some((message, format!("name it {expected}")));
    }
    if section == "Mount" && all.last("Mount", "What").is_none() {
        return refuse("the mount has no What=", "name what to mount");
    }
    None
}

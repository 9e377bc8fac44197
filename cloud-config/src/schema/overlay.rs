use super::{Key, Kind, Table, format, key};

static NETWORK: Table = Table {
    name: "overlay network",
    keys: NETWORK_KEYS,
};

static NETWORK_KEYS: &[Key] = &[
    key("name", Kind::Text(&format::OVERLAY_NAME), "What containers name it by: 1 to 12 small letters, digits and hyphens.").required().example("db"),
    key("network", Kind::Text(&format::OVERLAY_NETWORK), "Addresses of its containers; overlaps no other network.").default("what the store has").example("10.6.0.0/16"),
    key("ipv6_network", Kind::Text(&format::OVERLAY_NETWORK_V6), "The same for IPv6, beside `network` or alone.").default("no IPv6").example("fd00:6::/48"),
    key("subnet_length", Kind::Integer { min: 2, max: 30 }, "As `strake.overlay.subnet_length`.").default("24, in a network beyond /22 two more than the network's").example("24"),
    key("ipv6_subnet_length", Kind::Integer { min: 2, max: 126 }, "The same for `ipv6_network`.").default("64, in a network beyond /62 two more than the network's").example("64"),
    key("backend", Kind::Choice(&["vxlan", "host-gw"]), "How its packets get to other machines.").default("vxlan").example("host-gw"),
    key("vni", Kind::Integer { min: 2, max: 16_777_215 }, "Number of its vxlan, which no other network has.").default("2 for the first of the list, 3 for the second, ...").example("2"),
    key("allow", Kind::List(&Kind::Text(&format::OVERLAY_ALLOWED)), "Networks that it exchanges packets with, `default` for the one without a name. All others are kept apart from it.").default("none").example("[web]"),
];

pub(crate) static OVERLAY: Table = Table {
    name: "overlay",
    keys: KEYS,
};

static KEYS: &[Key] = &[
    key("network", Kind::Text(&format::OVERLAY_NETWORK), "Addresses of all containers of the cluster. Written into the cluster's store when it has none yet; one that is there holds.").default("what the store has").example("10.5.0.0/16"),
    key("ipv6_network", Kind::Text(&format::OVERLAY_NETWORK_V6), "The same for IPv6, beside `network` or alone.").default("no IPv6").example("fd00:5::/48"),
    key("subnet_length", Kind::Integer { min: 2, max: 30 }, "Prefix length of one machine's share of `network`; at least two longer than the network's.").default("24, in a network beyond /22 two more than the network's").example("24"),
    key("ipv6_subnet_length", Kind::Integer { min: 2, max: 126 }, "The same for `ipv6_network`.").default("64, in a network beyond /62 two more than the network's").example("64"),
    key("backend", Kind::Choice(&["vxlan", "host-gw", "wireguard", "ipip"]), "How packets get to other machines: in a tunnel (`wireguard`: encrypted; `ipip`: IPv4 only), or by routes where all machines are on one link.").default("vxlan").example("host-gw"),
    key("vni", Kind::Integer { min: 1, max: 16_777_215 }, "Number of the vxlan network.").default("1").example("7"),
    key("port", Kind::Integer { min: 1, max: 65_535 }, "UDP port of vxlan or wireguard.").default("8472, with wireguard 51820").example("4789"),
    key("mtu", Kind::Integer { min: 1280, max: 65_535 }, "Most bytes of a packet on the uplink, the tunnel's headers included.").default("the uplink's").example("1400"),
    key("direct_routing", Kind::Flag, "`true` reaches machines on the same link without the tunnel of vxlan or ipip.").default("false").example("true"),
    key("mode", Kind::Choice(&["separate", "auto", "ipv4", "ipv6"]), "Devices of wireguard: one for each family, or one over the family that is named or fits.").default("separate").example("auto"),
    key("keepalive", Kind::Integer { min: 0, max: 65_535 }, "Seconds between packets of wireguard that keep a way through a firewall open; 0: none.").default("0").example("25"),
    key("masquerade", Kind::Flag, "`true` gives packets that leave the network the machine's address.").default("true").example("false"),
    key("interface", Kind::Text(&format::OVERLAY_INTERFACE), "Interface that carries the network, or one of its addresses.").default("the one towards `strake.cluster.seeds`, else the default route's").example("eth1"),
    key("prefix", Kind::Text(&format::OVERLAY_PREFIX), "Where the network lies in the store.").default("`/coreos.com/network`").example("/coreos.com/network"),
    key("networks", Kind::List(&Kind::Map(&NETWORK)), "More networks, with names, each apart from the others: `docker run --network NAME`, `Network=NAME` in a container unit. At most 32.").default("none").example("[{name: db, network: 10.6.0.0/16, vni: 2}]"),
];

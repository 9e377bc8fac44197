use super::{Key, Kind, Table, format, key};

pub(crate) static STRAKE: Table = Table {
    name: "strake",
    keys: KEYS,
};

static KEYS: &[Key] = &[
    key(
        "cluster",
        Kind::Map(&CLUSTER),
        "The cluster this machine belongs to.",
    )
    .default("none: the machine stands alone")
    .example("{name: lab, seeds: [10.9.0.11]}"),
    key(
        "health",
        Kind::Map(&HEALTH),
        "What makes a boot a good one.",
    )
    .example("{deadline: 5m}"),
    key(
        "addresses",
        Kind::Map(&ADDRESSES),
        "Where the address variables come from when no metadata gives them.",
    )
    .example("{private: eth1}"),
];

static CLUSTER: Table = Table {
    name: "cluster",
    keys: CLUSTER_KEYS,
};

static CLUSTER_KEYS: &[Key] = &[
    key("name", Kind::Text(&format::HOSTNAME), "Name of the cluster; machines of another name are not let in.").default("`default`").example("lab"),
    key("seeds", Kind::List(&Kind::Text(&format::SEED)), "Addresses of the etcd members. A machine that has one of them is a member, all others are clients. One, three, five or seven.").example("[10.9.0.11, 10.9.0.12, 10.9.0.13]"),
];

static HEALTH: Table = Table {
    name: "health",
    keys: HEALTH_KEYS,
};

static HEALTH_KEYS: &[Key] = &[
    key("require", Kind::List(&Kind::Text(&format::SYSTEM_UNIT)), "Units that must be active, beside those every machine needs.").example("[docker.service]"),
    key("for", Kind::Text(&format::DURATION_OR_NONE), "How long all of it must hold without a break; `0s` is satisfied at once.").default("30s").example("10s"),
    key("deadline", Kind::Text(&format::DURATION), "How long after the start of the boot it may take at most; then the machine reboots and may fall back. Longer than `for`.").default("10m").example("5m"),
];

static ADDRESSES: Table = Table {
    name: "addresses",
    keys: ADDRESSES_KEYS,
};

static ADDRESSES_KEYS: &[Key] = &[
    key(
        "public",
        Kind::Text(&format::ADDRESS_SOURCE),
        "Interface, or network one of whose addresses the machine has.",
    )
    .default("the interface with the default route")
    .example("eth0"),
    key(
        "private",
        Kind::Text(&format::ADDRESS_SOURCE),
        "Interface, or network one of whose addresses the machine has.",
    )
    .default("the first address of a private network")
    .example("10.0.0.0/8"),
];

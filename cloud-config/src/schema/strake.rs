use super::{Key, Kind, Table, format, key, overlay};

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
        "update",
        Kind::Map(&UPDATE),
        "How this machine looks for updates and fetches them; group and server are `coreos.update`'s.",
    )
    .example("{bandwidth: 2M}"),
    key(
        "reboot",
        Kind::Map(&REBOOT),
        "How this machine reboots into an update; the strategy is `coreos.update.reboot_strategy`.",
    )
    .example("{windows: [{start: Thu 04:00, length: 1h}], time_zone: Europe/Berlin}"),
    key(
        "overlay",
        Kind::Map(&overlay::OVERLAY),
        "The network between containers on different machines; set, it starts the overlay service.",
    )
    .default("none, unless `coreos.flannel` is set")
    .example("{network: 10.5.0.0/16}"),
    key(
        "dashboard",
        Kind::Map(&DASHBOARD),
        "The cluster as a page for browsers, served by this machine.",
    )
    .default("none")
    .example("{listen: \"10.9.0.11:8443\"}"),
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
    key("ca", Kind::Text(&format::PEM), "Certificate that vouches for the machines of the cluster; `strake cluster init` makes it.").example("\"-----BEGIN CERTIFICATE-----\\nTUE=\\n-----END CERTIFICATE-----\""),
    key("ca_key", Kind::Text(&format::SEALED_KEY), "Key of `ca`, sealed under `join_secret`. Members need it until the cluster has formed; leave it out of the config of machines that come later.").example("sealed-key-v1:AAAA"),
    key("join_secret", Kind::Text(&format::JOIN_SECRET), "What a machine shows to get its certificate from a member. With `ca` it sets up etcd; without them a machine only knows the name and the seeds.").example("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    key("names", Kind::Flag, "`false`: units have no names. Otherwise containers and machines find them as `UNIT.NAME.strake`, where `NAME` is the cluster's.").default("true").example("false"),
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

static UPDATE: Table = Table {
    name: "update",
    keys: UPDATE_KEYS,
};

static UPDATE_KEYS: &[Key] = &[
    key("poll_interval", Kind::Text(&format::POLL_INTERVAL), "Time between two looks at the server, from 1m to 24h; each is moved by up to a tenth.").default("45m").example("2h"),
    key("bandwidth", Kind::Text(&format::RATE), "Most bytes a second that a download takes, at least 16K; units K, M, G are powers of 1024.").default("no limit").example("2M"),
    key("cpu_percent", Kind::Integer { min: 1, max: 100 }, "Most of one processor that an installation takes, in percent from 1 to 100.").default("100").example("50"),
    key("windows", Kind::List(&Kind::Map(&WINDOW)), "When downloads may run; outside of them the machine only looks. Local time.").default("always").example("[{start: Thu 04:00, length: 1h}]"),
];

static REBOOT: Table = Table {
    name: "reboot",
    keys: REBOOT_KEYS,
};

static REBOOT_KEYS: &[Key] = &[
    key("windows", Kind::List(&Kind::Map(&WINDOW)), "When the machine may reboot by itself; one more than `coreos.locksmith` gives.").default("always").example("[{start: Thu 04:00, length: 1h}]"),
    key("time_zone", Kind::Text(&format::TIMEZONE), "Time zone of the windows, also of `coreos.locksmith`'s.").default("the machine's").example("Europe/Berlin"),
    key("group", Kind::Text(&format::LINE), "Group of machines that share one lock; before `coreos.locksmith.group`.").default("the group without a name").example("workers"),
    key("users", Kind::Text(&format::DURATION_OR_NONE), "How long users who are logged in are warned and waited for, at most; `0s` is not at all.").default("5m").example("10m"),
    key("drain", Kind::Text(&format::DURATION_OR_NONE), "How long the machine's units may take to go elsewhere, at most; `0s` leaves them until the reboot ends them.").default("5m").example("15m"),
    key("fleetlock", Kind::Text(&format::LISTEN), "Where this machine serves the reboot lock to FleetLock clients, over HTTP and to whoever reaches it.").default("nowhere").example("\"10.9.0.11:3333\""),
    key("budget", Kind::Integer { min: 1, max: 100_000 }, "Machines that a release may fall back on, from 1 to 100000; then the whole cluster refuses it. The same on all machines.").default("1 below 100 machines, else 2 % of them").example("3"),
];

static DASHBOARD: Table = Table {
    name: "dashboard",
    keys: DASHBOARD_KEYS,
};

static DASHBOARD_KEYS: &[Key] = &[
    key("listen", Kind::Text(&format::LISTEN), "Where the page is served, over TLS with this machine's certificate of the cluster; without one on loopback only.").example("\"10.9.0.11:8443\"").required(),
    key("token", Kind::Text(&format::TOKEN), "Who knows it may see the page: as the password of any user, or as a bearer token. Users of `strake cluster user add` come in with their certificate either way.").default("none: only users with a certificate").example("correct-horse-battery"),
];

static WINDOW: Table = Table {
    name: "window",
    keys: WINDOW_KEYS,
};

static WINDOW_KEYS: &[Key] = &[
    key(
        "start",
        Kind::Text(&format::WINDOW_START),
        "`HH:MM`, each day, or with a weekday before it.",
    )
    .required()
    .example("Thu 04:00"),
    key(
        "length",
        Kind::Text(&format::WINDOW_LENGTH),
        "How long it lasts, from 1m to 168h.",
    )
    .required()
    .example("1h30m"),
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

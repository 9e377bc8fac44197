use super::{Key, Kind, Table, format, key};

pub(crate) static NTP: Table = Table {
    name: "ntp",
    keys: NTP_KEYS,
};

static NTP_KEYS: &[Key] = &[
    key(
        "servers",
        Kind::List(&Kind::Text(&format::SERVER)),
        "Servers asked for the time.",
    )
    .example("[ntp.example.com]"),
    key(
        "fallback_servers",
        Kind::List(&Kind::Text(&format::SERVER)),
        "Servers asked when none of the others, nor one given by the network, answers.",
    )
    .example("[10.0.0.1]"),
];

pub(crate) static MOUNT: Table = Table {
    name: "mount",
    keys: MOUNT_KEYS,
};

static MOUNT_KEYS: &[Key] = &[
    key(
        "what",
        Kind::Text(&format::LINE),
        "Device, `LABEL=`, `UUID=`, `host:/export` for NFS, or a name such as `tmpfs`.",
    )
    .required()
    .example("LABEL=data"),
    key(
        "path",
        Kind::Text(&format::PATH),
        "Mount point; made when it is missing. Below /var unless it is a directory of the image.",
    )
    .required()
    .example("/var/data"),
    key("type", Kind::Text(&format::LINE), "File system type.")
        .default("found out by the kernel; `nfs` when `what` is `host:/export`")
        .example("ext4"),
    key(
        "options",
        Kind::List(&Kind::Text(&format::LINE)),
        "Mount options.",
    )
    .example("[noatime]"),
    key("required", Kind::Flag, "Whether the boot fails without it.")
        .default("false")
        .example("true"),
];

pub(crate) static SWAP: Table = Table {
    name: "swap",
    keys: SWAP_KEYS,
};

static SWAP_KEYS: &[Key] = &[
    key(
        "size",
        Kind::Text(&format::SIZE),
        "Size of the swap file, at least 1M; units K, M, G, T are powers of 1024.",
    )
    .required()
    .example("1G"),
    key(
        "path",
        Kind::Text(&format::PATH),
        "Where the file lies, below /var.",
    )
    .default("/var/swapfile")
    .example("/var/lib/swap"),
];

pub(crate) static PROXY: Table = Table {
    name: "proxy",
    keys: PROXY_KEYS,
};

static PROXY_KEYS: &[Key] = &[
    key("http", Kind::Text(&format::URL), "Proxy for http URLs.")
        .example("http://proxy.example.com:3128"),
    key("https", Kind::Text(&format::URL), "Proxy for https URLs.")
        .default("that of `http`")
        .example("http://proxy.example.com:3128"),
    key(
        "no_proxy",
        Kind::List(&Kind::Text(&format::LINE)),
        "Hosts, domains and networks reached directly. Loopback always is.",
    )
    .example("[10.0.0.0/8, .local]"),
];

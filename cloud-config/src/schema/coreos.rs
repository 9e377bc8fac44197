use super::{Key, Kind, Table, daemons, format, key};
use crate::config::{Command, RebootStrategy};

pub(crate) static COREOS: Table = Table {
    name: "coreos",
    keys: KEYS,
};

static KEYS: &[Key] = &[
    key(
        "oem",
        Kind::Map(&OEM),
        "Facts about the vendor's image, written to `/etc/oem-release` when `id` is set.",
    )
    .example("{id: acme}"),
    key(
        "update",
        Kind::Map(&UPDATE),
        "Updates of the system, merged into `/etc/coreos/update.conf`.",
    )
    .example("{group: beta}"),
    key(
        "locksmith",
        Kind::Map(&daemons::LOCKSMITH),
        "Settings of the reboot service, as environment of `strake-reboot.service`.",
    )
    .example("{window_start: \"04:00\"}"),
    key(
        "fleet",
        Kind::Map(&daemons::FLEET),
        "Settings of the scheduler, as environment of `strake-scheduler.service`.",
    )
    .example("{metadata: rack=1}")
    .deprecated("its settings reach the scheduler, which has taken fleet's place"),
    key(
        "flannel",
        Kind::Map(&daemons::FLANNEL),
        "Settings of the overlay network, written to `/run/flannel/options.env`.",
    )
    .example("{interface: eth1}"),
    key(
        "etcd",
        Kind::Map(&daemons::ETCD),
        "Settings of etcd, in the names of etcd 0.4.",
    )
    .example("{name: a}")
    .deprecated("etcd is no longer shipped in this version; use strake.cluster or etcd2"),
    key(
        "etcd2",
        Kind::Map(&daemons::ETCD2),
        "Settings of etcd, as environment of `etcd.service`.",
    )
    .example("{name: a}")
    .deprecated("strake.cluster sets up etcd with TLS by itself"),
    key(
        "units",
        Kind::List(&Kind::Map(&UNIT)),
        "Units of systemd and files of networkd.",
    )
    .example("[{name: docker.service, command: start}]"),
];

static OEM: Table = Table {
    name: "oem",
    keys: OEM_KEYS,
};

static OEM_KEYS: &[Key] = &[
    key(
        "id",
        Kind::Text(&format::LINE),
        "Short name; nothing is written without it.",
    )
    .example("acme"),
    key("name", Kind::Text(&format::LINE), "Full name.").example("Acme Cloud"),
    key(
        "version_id",
        Kind::Text(&format::LINE),
        "Version of the vendor's part.",
    )
    .example("1.2.3"),
    key("home_url", Kind::Text(&format::LINE), "Home page.").example("https://example.com"),
    key(
        "bug_report_url",
        Kind::Text(&format::LINE),
        "Where to report defects.",
    )
    .example("https://example.com/bugs"),
];

static UPDATE: Table = Table {
    name: "update",
    keys: UPDATE_KEYS,
};

static UPDATE_KEYS: &[Key] = &[
    key("reboot_strategy", Kind::Choice(RebootStrategy::NAMES), "When a machine reboots into an update: `etcd-lock` one machine of the cluster at a time, `reboot` at once, `best-effort` with the lock when etcd answers and at once otherwise, `off` never by itself.")
        .default("`etcd-lock` in a cluster; alone `reboot` where `server`, `coreos.locksmith` or `strake.reboot` is set, else `off`").example("etcd-lock"),
    key("group", Kind::Text(&format::GROUP_NAME), "Channel the machine follows: `alpha`, `beta`, `stable` or any other the server has.").default("`stable`").example("beta"),
    key("server", Kind::Text(&format::UPDATE_SERVER), "Where updates come from. Empty or `disabled` turns them off.").default("that of the image").example("https://updates.example.com"),
];

pub(crate) static UNIT: Table = Table {
    name: "unit",
    keys: UNIT_KEYS,
};

static UNIT_KEYS: &[Key] = &[
    key("name", Kind::Text(&format::UNIT), "File name with its type. `.network`, `.netdev` and `.link` go to networkd, all others to systemd.").required().example("web.service"),
    key("runtime", Kind::Flag, "Write below `/run` instead of `/etc`.").default("false").example("true"),
    key("content", Kind::Text(&format::ANY), "The whole unit file.").default("the file of the image").example("\"[Service]\\nExecStart=/bin/true\\n\""),
    key("drop_ins", Kind::List(&Kind::Map(&DROP_IN)), "Files that add to a unit or change it.").example("[{name: 10-a.conf, content: \"[Unit]\\nAfter=b.service\\n\"}]"),
    key("mask", Kind::Flag, "Make it impossible to start the unit. Replaces a file of that name.").default("false").example("true"),
    key("enable", Kind::Flag, "Make the links of the unit's `[Install]` section, so that it starts at boot.").default("false").example("true"),
    key("command", Kind::Choice(Command::NAMES), "What to do with the unit once everything is in place. At boot `start`, `restart` and `reload-or-restart` start it in the order systemd finds.").example("start"),
];

pub(crate) static DROP_IN: Table = Table {
    name: "drop-in",
    keys: DROP_IN_KEYS,
};

static DROP_IN_KEYS: &[Key] = &[
    key(
        "name",
        Kind::Text(&format::DROP_IN_NAME),
        "File name, ending in `.conf`.",
    )
    .required()
    .example("10-a.conf"),
    key("content", Kind::Text(&format::ANY), "The file.")
        .example("\"[Unit]\\nAfter=b.service\\n\""),
];

//! The daemons of old whose settings became environment variables. The order of the keys is the
//! order of the variables in the file, whatever order the user chose.

use super::{Key, Kind, Table, format, key};
use crate::config::Daemon;

pub(crate) fn table(daemon: Daemon) -> &'static Table {
    match daemon {
        Daemon::Etcd => &ETCD,
        Daemon::Etcd2 => &ETCD2,
        Daemon::Fleet => &FLEET,
        Daemon::Flannel => &FLANNEL,
        Daemon::Locksmith => &LOCKSMITH,
    }
}

/// The environment variable of a key: the daemon's prefix and the name in capitals, but for a few.
pub(crate) fn variable(daemon: Daemon, key: &str) -> String {
    let prefix = match (daemon, key) {
        (Daemon::Etcd, "snapshot_count") => return "ETCD_SNAPSHOTCOUNT".into(),
        (Daemon::Flannel, "interface") => return "FLANNELD_IFACE".into(),
        (Daemon::Locksmith, "window_start" | "window_length") => "REBOOT_",
        (Daemon::Locksmith, _) => "LOCKSMITHD_",
        (Daemon::Etcd | Daemon::Etcd2, _) => "ETCD_",
        (Daemon::Fleet, _) => "FLEET_",
        (Daemon::Flannel, _) => "FLANNELD_",
    };
    format!("{prefix}{}", key.to_ascii_uppercase())
}

const TEXT: Kind = Kind::Text(&format::LINE);
const COUNT: Kind = Kind::Integer {
    min: 0,
    max: 1_000_000_000,
};

pub(crate) static LOCKSMITH: Table = Table {
    name: "locksmith",
    keys: LOCKSMITH_KEYS,
};

static LOCKSMITH_KEYS: &[Key] = &[
    key("endpoint", TEXT, "URLs of etcd, separated by commas.").example("https://10.0.0.1:2379"),
    key("etcd_cafile", TEXT, "CA file of etcd's certificate.").example("/etc/ssl/etcd/ca.pem"),
    key("etcd_certfile", TEXT, "Client certificate for etcd.").example("/etc/ssl/etcd/cert.pem"),
    key("etcd_keyfile", TEXT, "Key of the client certificate.").example("/etc/ssl/etcd/key.pem"),
    key("etcd_username", TEXT, "User at etcd.").example("root"),
    key("etcd_password", TEXT, "Password at etcd. Readable by who may read the service's environment.").example("secret"),
    key("group", TEXT, "Group of machines that share one lock.").example("workers"),
    key("window_start", Kind::Text(&format::WINDOW_START), "Start of the time in which a machine may reboot, in its time zone; each day, or on one weekday.").example("Thu 04:00"),
    key("window_length", Kind::Text(&format::DURATION), "Length of that time, in hours, minutes and seconds.").example("1h30m"),
];

pub(crate) static FLEET: Table = Table {
    name: "fleet",
    keys: FLEET_KEYS,
};

static FLEET_KEYS: &[Key] = &[
    key(
        "agent_ttl",
        TEXT,
        "How long a silent machine counts as alive.",
    )
    .example("30s"),
    key(
        "authorized_keys_file",
        TEXT,
        "Keys of users that may log in through fleet.",
    )
    .example("/etc/keys"),
    key("disable_engine", Kind::Flag, "Never let this machine lead.").example("true"),
    key(
        "engine_reconcile_interval",
        Kind::Number,
        "Seconds between two rounds of scheduling.",
    )
    .example("2.5"),
    key("etcd_cafile", TEXT, "CA file of etcd's certificate.").example("/etc/ssl/etcd/ca.pem"),
    key("etcd_certfile", TEXT, "Client certificate for etcd.").example("/etc/ssl/etcd/cert.pem"),
    key("etcd_keyfile", TEXT, "Key of the client certificate.").example("/etc/ssl/etcd/key.pem"),
    key("etcd_key_prefix", TEXT, "Where in etcd everything is kept.")
        .example("/_coreos.com/fleet/"),
    key(
        "etcd_request_timeout",
        Kind::Number,
        "Seconds until a request to etcd is given up.",
    )
    .example("2.5"),
    key("etcd_servers", TEXT, "URLs of etcd, separated by commas.")
        .example("https://10.0.0.1:2379"),
    key("etcd_username", TEXT, "User at etcd.").example("root"),
    key(
        "etcd_password",
        TEXT,
        "Password at etcd. Readable by who may read the service's environment.",
    )
    .example("secret"),
    key(
        "metadata",
        TEXT,
        "Labels of the machine: `key=value`, separated by commas.",
    )
    .example("rack=1,disk=ssd"),
    key(
        "public_ip",
        TEXT,
        "Address under which the machine is known.",
    )
    .example("10.0.0.1"),
    key(
        "token_limit",
        COUNT,
        "Most entries the API lists on one page.",
    )
    .example("100"),
    key("verbosity", COUNT, "How much is logged: 0 to 2.").example("1"),
    key("verify_units", Kind::Flag, "Accept signed units only.").example("true"),
];

pub(crate) static FLANNEL: Table = Table {
    name: "flannel",
    keys: FLANNEL_KEYS,
};

static FLANNEL_KEYS: &[Key] = &[
    key("etcd_endpoints", TEXT, "URLs of etcd, separated by commas.")
        .example("https://10.0.0.1:2379"),
    key("etcd_cafile", TEXT, "CA file of etcd's certificate.").example("/etc/ssl/etcd/ca.pem"),
    key("etcd_certfile", TEXT, "Client certificate for etcd.").example("/etc/ssl/etcd/cert.pem"),
    key("etcd_keyfile", TEXT, "Key of the client certificate.").example("/etc/ssl/etcd/key.pem"),
    key("etcd_prefix", TEXT, "Where in etcd the network is kept.").example("/coreos.com/network"),
    key("etcd_username", TEXT, "User at etcd.").example("root"),
    key(
        "etcd_password",
        TEXT,
        "Password at etcd. Readable by who may read the service's environment.",
    )
    .example("secret"),
    key(
        "ip_masq",
        TEXT,
        "`true` masquerades what leaves the overlay.",
    )
    .example("true"),
    key(
        "subnet_file",
        TEXT,
        "Where the subnet is written for others.",
    )
    .example("/run/flannel/subnet.env"),
    key(
        "interface",
        TEXT,
        "Interface or address that carries the overlay.",
    )
    .example("eth1"),
    key(
        "public_ip",
        TEXT,
        "Address other machines reach this one at.",
    )
    .example("10.0.0.1"),
];

pub(crate) static ETCD: Table = Table {
    name: "etcd",
    keys: ETCD_KEYS,
};

static ETCD_KEYS: &[Key] = &[
    key("addr", TEXT, "Address clients reach this member at.").example("10.0.0.1:4001"),
    key(
        "advertise_client_urls",
        TEXT,
        "URLs clients reach this member at.",
    )
    .example("http://10.0.0.1:2379")
    .deprecated("renamed since etcd 0.4; use etcd2"),
    key("bind_addr", TEXT, "Address to listen on for clients.").example("0.0.0.0:4001"),
    key("ca_file", TEXT, "CA file of client certificates.").example("/etc/ca.pem"),
    key("cert_file", TEXT, "Server certificate.").example("/etc/cert.pem"),
    key(
        "cluster_active_size",
        COUNT,
        "Members that take part in votes.",
    )
    .example("5"),
    key(
        "cluster_remove_delay",
        Kind::Number,
        "Seconds until a silent member is removed.",
    )
    .example("2.5"),
    key(
        "cluster_sync_interval",
        Kind::Number,
        "Seconds between two looks at the member list.",
    )
    .example("2.5"),
    key("cors", TEXT, "Origins that may send requests.").example("\"*\""),
    key("data_dir", TEXT, "Where the data is kept.").example("/var/lib/etcd"),
    key(
        "discovery",
        Kind::Text(&format::DISCOVERY_URL),
        "URL of the discovery service with its token.",
    )
    .example("https://discovery.example.com/abc"),
    key(
        "discovery_fallback",
        TEXT,
        "What to do when discovery fails: `proxy` or `exit`.",
    )
    .example("proxy")
    .deprecated("renamed since etcd 0.4; use etcd2"),
    key(
        "discovery_srv",
        TEXT,
        "Domain whose SRV records name the members.",
    )
    .example("example.com")
    .deprecated("renamed since etcd 0.4; use etcd2"),
    key("discovery_proxy", TEXT, "Proxy for discovery.")
        .example("http://proxy.example.com:3128")
        .deprecated("renamed since etcd 0.4; use etcd2"),
    key(
        "election_timeout",
        COUNT,
        "Milliseconds without a leader until an election.",
    )
    .example("1000")
    .deprecated("renamed since etcd 0.4; use etcd2"),
    key(
        "force_new_cluster",
        Kind::Flag,
        "Start a new cluster of one from the data there is.",
    )
    .example("true")
    .deprecated("renamed since etcd 0.4; use etcd2"),
    key("graphite_host", TEXT, "Where to send measurements.").example("graphite.example.com:2003"),
    key(
        "heartbeat_interval",
        COUNT,
        "Milliseconds between two heartbeats of the leader.",
    )
    .example("100")
    .deprecated("renamed since etcd 0.4; use etcd2"),
    key(
        "http_read_timeout",
        Kind::Number,
        "Seconds until reading a request is given up.",
    )
    .example("2.5"),
    key(
        "http_write_timeout",
        Kind::Number,
        "Seconds until writing an answer is given up.",
    )
    .example("2.5"),
    key(
        "initial_advertise_peer_urls",
        TEXT,
        "URLs other members reach this one at.",
    )
    .example("http://10.0.0.1:2380")
    .deprecated("renamed since etcd 0.4; use etcd2"),
    key(
        "initial_cluster",
        TEXT,
        "Members at the start: `name=URL`, separated by commas.",
    )
    .example("a=http://10.0.0.1:2380")
    .deprecated("renamed since etcd 0.4; use etcd2"),
    key("initial_cluster_state", TEXT, "`new` or `existing`.")
        .example("new")
        .deprecated("renamed since etcd 0.4; use etcd2"),
    key("initial_cluster_token", TEXT, "Tells clusters apart.")
        .example("lab")
        .deprecated("renamed since etcd 0.4; use etcd2"),
    key("key_file", TEXT, "Key of the server certificate.").example("/etc/key.pem"),
    key("listen_client_urls", TEXT, "URLs to listen on for clients.")
        .example("http://0.0.0.0:2379")
        .deprecated("renamed since etcd 0.4; use etcd2"),
    key("listen_peer_urls", TEXT, "URLs to listen on for members.")
        .example("http://0.0.0.0:2380")
        .deprecated("renamed since etcd 0.4; use etcd2"),
    key("max_result_buffer", COUNT, "Results kept for one watch.").example("5"),
    key("max_retry_attempts", COUNT, "Tries to join the cluster.").example("5"),
    key("max_snapshots", COUNT, "Snapshots kept.")
        .example("5")
        .deprecated("renamed since etcd 0.4; use etcd2"),
    key("max_wals", COUNT, "Log files kept.")
        .example("5")
        .deprecated("renamed since etcd 0.4; use etcd2"),
    key("name", TEXT, "Name of this member.").example("a"),
    key(
        "peer_addr",
        TEXT,
        "Address other members reach this one at.",
    )
    .example("10.0.0.1:7001"),
    key("peer_bind_addr", TEXT, "Address to listen on for members.").example("0.0.0.0:7001"),
    key("peer_ca_file", TEXT, "CA file of member certificates.").example("/etc/ca.pem"),
    key("peer_cert_file", TEXT, "Certificate towards members.").example("/etc/cert.pem"),
    key(
        "peer_election_timeout",
        COUNT,
        "Milliseconds without a leader until an election.",
    )
    .example("1000"),
    key(
        "peer_heartbeat_interval",
        COUNT,
        "Milliseconds between two heartbeats of the leader.",
    )
    .example("100"),
    key(
        "peer_key_file",
        TEXT,
        "Key of the certificate towards members.",
    )
    .example("/etc/key.pem"),
    key("peers", TEXT, "Addresses of members, separated by commas.").example("10.0.0.2:7001"),
    key("peers_file", TEXT, "File with the addresses of members.").example("/etc/peers"),
    key("proxy", TEXT, "`on`, `off` or `readonly`.")
        .example("off")
        .deprecated("renamed since etcd 0.4; use etcd2"),
    key(
        "retry_interval",
        Kind::Number,
        "Seconds between two tries to join.",
    )
    .example("2.5"),
    key("snapshot", Kind::Flag, "Write snapshots.").example("true"),
    key("snapshot_count", COUNT, "Changes between two snapshots.").example("10000"),
    key("trace", TEXT, "What to trace.").example("\"*\""),
    key("verbose", Kind::Flag, "Log more.").example("true"),
    key("very_verbose", Kind::Flag, "Log much more.").example("true"),
    key("very_very_verbose", Kind::Flag, "Log everything.").example("true"),
];

pub(crate) static ETCD2: Table = Table {
    name: "etcd2",
    keys: ETCD2_KEYS,
};

static ETCD2_KEYS: &[Key] = &[
    key(
        "advertise_client_urls",
        TEXT,
        "URLs clients reach this member at.",
    )
    .example("http://10.0.0.1:2379"),
    key("ca_file", TEXT, "CA file of client certificates.")
        .example("/etc/ca.pem")
        .deprecated("use trusted_ca_file with client_cert_auth"),
    key("cert_file", TEXT, "Server certificate.").example("/etc/cert.pem"),
    key(
        "client_cert_auth",
        Kind::Flag,
        "Let in clients with a certificate only.",
    )
    .example("true"),
    key("cors", TEXT, "Origins that may send requests.").example("\"*\""),
    key("data_dir", TEXT, "Where the data is kept.").example("/var/lib/etcd"),
    key("debug", Kind::Flag, "Log more.").example("true"),
    key(
        "discovery",
        Kind::Text(&format::DISCOVERY_URL),
        "URL of the discovery service with its token.",
    )
    .example("https://discovery.example.com/abc"),
    key(
        "discovery_fallback",
        TEXT,
        "What to do when discovery fails: `proxy` or `exit`.",
    )
    .example("exit"),
    key(
        "discovery_srv",
        TEXT,
        "Domain whose SRV records name the members.",
    )
    .example("example.com"),
    key("discovery_proxy", TEXT, "Proxy for discovery.").example("http://proxy.example.com:3128"),
    key(
        "election_timeout",
        COUNT,
        "Milliseconds without a leader until an election.",
    )
    .example("1000"),
    key("enable_pprof", Kind::Flag, "Serve profiles of the program.").example("true"),
    key(
        "force_new_cluster",
        Kind::Flag,
        "Start a new cluster of one from the data there is.",
    )
    .example("true"),
    key(
        "heartbeat_interval",
        COUNT,
        "Milliseconds between two heartbeats of the leader.",
    )
    .example("100"),
    key(
        "initial_advertise_peer_urls",
        TEXT,
        "URLs other members reach this one at.",
    )
    .example("http://10.0.0.1:2380"),
    key(
        "initial_cluster",
        TEXT,
        "Members at the start: `name=URL`, separated by commas.",
    )
    .example("a=http://10.0.0.1:2380"),
    key("initial_cluster_state", TEXT, "`new` or `existing`.").example("new"),
    key("initial_cluster_token", TEXT, "Tells clusters apart.").example("lab"),
    key("key_file", TEXT, "Key of the server certificate.").example("/etc/key.pem"),
    key("listen_client_urls", TEXT, "URLs to listen on for clients.")
        .example("http://0.0.0.0:2379"),
    key("listen_peer_urls", TEXT, "URLs to listen on for members.").example("http://0.0.0.0:2380"),
    key("log_package_levels", TEXT, "Log levels by package.").example("etcdserver=WARNING"),
    key("max_snapshots", COUNT, "Snapshots kept.").example("5"),
    key("max_wals", COUNT, "Log files kept.").example("5"),
    key("name", TEXT, "Name of this member.").example("a"),
    key("peer_ca_file", TEXT, "CA file of member certificates.")
        .example("/etc/ca.pem")
        .deprecated("use peer_trusted_ca_file with peer_client_cert_auth"),
    key("peer_cert_file", TEXT, "Certificate towards members.").example("/etc/cert.pem"),
    key(
        "peer_key_file",
        TEXT,
        "Key of the certificate towards members.",
    )
    .example("/etc/key.pem"),
    key(
        "peer_client_cert_auth",
        Kind::Flag,
        "Let in members with a certificate only.",
    )
    .example("true"),
    key(
        "peer_trusted_ca_file",
        TEXT,
        "CA file of member certificates.",
    )
    .example("/etc/ca.pem"),
    key(
        "proxy",
        Kind::Choice(&["on", "off", "readonly"]),
        "Be no member but pass requests on to one.",
    )
    .example("off"),
    key(
        "proxy_dial_timeout",
        COUNT,
        "Milliseconds until connecting to a member is given up.",
    )
    .example("5000"),
    key(
        "proxy_failure_wait",
        COUNT,
        "Milliseconds until a member that failed is tried again.",
    )
    .example("5000"),
    key(
        "proxy_read_timeout",
        COUNT,
        "Milliseconds until reading from a member is given up.",
    )
    .example("5000"),
    key(
        "proxy_refresh_interval",
        COUNT,
        "Milliseconds until the member list is read again.",
    )
    .example("5000"),
    key(
        "proxy_write_timeout",
        COUNT,
        "Milliseconds until writing to a member is given up.",
    )
    .example("5000"),
    key("snapshot_count", COUNT, "Changes between two snapshots.").example("10000"),
    key(
        "strict_reconfig_check",
        Kind::Flag,
        "Refuse changes of the members that would lose the majority.",
    )
    .example("true"),
    key("trusted_ca_file", TEXT, "CA file of client certificates.").example("/etc/ca.pem"),
    key("wal_dir", TEXT, "Where the log is kept.").example("/var/lib/etcd/wal"),
];

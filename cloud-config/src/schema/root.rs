use super::{COREOS, FILE, Key, Kind, Table, USER, format, host, key, strake};

pub(crate) static ROOT: Table = Table {
    name: "cloud-config",
    keys: KEYS,
};

const TEXTS: Kind = Kind::List(&Kind::Text(&format::SSH_KEY));

static KEYS: &[Key] = &[
    key("hostname", Kind::Text(&format::HOSTNAME), "Name of the machine. Wins over the name given by metadata.")
        .example("node-1"),
    key("ssh_authorized_keys", TEXTS, "Public keys that may log in as user `core`. Keys from metadata are added.")
        .example("[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEcore core]"),
    key("users", Kind::List(&Kind::Map(&USER)), "Users to make or to bring up to date, in this order.")
        .example("[{name: ops}]"),
    key("write_files", Kind::List(&Kind::Map(&FILE)), "Files to write, in this order. A file is replaced in one step, and not touched when it is already as wanted. Directories are made with mode 0755.")
        .example("[{path: /etc/motd, content: hello}]"),
    key("manage_etc_hosts", Kind::Choice(&["localhost"]), "`localhost` replaces `/etc/hosts` by one line that gives the machine's name to the loopback address.")
        .example("localhost"),
    key("coreos", Kind::Map(&COREOS), "What belongs to the services of the system: units, updates, cluster daemons.")
        .example("{update: {group: beta}}"),
    key("ntp", Kind::Map(&host::NTP), "Time servers.")
        .default("those of the image").example("{servers: [ntp.example.com]}"),
    key("timezone", Kind::Text(&format::TIMEZONE), "Time zone of the machine, by its name in the time zone database.")
        .default("UTC").example("Europe/Berlin"),
    key("ca_certs", Kind::List(&Kind::Text(&format::PEM)), "PEM certificates that every program trusts beside those of the image.")
        .example("[\"-----BEGIN CERTIFICATE-----\\nTUE=\\n-----END CERTIFICATE-----\"]"),
    key("sysctl", Kind::Pairs(&format::SYSCTL, &Kind::Text(&format::LINE)), "Kernel settings by name, set at each boot. A name that begins with `-` may be missing.")
        .example("{net.ipv4.ip_forward: 1}"),
    key("kernel_modules", Kind::List(&Kind::Text(&format::MODULE)), "Kernel modules to load at boot, each with its options behind a space.")
        .example("[\"bonding mode=1\", overlay]"),
    key("mounts", Kind::List(&Kind::Map(&host::MOUNT)), "File systems to mount, local or NFS. Each becomes a systemd mount unit.")
        .example("[{what: LABEL=data, path: /var/data}]"),
    key("swap", Kind::Map(&host::SWAP), "A swap file, made on the first boot.")
        .default("no swap").example("{size: 1G}"),
    key("proxy", Kind::Map(&host::PROXY), "Proxy for every service that fetches something: updates, configs, docker, containerd; and for logins.")
        .example("{http: http://proxy.example.com:3128}"),
    key("registry_mirrors", Kind::Pairs(&format::REGISTRY, &Kind::List(&Kind::Text(&format::URL))), "Mirrors of container registries, by the registry's host, first choice first. containerd uses all, docker those of docker.io.")
        .example("{docker.io: [https://mirror.example.com]}"),
    key("insecure_registries", Kind::List(&Kind::Text(&format::REGISTRY_OR_NETWORK)), "Registries reached without TLS, or with a certificate that is not checked.")
        .example("[\"registry.local:5000\"]"),
    key("strake", Kind::Map(&strake::STRAKE), "What is new here: cluster, boot health, where the address variables come from.")
        .example("{cluster: {name: lab}}"),
];

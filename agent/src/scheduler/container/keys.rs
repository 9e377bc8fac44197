//! Quadlet's keys of `[Container]`, and what each is to docker.

/// How the values of a key are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The last value, behind this flag.
    Last(&'static str),
    /// Each value, behind this flag.
    Each(&'static str),
    /// Each word of each value, behind this flag.
    Words(&'static str),
    /// The flag alone, when the last value is yes.
    Flag(&'static str),
    /// By code of its own.
    Own,
    /// Not at all: the reason.
    Not(&'static str),
}

use Meaning::{Each, Flag, Last, Not, Own, Words};

/// What a value (or a word of it) has to be: a test, and how that is said.
pub(super) type Form = (fn(&str) -> bool, &'static str);

const ANY: Form = (|value| !value.is_empty(), "a value is missing");
const PAIR: Form = (
    |value| {
        value
            .split_once('=')
            .is_some_and(|(name, _)| !name.is_empty())
    },
    "this is name=value",
);
const PATH: Form = (is_absolute, "this is an absolute path");
const NUMBER: Form = (
    |value| value == "-1" || value.parse::<u32>().is_ok() || value.starts_with('%'),
    "this is a whole number",
);
const SPAN: Form = (is_span, "this is a time such as 30s or 1m30s");
const PORT: Form = (
    is_port,
    "this is PORT, HOST:PORT or ADDRESS:HOST:PORT, also ranges, and /tcp or /udp behind it",
);
const VOLUME: Form = (
    is_volume,
    "this is SOURCE:PATH or SOURCE:PATH:OPTIONS; SOURCE is an absolute path or a name, PATH is absolute, \
     and of the options docker knows ro, rw, z, Z, nocopy and the kinds of propagation",
);
const MOUNT: Form = (
    is_mount,
    "this is type=bind|volume|tmpfs with source, destination and docker's other fields",
);
const NETWORK: Form = (
    |value| {
        let kind = value.split(':').next().unwrap_or(value);
        let ours = !["pasta", "slirp4netns", "private", "ns", "container"].contains(&kind);
        ours && is_no_file_of_quadlet(value, "network") && !value.is_empty()
    },
    "this is host, none, bridge or the name of a docker network of the machine",
);
const PULL: Form = (
    |value| ["always", "missing", "never"].contains(&value),
    "this is always, missing or never",
);
const NAME: Form = (
    |value| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-%".contains(c);
        value.len() > 1 && value.chars().all(plain) && !value.starts_with(['_', '.', '-'])
    },
    "this is a name of letters, digits, and _ . - after the first character",
);
const TRUTH: Form = (
    |value| crate::scheduler::value::truth(value).is_some(),
    "this is yes or no",
);
const IMAGE: Form = (
    |value| {
        let blank = value.contains(char::is_whitespace);
        let file = is_no_file_of_quadlet(value, "image") && is_no_file_of_quadlet(value, "build");
        !value.is_empty() && !blank && file && !value.starts_with('-')
    },
    "this is the name of an image in a registry; .image and .build units do not exist here",
);
const DEVICE: Form = (
    is_absolute,
    "this is a path in /dev, and :PATH:PERMISSIONS behind it; one that may be missing (-) docker does not know",
);
const TEXT_NOT_JSON: Form = (
    |value| !value.is_empty() && !value.starts_with('['),
    "this is a command; docker does not take it as JSON",
);
const DRIVER: Form = (
    |value| ["journald", "none", "passthrough"].contains(&value),
    "this is journald, none or passthrough",
);
const NOTIFY: Form = (
    |value| value == "healthy" || crate::scheduler::value::truth(value).is_some(),
    "this is no or healthy",
);
const SIGNAL: Form = (
    |value| !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '+'),
    "this is a signal such as SIGTERM",
);

const BY_PODMAN: &str = "that is podman's, and these containers are run by docker";
const NO_UNITS: &str = "there are no such units here";
const NO_USER_NAMESPACE: &str = "docker maps users for the whole machine or not at all";

pub(super) struct Key {
    pub name: &'static str,
    pub meaning: Meaning,
    pub form: Form,
}

const fn key(name: &'static str, meaning: Meaning, form: Form) -> Key {
    Key {
        name,
        meaning,
        form,
    }
}

pub(super) const KEYS: [Key; 79] = [
    key("AddCapability", Words("--cap-add"), ANY),
    key("AddDevice", Each("--device"), DEVICE),
    key("AddHost", Each("--add-host"), ANY),
    key("Annotation", Words("--annotation"), PAIR),
    key(
        "AutoUpdate",
        Not("images are renewed by Pull=always at each start only"),
        ANY,
    ),
    key("CgroupsMode", Not(BY_PODMAN), ANY),
    key("ContainerName", Own, NAME),
    key("ContainersConfModule", Not(BY_PODMAN), ANY),
    key("DNS", Each("--dns"), ANY),
    key("DNSOption", Each("--dns-option"), ANY),
    key("DNSSearch", Each("--dns-search"), ANY),
    key("DropCapability", Words("--cap-drop"), ANY),
    key("Entrypoint", Last("--entrypoint"), TEXT_NOT_JSON),
    key("Environment", Words("--env"), PAIR),
    key("EnvironmentFile", Each("--env-file"), PATH),
    key("EnvironmentHost", Not(BY_PODMAN), ANY),
    key("Exec", Own, ANY),
    key("ExposeHostPort", Each("--expose"), PORT),
    key("GIDMap", Not(NO_USER_NAMESPACE), ANY),
    key("GlobalArgs", Not(BY_PODMAN), ANY),
    key("Group", Own, ANY),
    key(
        "GroupAdd",
        Each("--group-add"),
        (
            |value| !value.is_empty() && value != "keep-groups",
            "this is a group",
        ),
    ),
    key("HealthCmd", Own, TEXT_NOT_JSON),
    key("HealthInterval", Last("--health-interval"), SPAN),
    key("HealthLogDestination", Not(BY_PODMAN), ANY),
    key("HealthMaxLogCount", Not(BY_PODMAN), ANY),
    key("HealthMaxLogSize", Not(BY_PODMAN), ANY),
    key(
        "HealthOnFailure",
        Own,
        (
            |value| value == "none",
            "docker does nothing about a container that is not healthy: none",
        ),
    ),
    key("HealthRetries", Last("--health-retries"), NUMBER),
    key("HealthStartPeriod", Last("--health-start-period"), SPAN),
    key("HealthStartupCmd", Not(BY_PODMAN), ANY),
    key("HealthStartupInterval", Not(BY_PODMAN), ANY),
    key("HealthStartupRetries", Not(BY_PODMAN), ANY),
    key("HealthStartupSuccess", Not(BY_PODMAN), ANY),
    key("HealthStartupTimeout", Not(BY_PODMAN), ANY),
    key("HealthTimeout", Last("--health-timeout"), SPAN),
    key("HostName", Last("--hostname"), ANY),
    key("HttpProxy", Not(BY_PODMAN), ANY),
    key("IP", Last("--ip"), ANY),
    key("IP6", Last("--ip6"), ANY),
    key("Image", Own, IMAGE),
    key("Label", Words("--label"), PAIR),
    key("LogDriver", Own, DRIVER),
    key("LogOpt", Not("only docker's defaults are there"), ANY),
    key("Mask", Not(BY_PODMAN), ANY),
    key("Memory", Last("--memory"), ANY),
    key("Mount", Each("--mount"), MOUNT),
    key("Network", Each("--network"), NETWORK),
    key("NetworkAlias", Each("--network-alias"), ANY),
    key(
        "NoNewPrivileges",
        Flag("--security-opt=no-new-privileges"),
        TRUTH,
    ),
    key("Notify", Own, NOTIFY),
    key("PidsLimit", Last("--pids-limit"), NUMBER),
    key("Pod", Not(NO_UNITS), ANY),
    key("PodmanArgs", Not(BY_PODMAN), ANY),
    key("PublishPort", Each("--publish"), PORT),
    key("Pull", Last("--pull"), PULL),
    key("ReadOnly", Own, TRUTH),
    key("ReadOnlyTmpfs", Own, TRUTH),
    key("ReloadCmd", Own, ANY),
    key("ReloadSignal", Own, SIGNAL),
    key("Retry", Not(BY_PODMAN), ANY),
    key("RetryDelay", Not(BY_PODMAN), ANY),
    key("Rootfs", Not("only images are run"), ANY),
    key("RunInit", Flag("--init"), TRUTH),
    key("SeccompProfile", Last("--security-opt=seccomp"), ANY),
    key("Secret", Not(BY_PODMAN), ANY),
    key(
        "ServiceName",
        Not("the service is called as the unit is"),
        ANY,
    ),
    key("ShmSize", Last("--shm-size"), ANY),
    key("StartWithPod", Not(NO_UNITS), ANY),
    key("StopSignal", Last("--stop-signal"), SIGNAL),
    key("StopTimeout", Own, NUMBER),
    key("Sysctl", Words("--sysctl"), PAIR),
    key(
        "Timezone",
        Not("set TZ by Environment= where the image has zones"),
        ANY,
    ),
    key("Tmpfs", Each("--tmpfs"), PATH),
    key("Ulimit", Each("--ulimit"), PAIR),
    key("User", Own, ANY),
    key("UserNS", Not(NO_USER_NAMESPACE), ANY),
    key("Volume", Each("--volume"), VOLUME),
    key("WorkingDir", Last("--workdir"), PATH),
];

fn is_absolute(value: &str) -> bool {
    value.starts_with(['/', '%'])
}

fn is_no_file_of_quadlet(value: &str, kind: &str) -> bool {
    let name = value.split(':').next().unwrap_or(value);
    !name.ends_with(&format!(".{kind}"))
}

fn is_span(value: &str) -> bool {
    let mut rest = value;
    while !rest.is_empty() {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let unit = ["ms", "us", "s", "m", "h"]
            .iter()
            .find_map(|unit| digits.strip_prefix(unit));
        match unit {
            Some(after) if digits.len() < rest.len() => rest = after,
            _ => return false,
        }
    }
    !value.is_empty()
}

fn is_port(value: &str) -> bool {
    let (ports, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse::<u16>().is_ok() || text.contains('%');
        number(first) && number(last)
    };
    let (host, port) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (address, host) = host.rsplit_once(':').unwrap_or(("", host));
    let plain = !address.contains(':') || (address.starts_with('[') && address.ends_with(']'));
    ["tcp", "udp", "sctp"].contains(&protocol)
        && range(port)
        && (host.is_empty() || range(host))
        && plain
}

fn is_volume(value: &str) -> bool {
    const OPTIONS: [&str; 11] = [
        "ro", "rw", "z", "Z", "nocopy", "shared", "slave", "private", "rshared", "rslave",
        "rprivate",
    ];
    let parts: Vec<&str> = value.split(':').collect();
    let source = |text: &str| {
        let named = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        is_absolute(text) || (named && !text.contains('/') && is_no_file_of_quadlet(text, "volume"))
    };
    match parts.as_slice() {
        [path] => is_absolute(path),
        [from, path] => source(from) && is_absolute(path),
        [from, path, options] => {
            let known = options.split(',').all(|option| OPTIONS.contains(&option));
            source(from) && is_absolute(path) && known
        }
        _ => false,
    }
}

fn is_mount(value: &str) -> bool {
    const FIELDS: [&str; 13] = [
        "type",
        "source",
        "src",
        "target",
        "destination",
        "dst",
        "readonly",
        "ro",
        "bind-propagation",
        "volume-nocopy",
        "volume-subpath",
        "tmpfs-size",
        "tmpfs-mode",
    ];
    let fields: Vec<&str> = value.split(',').collect();
    let known = |field: &&str| FIELDS.contains(&field.split('=').next().unwrap_or(field));
    let kind = |field: &&str| ["type=bind", "type=volume", "type=tmpfs"].contains(field);
    let file = |field: &&str| {
        let source = field
            .split_once('=')
            .filter(|(name, _)| *name == "source" || *name == "src");
        source.is_some_and(|(_, path)| path.starts_with('.') || path.ends_with(".volume"))
    };
    fields.iter().any(kind) && fields.iter().all(known) && !fields.iter().any(file)
}

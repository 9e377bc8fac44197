//! What the text of a value must look like. A format returns a fault, never panics, and sees
//! the decoded value of one scalar.

use std::net::IpAddr;
use std::time::Duration;

use crate::problem::{Level, Rule};
use crate::unit_name::{self, UnitName};

#[derive(Debug)]
pub(crate) struct Format {
    /// For the reference: "absolute path".
    pub(crate) name: &'static str,
    /// For the JSON Schema; empty when a pattern cannot say it.
    pub(crate) pattern: &'static str,
    pub(crate) check: fn(&str) -> Result<(), Fault>,
}

#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) level: Level,
    pub(crate) rule: Rule,
    /// `None` for the usual "invalid value V".
    pub(crate) message: Option<String>,
    pub(crate) hint: String,
}

impl Fault {
    fn invalid(hint: impl Into<String>) -> Self {
        Self {
            level: Level::Error,
            rule: Rule::InvalidValue,
            message: None,
            hint: hint.into(),
        }
    }

    fn warning(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            rule: Rule::InvalidValue,
            message: Some(message.into()),
            hint: hint.into(),
        }
    }
}

fn ensure(holds: bool, hint: &str) -> Result<(), Fault> {
    if holds {
        Ok(())
    } else {
        Err(Fault::invalid(hint))
    }
}

const fn format(
    name: &'static str,
    pattern: &'static str,
    check: fn(&str) -> Result<(), Fault>,
) -> Format {
    Format {
        name,
        pattern,
        check,
    }
}

pub(crate) static ANY: Format = format("text", "", |_| Ok(()));

/// A value that becomes one line of a file, such as an environment variable.
pub(crate) static LINE: Format = format("text of one line", r"^[^\n\r]*$", |text| {
    ensure(!text.contains(['\n', '\r', '\0']), "keep it on one line")
});

pub(crate) static HOSTNAME: Format = format(
    "host name",
    r"^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$",
    |text| {
        ensure(
            text.len() <= 64 && is_domain(text),
            "up to 64 letters, digits and hyphens, in labels of at most 63 separated by dots",
        )
    },
);

pub(crate) static USER_NAME: Format = format("user name", r"^[a-z_][a-z0-9_-]{0,31}$", |text| {
    ensure(
        is_user_name(text),
        "begin with a lower-case letter or underscore, then up to 31 lower-case letters, digits, \
         hyphens or underscores",
    )
});

/// A name, or a number where a group may be given by it.
pub(crate) static GROUP: Format = format(
    "group name or number",
    r"^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9})$",
    |text| {
        ensure(
            is_user_name(text) || is_id(text),
            "give the name or the number of a group",
        )
    },
);

pub(crate) static OWNER: Format = format("user:group", r"^[^:]+(:[^:]*)?$", |text| {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let known = |name: &str| is_user_name(name) || is_id(name);
    ensure(
        known(user) && (group.is_empty() || known(group)),
        "write user:group, such as root:root; names or numbers",
    )
});

pub(crate) static PASSWORD_HASH: Format = format("crypt(3) hash", "", |text| {
    if text.contains([':', '\n', '\r', '\0']) {
        return Err(Fault {
            message: Some("the password is no hash".into()),
            ..Fault::invalid("a hash holds no colon and no line break")
        });
    }
    let locked = text.is_empty() || text.starts_with(['!', '*']);
    if locked || text.starts_with('$') || text.starts_with('_') || text.len() == 13 {
        return Ok(());
    }
    Err(Fault::warning(
        "the password does not look like a hash",
        "make one with: openssl passwd -6",
    ))
});

/// One field of the password file.
pub(crate) static FIELD: Format = format("text without colon", r"^[^:\n]*$", |text| {
    ensure(
        !text.contains([':', '\n', '\r', '\0']),
        "leave out colons and line breaks",
    )
});

pub(crate) static SSH_KEY: Format = format("OpenSSH public key", "", |text| {
    let text = text.trim();
    if text.contains(['\n', '\r', '\0']) {
        return Err(Fault::invalid("one key for each entry of the list"));
    }
    if text.contains("PRIVATE KEY") {
        return Err(Fault::invalid(
            "this is a private key: give the public one (.pub)",
        ));
    }
    let known = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    if text
        .split_whitespace()
        .any(|word| known.iter().any(|kind| word.starts_with(kind)))
    {
        return Ok(());
    }
    Err(Fault::warning(
        "this does not look like an SSH public key",
        "give the line of a .pub file",
    ))
});

pub(crate) static PATH: Format = format("absolute path", r"^/", check_absolute);

/// Where a file can be written: not on the read-only file systems.
pub(crate) static WRITABLE_PATH: Format = format("absolute path outside /usr", r"^/", |text| {
    if ["usr", "bin", "sbin", "lib", "lib64"]
        .iter()
        .any(|top| is_below(text, top))
    {
        return Err(Fault {
            level: Level::Error,
            rule: Rule::ReadOnlyPath,
            message: Some("file cannot be written to a read-only filesystem".into()),
            hint: "/usr belongs to the image; programs may go to /opt/bin, settings to /etc".into(),
        });
    }
    check_absolute(text)?;
    if text.ends_with('/') {
        return Err(Fault::invalid(
            "this names a directory: give the path of the file",
        ));
    }
    match ["proc", "sys", "dev"]
        .iter()
        .find(|top| is_below(text, top))
    {
        Some(top) => Err(Fault::invalid(format!("/{top} holds no files of a config"))),
        None => Ok(()),
    }
});

fn check_absolute(text: &str) -> Result<(), Fault> {
    let fault = |message: &str, hint: String| Fault {
        level: Level::Error,
        rule: Rule::RelativePath,
        message: Some(message.into()),
        hint,
    };
    if text.contains(['\0', '\n']) {
        return Err(Fault::invalid(
            "a path holds no line break and no zero byte",
        ));
    }
    if !text.starts_with('/') {
        let hint = format!("begin it with a slash: /{text}");
        return Err(fault("the path is not absolute", hint));
    }
    if text.split('/').any(|step| step == "..") {
        return Err(fault(
            "the path goes up with \"..\"",
            "write the path it leads to".into(),
        ));
    }
    ensure(text.len() < 4096, "a path is shorter than 4096 bytes")?;
    ensure(
        text.split('/').all(|step| step.len() < 256),
        "a name in it is at most 255 bytes",
    )
}

fn is_below(path: &str, top: &str) -> bool {
    path.split('/')
        .find(|step| !step.is_empty() && *step != ".")
        == Some(top)
}

pub(crate) static MODE: Format = format("octal mode", r"^(0o?)?[0-7]{3,4}$", |text| {
    ensure(
        mode(text).is_some(),
        "three or four octal digits, such as 0644; a leading digit sets setuid (4), setgid (2) \
         and sticky (1)",
    )
});

/// The twelve bits of an octal mode.
pub(crate) fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let digits = match digits.len() {
        5 => digits.strip_prefix('0')?,
        _ => digits,
    };
    let octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    (octal && matches!(digits.len(), 3 | 4))
        .then(|| u32::from_str_radix(digits, 8).ok())
        .flatten()
}

pub(crate) static URL: Format = format("http or https URL", r"^https?://", |text| {
    ensure(is_url(text), "give a whole URL: https://host/path")
});

pub(crate) static UPDATE_SERVER: Format =
    format("http or https URL, or the word disabled", "", |text| {
        let plain = matches!(text, "" | "disabled");
        ensure(
            plain || is_url(text),
            "give a whole URL: https://host/path, or disabled",
        )
    });

pub(crate) static DISCOVERY_URL: Format = format("discovery URL", "", |text| {
    if is_url(text) {
        return Ok(());
    }
    Err(Fault::warning(
        "discovery URL is not valid",
        "give a whole URL: https://host/token",
    ))
});

pub(crate) static SHA256: Format = format("SHA-256 in hex", r"^[0-9a-fA-F]{64}$", |text| {
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure(
        text.len() == 64 && hex,
        "64 hexadecimal digits, as sha256sum prints them",
    )
});

pub(crate) static UNIT: Format = format("unit name", "", |text| match UnitName::parse(text) {
    Ok(_) => Ok(()),
    Err(refusal) => Err(Fault::invalid(refusal.to_string())),
});

/// Units of systemd proper: the network files cannot be required or waited for.
pub(crate) static SYSTEM_UNIT: Format =
    format("systemd unit name", "", |text| {
        match UnitName::parse(text) {
            Ok(name) if name.group() == crate::config::UnitGroup::System => Ok(()),
            Ok(_) => Err(Fault::invalid("files of networkd are no units that run")),
            Err(refusal) => Err(Fault::invalid(refusal.to_string())),
        }
    });

pub(crate) static DROP_IN_NAME: Format = format("NAME.conf", r"^[^/]+\.conf$", |text| {
    ensure(
        unit_name::is_file_name(text) && text.ends_with(".conf") && text.len() > 5,
        "systemd reads only files that end in .conf, without a slash in the name",
    )
});

pub(crate) static WINDOW_START: Format = format(
    "[weekday] HH:MM",
    r"^((Mon|Tue|Wed|Thu|Fri|Sat|Sun)\w* +)?[0-9]{1,2}:[0-9]{2}$",
    |text| {
        ensure(
            is_window_start(text),
            "write HH:MM, or a weekday before it: Thu 04:00",
        )
    },
);

fn is_window_start(text: &str) -> bool {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let words: Vec<&str> = text.split_whitespace().collect();
    let (day, time) = match words.as_slice() {
        [time] => (None, *time),
        [day, time] => (Some(day.to_ascii_lowercase()), *time),
        _ => return false,
    };
    let known = day.is_none_or(|day| DAYS.iter().any(|name| *name == day || name[..3] == *day));
    let below = |digits: &str, limit: u32| {
        matches!(digits.len(), 1 | 2)
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && digits.parse::<u32>().is_ok_and(|value| value < limit)
    };
    known
        && time
            .split_once(':')
            .is_some_and(|(hour, minute)| below(hour, 24) && below(minute, 60))
}

pub(crate) static DURATION: Format = format(
    "duration",
    r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$",
    |text| {
        let holds = duration(text).is_some_and(|duration| !duration.is_zero());
        ensure(
            holds,
            "a positive number with unit h, m, s or ms: 30s, 1h30m",
        )
    },
);

/// A Go duration: one or more decimal numbers, each with its unit, without sign.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut nanos: f64 = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let length = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..length] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanos += number * unit;
        rest = &rest[length..];
    }
    // Go's own limit, about 292 years.
    (!text.is_empty() && nanos <= 9.2e18).then(|| Duration::from_secs_f64(nanos / 1e9))
}

pub(crate) static SIZE: Format = format("size", r"^[0-9]+ *[KMGT]?(i?B)?$", |text| {
    let holds = size(text).is_some_and(|bytes| bytes >= 1 << 20);
    ensure(
        holds,
        "at least 1M; a number with unit K, M, G or T (powers of 1024): 2G",
    )
});

pub(crate) fn size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..]
        .trim()
        .trim_end_matches('B')
        .trim_end_matches('i');
    let shift = match unit {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

pub(crate) static TIMEZONE: Format = format(
    "name of the time zone database",
    r"^[A-Za-z][A-Za-z0-9+_/-]*$",
    |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/');
        let holds = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(plain)
            && text.split('/').all(|step| !step.is_empty());
        ensure(holds, "such as UTC or Europe/Berlin")
    },
);

pub(crate) static SERVER: Format = format("host name or address", "", |text| {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    ensure(
        plain.parse::<IpAddr>().is_ok() || is_domain(text),
        "a host name or an IP address",
    )
});

pub(crate) static SEED: Format = format("IP address or host name", "", |text| {
    ensure(
        text.parse::<IpAddr>().is_ok() || is_domain(text),
        "the address of an etcd member, without port",
    )
});

pub(crate) static ADDRESS_SOURCE: Format = format("interface name or CIDR", "", |text| {
    let holds = match text.split_once('/') {
        Some((address, length)) => match (address.parse::<IpAddr>(), length.parse::<u8>()) {
            (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
            (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
            _ => false,
        },
        None => {
            let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
            (1..=15).contains(&text.len()) && text.chars().all(plain)
        }
    };
    ensure(
        holds,
        "an interface such as eth1, or a network such as 10.0.0.0/8",
    )
});

pub(crate) static PEM: Format = format("PEM certificates", "", |text| {
    if text.contains("PRIVATE KEY-----") {
        return Err(Fault::invalid(
            "a private key has no place here: give the certificate alone",
        ));
    }
    let begin = text.matches("-----BEGIN CERTIFICATE-----").count();
    let end = text.matches("-----END CERTIFICATE-----").count();
    ensure(
        begin > 0 && begin == end,
        "from -----BEGIN CERTIFICATE----- to its END line",
    )
});

pub(crate) static SYSCTL: Format = format(
    "sysctl name",
    r"^[A-Za-z0-9_-]+([./][A-Za-z0-9_:*-]+)+$",
    |text| {
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '*');
        let holds = text.chars().all(plain) && text.contains(['.', '/']) && !text.contains("..");
        ensure(holds, "such as net.ipv4.ip_forward")
    },
);

pub(crate) static MODULE: Format = format(
    "module name and options",
    r"^[A-Za-z0-9_-]+( .*)?$",
    |text| {
        let name = text.split(' ').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let holds = !name.is_empty() && name.chars().all(plain) && !text.contains('\n');
        ensure(holds, "a module's name, then its options: bonding mode=1")
    },
);

pub(crate) static REGISTRY: Format = format("registry host, port optional", "", |text| {
    ensure(
        is_registry(text),
        "a host with optional port: registry.example.com:5000",
    )
});

/// Docker also takes a network for insecure registries.
pub(crate) static REGISTRY_OR_NETWORK: Format = format("registry host or CIDR", "", |text| {
    let network = text.contains('/') && (ADDRESS_SOURCE.check)(text).is_ok();
    ensure(
        network || is_registry(text),
        "a host with optional port, or a network",
    )
});

pub(crate) static GROUP_NAME: Format = format("update group", r"^[A-Za-z0-9._-]+$", |text| {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    ensure(
        text.chars().all(plain),
        "letters, digits, dot, hyphen and underscore",
    )
});

fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let plain = rest.chars().all(|c| !c.is_whitespace() && !c.is_control());
        !host.is_empty() && plain && host != ":"
    })
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let known = is_domain(host) || plain.parse::<IpAddr>().is_ok();
    known && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    !text.is_empty() && text.len() <= 253 && text.split('.').all(label)
}

fn is_user_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    first && text.len() <= 32 && bytes.all(plain)
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit())
}

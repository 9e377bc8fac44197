//! Machines, addresses, servers and registries.

use std::net::IpAddr;

use super::{Fault, Format, ensure, format};

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

pub(crate) static SEED: Format = format("IP address", "", |text| {
    let usable = |ip: IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    ensure(
        text.parse().is_ok_and(usable),
        "the address of an etcd member, without port; no name: it would have to be resolved before there is a cluster",
    )
});

pub(crate) static LISTEN: Format = format("address:port", "", |text| {
    let usable = |at: std::net::SocketAddr| at.port() >= 1024;
    ensure(
        text.parse().is_ok_and(usable),
        "an IP address and a port from 1024: 10.9.0.11:3333, [fd00::1]:3333",
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

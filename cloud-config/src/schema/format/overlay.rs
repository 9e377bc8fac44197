use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Format, ensure, format};

pub(crate) static OVERLAY_NETWORK: Format = format("IPv4 network", "", |text| {
    ensure(
        is_network(text, 28, |address, length| match address {
            IpAddr::V4(address) => Some(Ipv4Addr::to_bits(address) << length == 0),
            IpAddr::V6(_) => None,
        }),
        "an IPv4 network from its first address, /28 at most: 10.5.0.0/16",
    )
});

pub(crate) static OVERLAY_NETWORK_V6: Format = format("IPv6 network", "", |text| {
    ensure(
        is_network(text, 124, |address, length| match address {
            IpAddr::V6(address) => Some(Ipv6Addr::to_bits(address) << length == 0),
            IpAddr::V4(_) => None,
        }),
        "an IPv6 network from its first address, /124 at most: fd00:5::/48",
    )
});

/// `is_first` shifts by less than the address is long: `longest` is.
fn is_network(text: &str, longest: u32, is_first: impl Fn(IpAddr, u32) -> Option<bool>) -> bool {
    let network = || {
        let (address, length) = text.split_once('/')?;
        let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse().ok().filter(|length| *length <= longest)?;
        Some(plain && is_first(address.parse().ok()?, length)?)
    };
    network().unwrap_or_default()
}

pub(crate) static OVERLAY_INTERFACE: Format = format("interface name or address", "", |text| {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
    let is_name = (1..=15).contains(&text.len()) && text.chars().all(plain);
    ensure(
        is_name || text.parse::<IpAddr>().is_ok(),
        "an interface such as eth1, or one of its addresses",
    )
});

/// Names of docker's own, and of keys in the store.
const RESERVED: [&str; 6] = ["default", "bridge", "host", "none", "config", "subnets"];

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = text.starts_with('-') || text.ends_with('-');
    (1..=12).contains(&text.len()) && text.chars().all(plain) && !ends
}

pub(crate) static OVERLAY_NAME: Format = format("network name", "", |text| {
    ensure(
        is_name(text) && !RESERVED.contains(&text),
        "1 to 12 small letters, digits and hyphens, and none of default, bridge, host, none, config, subnets",
    )
});

pub(crate) static OVERLAY_ALLOWED: Format = format("network name", "", |text| {
    ensure(
        is_name(text),
        "the name of a network: 1 to 12 small letters, digits and hyphens, or default",
    )
});

pub(crate) static OVERLAY_PREFIX: Format = format("key prefix", "", |text| {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
    ensure(
        text.starts_with('/') && text.len() > 1 && text.chars().all(plain),
        "a path of letters, digits, hyphen, underscore and dot: /coreos.com/network",
    )
});

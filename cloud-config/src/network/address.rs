use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Serialize, Serializer};

/// An address with the length of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub length: u8,
}

impl Cidr {
    /// `10.0.0.1/8`; without a length the address alone.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.trim().parse().ok()?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = if length.is_empty() {
            whole
        } else {
            length.trim().parse().ok()?
        };
        (length <= whole).then_some(Self { address, length })
    }

    /// An address with a netmask as `255.255.255.0`, as a length, or as an IPv6 mask.
    pub fn with_mask(address: &str, mask: &str) -> Option<Self> {
        let plain = Self::parse(address)?;
        let length = match (mask.parse::<u8>(), mask.parse::<IpAddr>()) {
            (Ok(length), _) => length,
            (_, Ok(IpAddr::V4(mask))) => mask_length(mask)?,
            (_, Ok(IpAddr::V6(mask))) => u8::try_from(u128::from(mask).leading_ones()).ok()?,
            _ => return None,
        };
        Self::parse(&format!("{}/{length}", plain.address))
    }

    pub fn is_default(&self) -> bool {
        self.length == 0 && self.address.is_unspecified()
    }
}

fn mask_length(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    (bits.leading_ones() + bits.trailing_zeros() == 32 || bits == 0)
        .then(|| u8::try_from(bits.leading_ones()).ok())
        .flatten()
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the kernel takes as the name of an interface, and a file name can hold.
pub fn is_link_name(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && !matches!(text, "." | "..")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A hardware address in the form networkd matches.
pub(super) fn mac(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase().replace('-', ":");
    let parts: Vec<&str> = text.split(':').collect();
    let hex = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    (parts.len() == 6 && parts.iter().all(hex)).then_some(text)
}

pub(super) fn is_domain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.len() < 254 && text.bytes().all(plain)
}

/// The name networkd knows a bonding mode by, from the kernel's name or number.
pub(super) fn bond_mode(text: &str) -> &'static str {
    match text {
        "1" | "active-backup" => "active-backup",
        "2" | "balance-xor" => "balance-xor",
        "3" | "broadcast" => "broadcast",
        "4" | "802.3ad" => "802.3ad",
        "5" | "balance-tlb" => "balance-tlb",
        "6" | "balance-alb" => "balance-alb",
        _ => "balance-rr",
    }
}

//! What the machine already knows when a config is checked and planned.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

/// One address variable. The difference between the last two decides whether anything waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Address<T> {
    /// Not known yet: whatever needs it is planned for the network phase.
    #[default]
    Unknown,
    Known(T),
    /// Will not become known: it is replaced by nothing, as always, with a warning.
    Absent,
}

impl<T> Address<T> {
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }
}

impl<T> From<Option<T>> for Address<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Self::Known)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Addresses {
    pub public_ipv4: Address<Ipv4Addr>,
    pub private_ipv4: Address<Ipv4Addr>,
    pub public_ipv6: Address<Ipv6Addr>,
    pub private_ipv6: Address<Ipv6Addr>,
}

impl Addresses {
    /// The network is up and asked: what is still unknown stays without a value.
    #[must_use]
    pub fn settled(mut self) -> Self {
        fn settle<T>(address: &mut Address<T>) {
            if matches!(address, Address::Unknown) {
                *address = Address::Absent;
            }
        }
        settle(&mut self.public_ipv4);
        settle(&mut self.private_ipv4);
        settle(&mut self.public_ipv6);
        settle(&mut self.private_ipv6);
        self
    }

    /// The text that stands for a variable, `None` while it is unknown.
    pub fn text(&self, variable: Variable) -> Option<String> {
        fn text<T: fmt::Display>(address: &Address<T>) -> Option<String> {
            match address {
                Address::Unknown => None,
                Address::Known(address) => Some(address.to_string()),
                Address::Absent => Some(String::new()),
            }
        }
        match variable {
            Variable::PublicIpv4 => text(&self.public_ipv4),
            Variable::PrivateIpv4 => text(&self.private_ipv4),
            Variable::PublicIpv6 => text(&self.public_ipv6),
            Variable::PrivateIpv6 => text(&self.private_ipv6),
        }
    }
}

/// The four variables a user may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    PublicIpv4,
    PrivateIpv4,
    PublicIpv6,
    PrivateIpv6,
}

impl Variable {
    pub const ALL: [Self; 4] = [
        Self::PublicIpv4,
        Self::PrivateIpv4,
        Self::PublicIpv6,
        Self::PrivateIpv6,
    ];

    /// With the dollar sign, as written in a config.
    pub fn name(self) -> &'static str {
        match self {
            Self::PublicIpv4 => "$public_ipv4",
            Self::PrivateIpv4 => "$private_ipv4",
            Self::PublicIpv6 => "$public_ipv6",
            Self::PrivateIpv6 => "$private_ipv6",
        }
    }

    /// The name in `/etc/environment`.
    pub fn environment(self) -> &'static str {
        match self {
            Self::PublicIpv4 => "COREOS_PUBLIC_IPV4",
            Self::PrivateIpv4 => "COREOS_PRIVATE_IPV4",
            Self::PublicIpv6 => "COREOS_PUBLIC_IPV6",
            Self::PrivateIpv6 => "COREOS_PRIVATE_IPV6",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Context {
    pub addresses: Addresses,
    /// The machine's name now, for `/etc/hosts` when no config gives one.
    pub hostname: Option<String>,
}

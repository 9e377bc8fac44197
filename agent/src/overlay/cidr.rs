//! A range of addresses of one family: `10.5.3.0/24`, `fd00:5::/64`. The address is always the
//! first one of the range.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            // The upper bits are zero wherever a number is made from an address of this family.
            Family::V4 => Ipv4Addr::from_bits(number as u32).into(),
            Family::V6 => Ipv6Addr::from_bits(number).into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("{0:?} is not an address, a slash and a prefix length")]
    Form(String),
    #[error("/{length} is longer than an {family} address")]
    Length { length: u8, family: Family },
    #[error("{address}/{length} does not begin at its own first address, {first}")]
    Unaligned {
        address: IpAddr,
        length: u8,
        first: IpAddr,
    },
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// How many addresses lie under a prefix, less one: a whole family's would not fit.
fn size_less_one(family: Family, length: u8) -> u128 {
    match family.bits() - length {
        128 => u128::MAX,
        host => (1 << host) - 1,
    }
}

impl Cidr {
    pub fn new(address: IpAddr, length: u8) -> Result<Cidr, Wrong> {
        let cidr = Cidr::around(address, length)?;
        match cidr.address == address {
            true => Ok(cidr),
            false => Err(Wrong::Unaligned {
                address,
                length,
                first: cidr.address,
            }),
        }
    }

    /// The range of this length that holds the address.
    pub fn around(address: IpAddr, length: u8) -> Result<Cidr, Wrong> {
        let family = Family::of(address);
        if length > family.bits() {
            return Err(Wrong::Length { length, family });
        }
        let first = number(address) & !size_less_one(family, length);
        Ok(Cidr {
            address: family.address(first),
            length,
        })
    }

    pub fn single(address: IpAddr) -> Cidr {
        Cidr {
            address,
            length: Family::of(address).bits(),
        }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    pub fn length(&self) -> u8 {
        self.length
    }

    pub fn family(&self) -> Family {
        Family::of(self.address)
    }

    fn last_number(&self) -> u128 {
        number(self.address) + size_less_one(self.family(), self.length)
    }

    pub fn last_address(&self) -> IpAddr {
        self.family().address(self.last_number())
    }

    /// The nth address, the first one being 0. It stays within the range.
    pub fn host(&self, nth: u128) -> IpAddr {
        let last = self.last_number();
        let wanted = number(self.address).saturating_add(nth).min(last);
        self.family().address(wanted)
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.family() == Family::of(address)
            && (number(self.address)..=self.last_number()).contains(&number(address))
    }

    /// Every address of the other is one of this.
    pub fn covers(&self, other: &Cidr) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The nth range of this length in the order of addresses; nothing beyond the end.
    pub fn nth(&self, length: u8, nth: u128) -> Option<Cidr> {
        if length < self.length || length > self.family().bits() || nth > self.highest(length) {
            return None;
        }
        let step = self.family().bits() - length;
        let offset = if step == 128 { 0 } else { nth << step };
        Some(Cidr {
            address: self.family().address(number(self.address) + offset),
            length,
        })
    }

    /// The number of the last range of this length within.
    pub fn highest(&self, length: u8) -> u128 {
        match length.saturating_sub(self.length) {
            128 => u128::MAX,
            bits => (1 << bits) - 1,
        }
    }

    /// Which of the ranges of its length within this the other is.
    pub fn index_of(&self, other: &Cidr) -> Option<u128> {
        if !self.covers(other) {
            return None;
        }
        let step = self.family().bits() - other.length;
        let offset = number(other.address) - number(self.address);
        Some(if step == 128 { 0 } else { offset >> step })
    }

    /// As in the keys of the store: `10.5.3.0-24`.
    pub fn to_key(&self) -> String {
        format!("{}-{}", self.address, self.length)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Cidr {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Cidr, Wrong> {
        let form = || Wrong::Form(text.to_string());
        let (address, length) = text.split_once('/').ok_or_else(form)?;
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse().ok().filter(|_| digits).ok_or_else(form)?;
        Cidr::new(address.parse().map_err(|_| form())?, length)
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl TryFrom<String> for Cidr {
    type Error = Wrong;

    fn try_from(text: String) -> Result<Cidr, Wrong> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect(text)
    }

    #[test]
    fn ranges_are_cut_and_found_again() {
        let network = cidr("10.5.0.0/16");
        assert_eq!(network.nth(24, 3), Some(cidr("10.5.3.0/24")));
        assert_eq!(network.highest(24), 255);
        assert_eq!(network.nth(24, 256), None);
        assert_eq!(network.nth(8, 0), None);
        assert_eq!(network.index_of(&cidr("10.5.3.0/24")), Some(3));
        assert_eq!(network.index_of(&cidr("10.6.0.0/24")), None);
        assert_eq!(network.host(1), "10.5.0.1".parse::<IpAddr>().expect("ip"));
        assert_eq!(network.last_address().to_string(), "10.5.255.255");
        let whole = cidr("::/0");
        assert_eq!(whole.highest(128), u128::MAX);
        assert_eq!(whole.nth(0, 0), Some(whole));
        assert!(whole.covers(&cidr("fd00::/64")) && !whole.covers(&network));
    }

    #[test]
    fn wrong_texts_are_told_apart() {
        let unaligned = "10.5.3.1/24".parse::<Cidr>().expect_err("unaligned");
        let text = "10.5.3.1/24 does not begin at its own first address, 10.5.3.0";
        assert_eq!(unaligned.to_string(), text);
        let long = "10.5.3.0/33".parse::<Cidr>().expect_err("too long");
        assert_eq!(long.to_string(), "/33 is longer than an IPv4 address");
        for text in [
            "",
            "10.5.0.0",
            "10.5.0.0/",
            "10.5.0.0/+8",
            "x/8",
            "10.5.0.0/999",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(Wrong::Form(text.to_string())));
        }
    }

    proptest! {
        #[test]
        fn every_range_is_read_as_it_is_written(bits: u128, v6: bool, length in 0u8..=128) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let address = family.address(if v6 { bits } else { bits & 0xffff_ffff });
            let range = Cidr::around(address, length % (family.bits() + 1)).expect("a length");
            prop_assert_eq!(range.to_string().parse(), Ok(range));
            prop_assert!(range.contains(address) && range.contains(range.last_address()));
            prop_assert_eq!(range.index_of(&range), Some(0));
        }
    }
}

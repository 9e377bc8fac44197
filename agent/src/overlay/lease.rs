//! What one machine has leased: flannel's key and JSON, read and written.
//!
//! One member is ours: `Machine`, the machine's id. flannel passes over it; it tells two machines
//! with one public address apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cidr::{Cidr, Family};
use super::mac::Mac;
use super::wire::PublicKey;

/// The subnets of one machine: of one family or of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subnets {
    #[serde(default)]
    pub v4: Option<Cidr>,
    #[serde(default)]
    pub v6: Option<Cidr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub subnets: Subnets,
    pub public_v4: Option<Ipv4Addr>,
    pub public_v6: Option<Ipv6Addr>,
    /// flannel's word, whether we know it or not.
    pub backend: String,
    pub v4: TunnelEnd,
    pub v6: TunnelEnd,
    /// Not of machines that run flannel, nor in reservations.
    pub machine: Option<String>,
}

/// What a backend tells of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TunnelEnd {
    /// Of vxlan.
    pub vni: Option<u32>,
    pub mac: Option<Mac>,
    /// Of wireguard.
    pub key: Option<PublicKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("the key is not a subnet such as 10.5.3.0-24")]
    Key,
    #[error("the value is not a lease: {0}")]
    Value(String),
}

/// As flannel writes it, in its order.
#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "PublicIP", default)]
    public_v4: Option<Ipv4Addr>,
    #[serde(rename = "PublicIPv6", default)]
    public_v6: Option<Ipv6Addr>,
    #[serde(rename = "BackendType", default)]
    backend: String,
    #[serde(
        rename = "BackendData",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    v4: Option<Value>,
    #[serde(
        rename = "BackendV6Data",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    v6: Option<Value>,
    #[serde(rename = "Machine", default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
}

impl Subnets {
    pub fn of(&self, family: Family) -> Option<Cidr> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// The key below `PREFIX/subnets/`.
    pub fn to_key(self) -> String {
        let v4 = self.v4.map_or("0.0.0.0-0".to_string(), |v4| v4.to_key());
        match self.v6 {
            Some(v6) => format!("{v4}&{}", v6.to_key()),
            None => v4,
        }
    }

    pub fn parse_key(key: &str) -> Result<Subnets, Wrong> {
        let subnet = |text: &str, family: Family| {
            let (address, length) = text.split_once('-').ok_or(Wrong::Key)?;
            let subnet: Cidr = format!("{address}/{length}")
                .parse()
                .map_err(|_| Wrong::Key)?;
            match subnet.family() == family {
                true => Ok(subnet),
                false => Err(Wrong::Key),
            }
        };
        let (v4, v6) = match key.split_once('&') {
            Some((v4, v6)) => (v4, Some(subnet(v6, Family::V6)?)),
            None => (key, None),
        };
        let v4 = Some(subnet(v4, Family::V4)?).filter(|v4| v4.length() > 0);
        match v4.is_some() || v6.is_some() {
            true => Ok(Subnets { v4, v6 }),
            false => Err(Wrong::Key),
        }
    }

    pub fn overlaps(&self, other: &Subnets) -> bool {
        let both = |own: Option<Cidr>, other: Option<Cidr>| {
            own.zip(other)
                .is_some_and(|(own, other)| own.overlaps(&other))
        };
        both(self.v4, other.v4) || both(self.v6, other.v6)
    }
}

impl std::fmt::Display for Subnets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.v4, self.v6) {
            (Some(v4), Some(v6)) => write!(f, "{v4} and {v6}"),
            (Some(one), None) | (None, Some(one)) => write!(f, "{one}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}

impl TunnelEnd {
    fn read(value: Option<Value>) -> Result<TunnelEnd, Wrong> {
        let Some(Value::Object(map)) = value else {
            // flannel writes null, or an empty text, where a backend has nothing to tell.
            return Ok(TunnelEnd::default());
        };
        let vni = map.get("VNI").and_then(Value::as_u64);
        let mac = match map.get("VtepMAC").and_then(Value::as_str) {
            Some(text) => Some(
                text.parse::<Mac>()
                    .map_err(|w| Wrong::Value(w.to_string()))?,
            ),
            None => None,
        };
        let key = match map.get("PublicKey").and_then(Value::as_str) {
            Some(text) => {
                let key = text.parse::<PublicKey>();
                Some(key.map_err(|wrong| Wrong::Value(format!("{text:?} is {wrong}")))?)
            }
            None => None,
        };
        Ok(TunnelEnd {
            vni: vni.and_then(|vni| u32::try_from(vni).ok()),
            mac,
            key,
        })
    }

    fn write(self) -> Option<Value> {
        if let Some(key) = self.key {
            return Some(json!({ "PublicKey": key }));
        }
        let (vni, mac) = (self.vni?, self.mac?);
        Some(json!({"VNI": vni, "VtepMAC": mac}))
    }
}

impl Lease {
    pub fn public(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.public_v4.map(IpAddr::V4),
            Family::V6 => self.public_v6.map(IpAddr::V6),
        }
    }

    pub fn end(&self, family: Family) -> TunnelEnd {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    pub fn shares_address(&self, other: &Lease) -> bool {
        let same = |family| {
            let address = self.public(family);
            address.is_some() && address == other.public(family)
        };
        same(Family::V4) || same(Family::V6)
    }

    /// `key` is what is behind `PREFIX/subnets/`.
    pub fn parse(key: &str, value: &[u8]) -> Result<Lease, Wrong> {
        let subnets = Subnets::parse_key(key)?;
        let wire: Wire =
            serde_json::from_slice(value).map_err(|error| Wrong::Value(error.to_string()))?;
        Ok(Lease {
            subnets,
            // flannel's way to say that there is none.
            public_v4: wire.public_v4.filter(|address| !address.is_unspecified()),
            public_v6: wire.public_v6.filter(|address| !address.is_unspecified()),
            backend: wire.backend,
            v4: TunnelEnd::read(wire.v4)?,
            v6: TunnelEnd::read(wire.v6)?,
            machine: wire.machine,
        })
    }

    pub fn to_json(&self) -> Vec<u8> {
        let wire = Wire {
            // flannel cannot read a lease without one.
            public_v4: Some(self.public_v4.unwrap_or(Ipv4Addr::UNSPECIFIED)),
            public_v6: self.public_v6,
            backend: self.backend.clone(),
            v4: self.v4.write(),
            v6: self.v6.write(),
            machine: self.machine.clone(),
        };
        // A type of ours, whose serialisation cannot fail.
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnets(v4: &str, v6: Option<&str>) -> Subnets {
        Subnets {
            v4: (!v4.is_empty()).then(|| v4.parse().expect(v4)),
            v6: v6.map(|v6| v6.parse().expect(v6)),
        }
    }

    #[test]
    fn keys_are_flannels() {
        let cases = [
            ("10.5.3.0-24", subnets("10.5.3.0/24", None)),
            (
                "10.5.3.0-24&fd00:5:0:3::-64",
                subnets("10.5.3.0/24", Some("fd00:5:0:3::/64")),
            ),
            (
                "0.0.0.0-0&fd00:5:0:3::-64",
                subnets("", Some("fd00:5:0:3::/64")),
            ),
        ];
        for (key, expected) in cases {
            assert_eq!(Subnets::parse_key(key), Ok(expected), "{key}");
            assert_eq!(expected.to_key(), key);
        }
        for key in [
            "",
            "0.0.0.0-0",
            "10.5.3.0",
            "10.5.3.1-24",
            "10.5.3.0/24",
            "fd00::-64",
            "10.5.3.0-24&10.5.4.0-24",
            "10.5.3.0-24&",
            "10.5.3.0-24&fd00::-64&fd00:1::-64",
        ] {
            assert_eq!(Subnets::parse_key(key), Err(Wrong::Key), "{key}");
        }
    }

    /// Written by hand from the reference: flannel's own order and members.
    const FLANNELS: &str = r#"{"PublicIP":"192.168.7.11","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"ea:31:8d:00:fb:02"}}"#;

    #[test]
    fn a_lease_of_flannel_is_understood() {
        let lease = Lease::parse("10.5.3.0-24", FLANNELS.as_bytes()).expect("a lease");
        assert_eq!(lease.public(Family::V4), "192.168.7.11".parse().ok());
        assert_eq!(lease.public(Family::V6), None);
        assert_eq!(lease.end(Family::V4).vni, Some(1));
        assert_eq!(lease.v4.mac, "ea:31:8d:00:fb:02".parse().ok());
        assert_eq!(lease.v6, TunnelEnd::default());
        assert_eq!(
            (lease.backend.as_str(), lease.machine.as_deref()),
            ("vxlan", None)
        );
        let old = r#"{"PublicIP":"10.0.0.1","BackendType":"host-gw","BackendData":null}"#;
        let old = Lease::parse("10.5.4.0-24", old.as_bytes()).expect("a lease");
        assert_eq!(old.v4, TunnelEnd::default());
    }

    #[test]
    fn what_we_write_is_what_flannel_writes_and_the_machine() {
        let mut lease = Lease::parse("10.5.3.0-24", FLANNELS.as_bytes()).expect("a lease");
        let text = |lease: &Lease| String::from_utf8(lease.to_json()).expect("text");
        assert_eq!(text(&lease), FLANNELS);
        lease.machine = Some("m1".to_string());
        let whole = FLANNELS.strip_suffix('}').expect("an object");
        assert_eq!(text(&lease), format!("{whole},\"Machine\":\"m1\"}}"));
    }

    /// Written by hand: as flannel does in a network of both families.
    const WIRED: &str = r#"{"PublicIP":"192.168.7.11","PublicIPv6":"fd01::11","BackendType":"wireguard","BackendData":{"PublicKey":"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="},"BackendV6Data":{"PublicKey":"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="}}"#;

    #[test]
    fn a_lease_of_wireguard_is_read_and_written_as_flannels() {
        let key = "10.5.3.0-24&fd00:5:0:3::-64";
        let lease = Lease::parse(key, WIRED.as_bytes()).expect("a lease");
        let public = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=".parse().ok();
        assert_eq!((lease.v4.key, lease.v6.key), (public, public));
        assert_eq!(lease.to_json(), WIRED.as_bytes());
        let ipip = r#"{"PublicIP":"192.168.7.11","PublicIPv6":null,"BackendType":"ipip"}"#;
        let lease = Lease::parse("10.5.3.0-24", ipip.as_bytes()).expect("a lease");
        assert_eq!(lease.to_json(), ipip.as_bytes());
    }

    #[test]
    fn what_is_no_lease_says_why() {
        let cases = [
            ("", "the value is not a lease: EOF while parsing"),
            (
                r#"{"PublicIP":"300.1.1.1"}"#,
                "the value is not a lease: invalid IPv4",
            ),
            (
                r#"{"PublicIP":"10.0.0.1","BackendData":{"VtepMAC":"x"}}"#,
                "the value is not a lease: \"x\" is not a hardware address",
            ),
            (
                r#"{"PublicIP":"10.0.0.1","BackendData":{"PublicKey":"x"}}"#,
                "the value is not a lease: \"x\" is not a key of wireguard",
            ),
        ];
        for (value, expected) in cases {
            let wrong = Lease::parse("10.5.3.0-24", value.as_bytes()).expect_err(value);
            assert!(wrong.to_string().starts_with(expected), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_lease_is_read_as_it_is_written(
            index in 1u128..255, public: [u8; 4], v6: bool, mac: [u8; 6], vni in 1u32..99,
        ) {
            let network: Cidr = "10.5.0.0/16".parse().expect("network");
            let network6: Cidr = "fd00::/48".parse().expect("network");
            let mac = Mac([mac[0] & 0xfc | 2, mac[1], mac[2], mac[3], mac[4], mac[5]]);
            let end = TunnelEnd { vni: Some(vni), mac: Some(mac), key: None };
            let lease = Lease {
                subnets: Subnets {
                    v4: network.nth(24, index),
                    v6: if v6 { network6.nth(64, index) } else { None },
                },
                public_v4: Some(Ipv4Addr::from(public)).filter(|a| !a.is_unspecified()),
                public_v6: v6.then_some(Ipv6Addr::LOCALHOST),
                backend: "vxlan".to_string(),
                v4: end,
                v6: if v6 { end } else { TunnelEnd::default() },
                machine: Some("m".to_string()),
            };
            let read = Lease::parse(&lease.subnets.to_key(), &lease.to_json());
            prop_assert_eq!(read, Ok(lease));
        }
    }
}

//! Hardware addresses of the tunnel's devices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cidr::Family;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a hardware address of one station")]
pub struct Wrong(String);

impl Mac {
    /// The same one at each start: peers keep what they know of a machine that restarts.
    pub fn of_machine(machine: &str, vni: u32, family: Family) -> Mac {
        let digest = Sha256::digest(format!("strake overlay {machine} {vni} {family}"));
        let mut bytes = [0; 6];
        bytes.copy_from_slice(&digest[..6]);
        // Administered here, and of one station.
        bytes[0] = bytes[0] & 0xfc | 0x02;
        Mac(bytes)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Mac, Wrong> {
        let wrong = || Wrong(text.to_string());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(wrong)?;
            let is_hex = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(part, 16)
                .ok()
                .filter(|_| is_hex)
                .ok_or_else(wrong)?;
        }
        // A group's address, or none at all, would reach nobody or everybody.
        match parts.next().is_some() || bytes[0] & 1 == 1 || bytes == [0; 6] {
            true => Err(wrong()),
            false => Ok(Mac(bytes)),
        }
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = Wrong;

    fn try_from(text: String) -> Result<Mac, Wrong> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_one_address_in_each_network_and_family() {
        let of = |machine, vni, family| Mac::of_machine(machine, vni, family);
        let one = of("m1", 1, Family::V4);
        assert_eq!(one, of("m1", 1, Family::V4));
        for other in [
            of("m2", 1, Family::V4),
            of("m1", 2, Family::V4),
            of("m1", 1, Family::V6),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(one.0[0] & 3, 2, "local, of one station");
        assert_eq!(one.to_string().parse(), Ok(one));
    }

    #[test]
    fn what_is_no_station_is_refused() {
        let upper: Mac = "0A:1b:2C:3d:4E:5f".parse().expect("either case");
        assert_eq!(upper.to_string(), "0a:1b:2c:3d:4e:5f");
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:00:00",
            "2:0:0:0:0:1",
            "+2:00:00:00:00:01",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
            "02-00-00-00-00-01",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}

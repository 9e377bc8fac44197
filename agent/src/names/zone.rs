//! All names of the cluster: pure.
//!
//! | unit | names below `CLUSTER.strake` |
//! |---|---|
//! | `web.service`, `web.container` | `web` |
//! | `web@1.service` | `1.web`, and `web` beside all other instances |
//!
//! Capitals become small, `\x2d` what it stands for, and every other character than letters, digits
//! and `-` becomes `-`. Units whose names become the same share it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::place::Places;
use crate::scheduler::name::UnitName;

const TOP: &str = "strake";
const LONGEST_LABEL: usize = 63;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    domain: Vec<Vec<u8>>,
    /// By the labels before the domain.
    names: BTreeMap<Vec<Vec<u8>>, BTreeSet<IpAddr>>,
    /// The nearest name of each unit at an address, whole.
    reverse: BTreeMap<IpAddr, BTreeSet<Vec<Vec<u8>>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'z> {
    /// Maybe none.
    Addresses(&'z BTreeSet<IpAddr>),
    /// Asked by an address: who is there.
    Names(&'z BTreeSet<Vec<Vec<u8>>>),
    NoSuchName,
    /// The name is not of the cluster.
    Elsewhere,
}

pub fn domain(cluster: &str) -> String {
    format!("{}.{TOP}", cluster.to_ascii_lowercase())
}

fn split(name: &str) -> Vec<Vec<u8>> {
    name.split('.')
        .map(|label| label.as_bytes().to_vec())
        .collect()
}

/// None for a unit that has no name here: of another type, a template, or nothing of it fits.
pub fn names(unit: &UnitName) -> Vec<String> {
    if unit.is_template() || !["service", "container"].contains(&unit.unit_type()) {
        return Vec::new();
    }
    let Some(prefix) = label(unit.prefix()) else {
        return Vec::new();
    };
    match unit.instance() {
        None => vec![prefix],
        Some(instance) => {
            let own = label(instance).map(|instance| format!("{instance}.{prefix}"));
            own.into_iter().chain([prefix.clone()]).collect()
        }
    }
}

/// As systemd escapes: `\x2d` is one character.
fn unescaped(text: &str) -> String {
    let mut found = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        found += before;
        let code = after
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(code) => found.push(char::from(code)),
            None => found += "\\x",
        }
        rest = if code.is_some() { &after[2..] } else { after };
    }
    found + rest
}

fn label(text: &str) -> Option<String> {
    let plain = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_lowercase(),
        false => '-',
    };
    let label: String = unescaped(text).chars().map(plain).collect();
    let label = label.trim_matches('-');
    (1..=LONGEST_LABEL)
        .contains(&label.len())
        .then(|| label.to_string())
}

impl Zone {
    pub fn new<'p>(cluster: &str, machines: impl IntoIterator<Item = &'p Places>) -> Zone {
        let mut all: BTreeMap<Vec<Vec<u8>>, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut reverse: BTreeMap<IpAddr, BTreeSet<Vec<Vec<u8>>>> = BTreeMap::new();
        let domain = split(&domain(cluster));
        for places in machines {
            for (unit, addresses) in &places.units {
                let names = names(unit);
                if let Some(nearest) = names.first() {
                    let whole = [split(nearest), domain.clone()].concat();
                    for address in addresses {
                        let there = reverse.entry(*address).or_default();
                        there.insert(whole.clone());
                    }
                }
                for name in names {
                    all.entry(split(&name)).or_default().extend(addresses);
                }
            }
        }
        // The domain itself is a name without an address.
        all.entry(Vec::new()).or_default();
        Zone {
            domain,
            names: all,
            reverse,
        }
    }

    /// How many labels name the zone.
    pub fn depth(&self) -> usize {
        self.domain.len()
    }

    /// The labels are in lower case.
    pub fn find(&self, labels: &[Vec<u8>]) -> Found<'_> {
        let Some(own) = labels.strip_suffix(&self.domain[..]) else {
            let there = asked_address(labels).and_then(|address| self.reverse.get(&address));
            return there.map_or(Found::Elsewhere, Found::Names);
        };
        match self.names.get(own) {
            Some(addresses) => Found::Addresses(addresses),
            None => Found::NoSuchName,
        }
    }
}

/// Of a name such as `4.3.5.10.in-addr.arpa`.
fn asked_address(labels: &[Vec<u8>]) -> Option<IpAddr> {
    let (rest, top) = labels.split_last_chunk::<2>()?;
    let number = |label: &Vec<u8>, radix| {
        let number = u8::from_str_radix(str::from_utf8(label).ok()?, radix).ok()?;
        // Only as it is usually written.
        let text = match radix {
            16 => format!("{number:x}"),
            _ => number.to_string(),
        };
        (text.as_bytes() == label).then_some(number)
    };
    let top = [top[0].as_slice(), top[1].as_slice()];
    if top == [&b"in-addr"[..], b"arpa"] {
        let bytes: Option<Vec<u8>> = rest.iter().rev().map(|one| number(one, 10)).collect();
        let bytes: [u8; 4] = bytes?.try_into().ok()?;
        return Some(bytes.into());
    }
    if top != [&b"ip6"[..], b"arpa"] {
        return None;
    }
    let digits: Option<Vec<u8>> = rest.iter().rev().map(|one| number(one, 16)).collect();
    let digits: [u8; 32] = digits?.try_into().ok()?;
    let all = digits.iter().try_fold(0_u128, |all, digit| {
        (*digit < 16).then(|| all << 4 | u128::from(*digit))
    });
    Some(IpAddr::V6(all?.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone() -> Zone {
        let places = |units: &[(&str, &[&str])]| Places {
            units: units
                .iter()
                .map(|(name, at)| {
                    let at = at.iter().map(|one| one.parse().expect(one)).collect();
                    (name.parse().expect(name), at)
                })
                .collect(),
        };
        let one = places(&[
            ("web@1.container", &["10.5.3.2"]),
            ("web@3.container", &[]),
            ("db.service", &["10.5.3.0", "fd00:5:0:3::"]),
        ]);
        let two = places(&[("web@2.container", &["10.5.4.2"]), ("down.service", &[])]);
        Zone::new("Lab", [&one, &two])
    }

    #[track_caller]
    fn check(name: &str, expected: Option<&[&str]>) {
        let zone = zone();
        let expected = expected.map(|all| all.iter().map(|one| one.parse().expect(one)).collect());
        match (zone.find(&split(name)), expected) {
            (Found::Addresses(found), Some(expected)) => assert_eq!(*found, expected, "{name}"),
            (Found::NoSuchName, None) => {}
            (found, expected) => panic!("{name}: {found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn names_of_the_cluster_have_the_addresses_of_what_runs() {
        check("web.lab.strake", Some(&["10.5.3.2", "10.5.4.2"]));
        check("2.web.lab.strake", Some(&["10.5.4.2"]));
        check("3.web.lab.strake", Some(&[]));
        check("db.lab.strake", Some(&["10.5.3.0", "fd00:5:0:3::"]));
        check("down.lab.strake", Some(&[]));
        check("lab.strake", Some(&[]));
        check("4.web.lab.strake", None);
        check("x.db.lab.strake", None);
        for name in [
            "strake",
            "web.other.strake",
            "lab.strake.com",
            "weblab.strake",
            "xlab.strake",
        ] {
            assert_eq!(zone().find(&split(name)), Found::Elsewhere, "{name}");
        }
        assert_eq!(zone().find(&[]), Found::Elsewhere, "the root");
    }

    #[test]
    fn an_address_has_the_nearest_names_of_what_is_there() {
        let zone = zone();
        let cases: [(&str, Option<&[&str]>); 7] = [
            ("2.3.5.10.in-addr.arpa", Some(&["1.web.lab.strake"])),
            ("0.3.5.10.in-addr.arpa", Some(&["db.lab.strake"])),
            ("9.3.5.10.in-addr.arpa", None),
            ("02.3.5.10.in-addr.arpa", None),
            ("3.5.10.in-addr.arpa", None),
            ("300.3.5.10.in-addr.arpa", None),
            ("in-addr.arpa", None),
        ];
        for (asked, expected) in cases {
            let found = match zone.find(&split(asked)) {
                Found::Names(all) => {
                    let text =
                        |name: &Vec<Vec<u8>>| String::from_utf8(name.join(&b'.')).expect("text");
                    Some(all.iter().map(text).collect::<Vec<_>>())
                }
                Found::Elsewhere => None,
                other => panic!("{asked}: {other:?}"),
            };
            let expected = expected.map(|all| all.iter().map(|one| one.to_string()).collect());
            assert_eq!(found, expected, "{asked}");
        }
        let digits = "fd0000050000000300000000000000000"
            .get(..32)
            .expect("digits");
        let asked: Vec<String> = digits.chars().rev().map(|one| one.to_string()).collect();
        let asked = format!("{}.ip6.arpa", asked.join("."));
        let found = asked_address(&split(&asked));
        assert_eq!(found, "fd00:5:0:3::".parse().ok());
        assert!(matches!(zone.find(&split(&asked)), Found::Names(_)));
    }

    #[test]
    fn units_have_names_that_hosts_may_have() {
        let cases: [(&str, &[&str]); 10] = [
            ("web.service", &["web"]),
            ("Web_API.v2.container", &["web-api-v2"]),
            ("web@blue.service", &["blue.web", "web"]),
            ("web@a@b.service", &["a-b.web", "web"]),
            ("a\\x2db\\x.service", &["a-b-x"]),
            ("web@_.service", &["web"]),
            ("web@.service", &[]),
            ("web.socket", &[]),
            ("_.service", &[]),
            (&format!("{}.service", "a".repeat(64)), &[]),
        ];
        for (unit, expected) in cases {
            assert_eq!(names(&unit.parse().expect(unit)), expected, "{unit}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_one_of_a_host(text in "[a-zA-Z0-9:_.\\\\@x-]{1,80}\\.(service|container)") {
            let Ok(unit) = text.parse::<UnitName>() else { return Ok(()) };
            for name in names(&unit) {
                for label in name.split('.') {
                    prop_assert!((1..=63).contains(&label.len()), "{}", name);
                    prop_assert!(!label.starts_with('-') && !label.ends_with('-'), "{}", name);
                    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                    prop_assert!(label.chars().all(plain), "{}", name);
                }
            }
        }
    }
}

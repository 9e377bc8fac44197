//! The network's settings: flannel's JSON under `PREFIX/config`. All problems are found at once;
//! what is only strange becomes a note.

use std::net::IpAddr;

use serde_json::{Map, Value};

pub use super::backend::{Backend, Ipip, Mode, Vxlan, Wireguard};
use super::cidr::{Cidr, Family, Wrong};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub v4: Option<Ranges>,
    pub v6: Option<Ranges>,
    pub backend: Backend,
    /// What is strange and not wrong.
    pub notes: Vec<String>,
}

/// One family's network and what may be given out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranges {
    pub network: Cidr,
    pub first: Cidr,
    pub last: Cidr,
}

impl Ranges {
    pub fn length(&self) -> u8 {
        self.first.length()
    }

    /// How many subnets there are to give, less one.
    pub fn most(&self) -> u128 {
        let index = |subnet| self.network.index_of(subnet).unwrap_or(0);
        index(&self.last).saturating_sub(index(&self.first))
    }

    /// Whether a subnet is one of those to give.
    pub fn may_give(&self, subnet: &Cidr) -> bool {
        subnet.length() == self.length()
            && self.network.covers(subnet)
            && (self.first..=self.last).contains(subnet)
    }
}

impl Config {
    pub fn ranges(&self, family: Family) -> Option<&Ranges> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    pub fn families(&self) -> impl Iterator<Item = (Family, &Ranges)> {
        let each = [Family::V4, Family::V6].into_iter();
        each.filter_map(|family| Some((family, self.ranges(family)?)))
    }

    pub fn networks(&self) -> Vec<Cidr> {
        self.families().map(|(_, ranges)| ranges.network).collect()
    }

    pub fn parse(text: &[u8]) -> Result<Config, Problems> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| Problems(vec![format!("it is not JSON: {error}")]))?;
        let mut reader = Reader::default();
        let config = reader.config(&value);
        match config {
            Some(mut config) if reader.problems.is_empty() => {
                config.notes = reader.notes;
                Ok(config)
            }
            _ => Err(Problems(reader.problems)),
        }
    }
}

/// Everything that is wrong with a config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Problems(pub Vec<String>);

const KEYS: [&str; 12] = [
    "EnableIPv4",
    "EnableIPv6",
    "EnableNFTables",
    "Network",
    "IPv6Network",
    "SubnetLen",
    "SubnetMin",
    "SubnetMax",
    "IPv6SubnetLen",
    "IPv6SubnetMin",
    "IPv6SubnetMax",
    "Backend",
];
/// Rules of one family.
struct Rules {
    family: Family,
    network: &'static str,
    length: &'static str,
    first: &'static str,
    last: &'static str,
    longest_network: u8,
    longest_subnet: u8,
    usual_subnet: u8,
    usual_up_to: u8,
}

const RULES: [Rules; 2] = [
    Rules {
        family: Family::V4,
        network: "Network",
        length: "SubnetLen",
        first: "SubnetMin",
        last: "SubnetMax",
        longest_network: 28,
        longest_subnet: 30,
        usual_subnet: 24,
        usual_up_to: 22,
    },
    Rules {
        family: Family::V6,
        network: "IPv6Network",
        length: "IPv6SubnetLen",
        first: "IPv6SubnetMin",
        last: "IPv6SubnetMax",
        longest_network: 124,
        longest_subnet: 126,
        usual_subnet: 64,
        usual_up_to: 62,
    },
];

/// Collects what is wrong and what is strange.
#[derive(Debug, Default)]
pub(super) struct Reader {
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Reader {
    pub(super) fn wrong(&mut self, problem: String) {
        self.problems.push(problem);
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn config(&mut self, value: &Value) -> Option<Config> {
        let Some(map) = value.as_object() else {
            self.wrong("it is not a JSON object".to_string());
            return None;
        };
        self.unknown("", map, &KEYS);
        self.flag(map, "EnableNFTables");
        let v4 = self.flag(map, "EnableIPv4").unwrap_or(true);
        let v6 = self.flag(map, "EnableIPv6").unwrap_or_default();
        if !v4 && !v6 {
            self.wrong("neither EnableIPv4 nor EnableIPv6 is on".to_string());
        }
        let [rules4, rules6] = &RULES;
        let v4 = v4.then(|| self.ranges(map, rules4));
        let v6 = v6.then(|| self.ranges(map, rules6));
        let backend = self.backend(map)?;
        if v6.is_some() && matches!(backend, Backend::Ipip(_)) {
            self.wrong("Backend ipip carries IPv4 only: EnableIPv6 cannot be on".to_string());
        }
        Some(Config {
            v4: v4.flatten(),
            v6: v6.flatten(),
            backend,
            notes: Vec::new(),
        })
    }

    pub(super) fn unknown(&mut self, within: &str, map: &Map<String, Value>, known: &[&str]) {
        for key in map.keys() {
            if !known.iter().any(|name| name.eq_ignore_ascii_case(key)) {
                self.notes.push(format!("{within}{key} is not known"));
            }
        }
    }

    fn ranges(&mut self, map: &Map<String, Value>, rules: &Rules) -> Option<Ranges> {
        let network = self.network(map, rules)?;
        let cut = self.length(map, rules, network)?;
        let first = network.nth(cut, 1);
        let last = network.nth(cut, network.highest(cut));
        let first = self.end(map, rules.first, network, cut, first)?;
        let last = self.end(map, rules.last, network, cut, last)?;
        if first > last {
            let (low, high) = (rules.first, rules.last);
            self.wrong(format!(
                "{low} {} comes after {high} {}",
                first.address(),
                last.address()
            ));
            return None;
        }
        Some(Ranges {
            network,
            first,
            last,
        })
    }

    fn network(&mut self, map: &Map<String, Value>, rules: &Rules) -> Option<Cidr> {
        let (key, family) = (rules.network, rules.family);
        let Some(value) = find(map, key) else {
            self.wrong(format!("{key} is missing"));
            return None;
        };
        let Some(text) = value.as_str() else {
            self.wrong(format!(
                "{key} is {value}, not a text such as \"10.5.0.0/16\""
            ));
            return None;
        };
        let network: Cidr = match text.parse() {
            Ok(network) => network,
            Err(wrong) => {
                let hint = match &wrong {
                    Wrong::Unaligned { first, length, .. } => format!(" (meant {first}/{length}?)"),
                    _ => String::new(),
                };
                self.wrong(format!("{key}: {wrong}{hint}"));
                return None;
            }
        };
        if network.family() != family {
            self.wrong(format!("{key} {network} is not {family}"));
            return None;
        }
        if network.length() > rules.longest_network {
            let longest = rules.longest_network;
            self.wrong(format!(
                "{key} {network} is too small: it may be /{longest} at most"
            ));
            return None;
        }
        Some(network)
    }

    fn length(&mut self, map: &Map<String, Value>, rules: &Rules, network: Cidr) -> Option<u8> {
        let least = network.length() + 2;
        let usual = match network.length() <= rules.usual_up_to {
            true => rules.usual_subnet,
            false => least,
        };
        let most = rules.longest_subnet;
        let range = i64::from(least)..=i64::from(most);
        let length = self.integer(map, "", rules.length, range, "")?;
        Some(length.map_or(usual, |length| length as u8))
    }

    /// The first or the last subnet to give.
    fn end(
        &mut self,
        map: &Map<String, Value>,
        key: &str,
        network: Cidr,
        length: u8,
        usual: Option<Cidr>,
    ) -> Option<Cidr> {
        let Some(value) = find(map, key).filter(|value| *value != "") else {
            return usual;
        };
        let address: Option<IpAddr> = value.as_str().and_then(|text| text.parse().ok());
        let Some(address) = address else {
            self.wrong(format!("{key} is {value}, not an address in quotes"));
            return None;
        };
        if !network.contains(address) {
            self.wrong(format!("{key} {address} is not within {network}"));
            return None;
        }
        match Cidr::new(address, length) {
            Ok(subnet) => Some(subnet),
            Err(wrong) => {
                self.wrong(format!("{key}: {wrong}"));
                None
            }
        }
    }

    pub(super) fn flag(&mut self, map: &Map<String, Value>, key: &str) -> Option<bool> {
        let value = find(map, key)?;
        if !value.is_boolean() {
            self.wrong(format!("{key} is {value}, not true or false"));
        }
        value.as_bool()
    }

    /// Nothing at all when there is one and it is wrong.
    pub(super) fn integer(
        &mut self,
        map: &Map<String, Value>,
        within: &str,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
        more: &str,
    ) -> Option<Option<i64>> {
        let Some(value) = find(map, key) else {
            return Some(None);
        };
        match value.as_i64().filter(|number| range.contains(number)) {
            Some(number) => Some(Some(number)),
            None => {
                let (low, high) = range.into_inner();
                self.wrong(format!(
                    "{within}{key} is {value}, not a whole number from {low} to {high}{more}"
                ));
                None
            }
        }
    }
}

/// Names count whatever their case is: flannel's own reader takes them so.
pub(super) fn find<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).or_else(|| {
        let mut pairs = map.iter();
        pairs
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

//! Several networks on one machine: which is which, what each one's things are called, and what
//! they may not share. Pure.
//!
//! The network without a name is `default` where one is needed. The others lie at `PREFIX/NAME` in
//! the store, in the same form, as flannel's own networks with names did.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cidr::Cidr;
use super::config::{Backend, Config};

pub const DEFAULT: &str = "default";
/// With three more letters it is a device's name, which has at most fifteen.
const LONGEST: usize = 12;
/// Names of docker's own, and of keys below the prefix.
const RESERVED: [&str; 6] = [DEFAULT, "bridge", "host", "none", "config", "subnets"];
pub const MOST: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error(
        "{0:?} is no name of a network: 1 to {LONGEST} small letters, digits and hyphens, none of \
         these at its ends"
    )]
    Form(String),
    #[error(
        "{0:?} is a name that is taken, as default, bridge, host, none, config and subnets are"
    )]
    Reserved(String),
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Name, BadName> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=LONGEST).contains(&text.len()) && text.chars().all(plain);
        if !fits || text.starts_with('-') || text.ends_with('-') {
            return Err(BadName::Form(text.to_string()));
        }
        if RESERVED.contains(&text) {
            return Err(BadName::Reserved(text.to_string()));
        }
        Ok(Name(text.to_string()))
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Name, BadName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Which {
    #[default]
    Default,
    Named(Name),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Default => f.write_str(DEFAULT),
            Which::Named(name) => name.fmt(f),
        }
    }
}

impl FromStr for Which {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Which, BadName> {
        match text {
            DEFAULT => Ok(Which::Default),
            text => text.parse().map(Which::Named),
        }
    }
}

impl Which {
    fn among(&self, own: &str, of_named: impl Fn(&Name) -> String) -> String {
        match self {
            Which::Default => own.to_string(),
            Which::Named(name) => of_named(name),
        }
    }

    pub fn prefix(&self, prefix: &str) -> String {
        let prefix = prefix.trim_end_matches('/');
        self.among(prefix, |name| format!("{prefix}/{name}"))
    }

    pub fn record(&self) -> String {
        self.among(super::record::PATH, |name| {
            format!("/state/overlay/networks/{name}.json")
        })
    }

    pub fn status(&self) -> String {
        self.among(super::report::PATH, |name| {
            format!("{}/{name}.json", super::report::NAMED)
        })
    }

    /// Where flannel with several networks wrote it.
    pub fn subnet_file(&self, own: &str) -> String {
        self.among(own, |name| format!("/run/flannel/networks/{name}.env"))
    }

    pub fn bridge(&self) -> String {
        self.among("docker0", |name| format!("ov-{name}"))
    }

    /// CNI's name of it.
    pub fn in_cni(&self) -> String {
        self.among("strake", |name| format!("strake-{name}"))
    }

    /// containerd takes the first one for whatever names none.
    pub fn conflist(&self) -> String {
        self.among("/etc/cni/net.d/10-strake.conflist", |name| {
            format!("/etc/cni/net.d/20-strake-{name}.conflist")
        })
    }

    /// How lines in the journal begin.
    pub fn label(&self) -> String {
        self.among("overlay", |name| format!("overlay network {name}"))
    }
}

/// One of `strake.overlay.networks`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub name: String,
    /// flannel's JSON, written when the store has none.
    pub network: Option<Value>,
    /// Networks that this one exchanges packets with.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// Two networks, the lesser name first.
pub type Pair = (Which, Which);

/// The networks that can be, in their order, who may talk to whom, and what is wrong with the
/// rest, by the name it was given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Networks {
    pub all: Vec<(Name, Option<Value>)>,
    pub allowed: BTreeSet<Pair>,
    pub problems: Vec<(String, String)>,
}

pub fn pair(one: Which, other: Which) -> Pair {
    match one <= other {
        true => (one, other),
        false => (other, one),
    }
}

impl Networks {
    pub fn read(given: &[Named]) -> Networks {
        let mut found = Networks::default();
        for one in given {
            let problem = match one.name.parse::<Name>() {
                Err(wrong) => Some(wrong.to_string()),
                Ok(name) if found.all.iter().any(|(other, _)| *other == name) => {
                    Some("a network of this name was there already".to_string())
                }
                Ok(_) if found.all.len() == MOST => Some(format!("there are {MOST} already")),
                Ok(name) => {
                    found.all.push((name, one.network.clone()));
                    None
                }
            };
            found
                .problems
                .extend(problem.map(|text| (one.name.clone(), text)));
        }
        let known = |text: &str| match text {
            DEFAULT => Some(Which::Default),
            text => {
                let mut all = found.all.iter().map(|(name, _)| name);
                let name = all.find(|name| name.0 == text)?;
                Some(Which::Named(name.clone()))
            }
        };
        for one in given {
            let Some(own) = known(&one.name).filter(|own| *own != Which::Default) else {
                continue;
            };
            for other in &one.allow {
                match known(other) {
                    Some(other) => drop(found.allowed.insert(pair(own.clone(), other))),
                    None => {
                        let text = format!("it allows {other:?}, and there is no such network");
                        found.problems.push((one.name.clone(), text));
                    }
                }
            }
        }
        found
    }
}

/// Why two networks cannot be on one machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    #[error("its range {own} overlaps {other} of the network {of}")]
    Range { own: Cidr, other: Cidr, of: Which },
    #[error("its VNI {vni} is also that of the network {of}")]
    Vni { vni: u32, of: Which },
    #[error("its backend is {0}: a network with a name has vxlan or host-gw")]
    Backend(&'static str),
}

/// Of wireguard and ipip there is one device on a machine, which is the default network's.
pub fn possible(which: &Which, config: &Config) -> Result<(), Clash> {
    match (which, &config.backend) {
        (Which::Default, _) | (Which::Named(_), Backend::Vxlan(_) | Backend::HostGw) => Ok(()),
        (Which::Named(_), other) => Err(Clash::Backend(other.name())),
    }
}

fn vni(config: &Config) -> Option<u32> {
    match &config.backend {
        Backend::Vxlan(vxlan) => Some(vxlan.vni),
        _ => None,
    }
}

pub fn clash<'c>(
    config: &Config,
    others: impl IntoIterator<Item = (&'c Which, &'c Config)>,
) -> Option<Clash> {
    others.into_iter().find_map(|(of, other)| {
        if let Some(vni) = vni(config).filter(|own| vni(other) == Some(*own)) {
            return Some(Clash::Vni {
                vni,
                of: of.clone(),
            });
        }
        let (own, others) = (config.networks(), other.networks());
        own.into_iter().find_map(|own| {
            let mut others = others.iter();
            let other = others.find(|other| other.covers(&own) || own.covers(other))?;
            Some(Clash::Range {
                own,
                other: *other,
                of: of.clone(),
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, allow: &[&str]) -> Named {
        Named {
            name: name.to_string(),
            network: None,
            allow: allow.iter().map(|one| one.to_string()).collect(),
        }
    }

    #[test]
    fn names_are_those_of_hosts_and_devices() {
        for good in ["db", "a-1", "twelve-chars"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "Db", "a_b", "-a", "a-", "a.b", "thirteen-char", "größe"] {
            let error = bad.parse::<Name>().expect_err(bad).to_string();
            assert!(error.contains("1 to 12 small letters"), "{error}");
        }
        for taken in RESERVED {
            let error = taken.parse::<Name>().expect_err(taken).to_string();
            assert!(error.contains("is a name that is taken"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_with_one_network_leaves_the_others() {
        let given = [
            named("db", &["web", "default"]),
            named("web", &["db", "nobody"]),
            named("web", &[]),
            named("Bad", &["db"]),
        ];
        let found = Networks::read(&given);
        let names: Vec<String> = found.all.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["db", "web"]);
        let db = || Which::Named("db".parse().expect("name"));
        let web = || Which::Named("web".parse().expect("name"));
        let expected = [pair(Which::Default, db()), pair(web(), db())];
        assert_eq!(found.allowed, BTreeSet::from(expected));
        let problems: Vec<&str> = found.problems.iter().map(|(of, _)| of.as_str()).collect();
        assert_eq!(problems, ["web", "Bad", "web"]);
        assert!(
            found.problems[2].1.contains("\"nobody\""),
            "{:?}",
            found.problems
        );
        let many: Vec<Named> = (0..=MOST).map(|n| named(&format!("n{n}"), &[])).collect();
        let found = Networks::read(&many);
        assert_eq!((found.all.len(), found.problems.len()), (MOST, 1));
    }

    #[test]
    fn networks_share_neither_ranges_nor_numbers() {
        let config = |text: &str| Config::parse(text.as_bytes()).expect(text);
        let own = config(r#"{"Network":"10.5.0.0/16"}"#);
        let others = [(Which::Default, own)];
        let cases = [
            (
                r#"{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan","VNI":2}}"#,
                None,
            ),
            (
                r#"{"Network":"10.6.0.0/16","Backend":{"Type":"host-gw"}}"#,
                None,
            ),
            (
                r#"{"Network":"10.6.0.0/16"}"#,
                Some("its VNI 1 is also that of the network default"),
            ),
            (
                r#"{"Network":"10.5.128.0/17","Backend":{"Type":"vxlan","VNI":2}}"#,
                Some("its range 10.5.128.0/17 overlaps 10.5.0.0/16 of the network default"),
            ),
            (
                r#"{"Network":"10.0.0.0/8","Backend":{"Type":"host-gw"}}"#,
                Some("its range 10.0.0.0/8 overlaps 10.5.0.0/16 of the network default"),
            ),
        ];
        for (text, expected) in cases {
            let others = others.iter().map(|(which, config)| (which, config));
            let found = clash(&config(text), others).map(|clash| clash.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}

//! What is known of a machine: its identity, its metadata and its facts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Facts that move while the machine works.
pub const LIVE_FACTS: [&str; 5] = ["load1", "load5", "load15", "memory_free", "disk_free"];

/// 32 hex digits: the content of `/etc/machine-id`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineId(Arc<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a machine id is 1 to 64 lower-case letters, digits and hyphens")]
pub struct NoMachineId;

impl MachineId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As much of it as is shown to people, and as much as is enough to name it.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }

    /// The whole id or its first 8 characters.
    pub fn is_named(&self, text: &str) -> bool {
        text == self.as_str() || text == self.short()
    }
}

impl FromStr for MachineId {
    type Err = NoMachineId;

    fn from_str(text: &str) -> Result<MachineId, NoMachineId> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
            Ok(MachineId(text.into()))
        } else {
            Err(NoMachineId)
        }
    }
}

impl TryFrom<String> for MachineId {
    type Error = NoMachineId;

    fn try_from(text: String) -> Result<MachineId, NoMachineId> {
        text.parse()
    }
}

impl From<MachineId> for String {
    fn from(id: MachineId) -> String {
        id.0.to_string()
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    Number(f64),
    Text(String),
}

impl Fact {
    pub fn number(&self) -> Option<f64> {
        match self {
            Fact::Number(number) => Some(*number),
            Fact::Text(text) => text.parse().ok(),
        }
    }

    pub(super) fn is(&self, text: &str) -> bool {
        match self {
            Fact::Number(number) => super::condition::quantity(text) == Some(*number),
            Fact::Text(own) => own == text,
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Number(number) => write!(f, "{number}"),
            Fact::Text(text) => f.write_str(text),
        }
    }
}

/// Whether units may be put here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duty {
    #[default]
    Open,
    /// Nothing new, and what can run elsewhere goes there. Global units stay.
    Draining,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub id: MachineId,
    /// The address other machines reach it at; empty when none is known.
    pub address: String,
    /// Where it answers other machines, under its certificate of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    pub version: String,
    /// From the cloud-config, with what `strake machine tag` set over it.
    pub metadata: BTreeMap<String, String>,
    pub facts: BTreeMap<String, Fact>,
    #[serde(default)]
    pub duty: Duty,
}

impl Machine {
    pub fn new(id: MachineId) -> Machine {
        Machine {
            id,
            address: String::new(),
            peer: None,
            version: env!("CARGO_PKG_VERSION").to_string(),
            metadata: BTreeMap::new(),
            facts: BTreeMap::new(),
            duty: Duty::Open,
        }
    }

    #[cfg(test)]
    pub(crate) fn bare(id: &str) -> Machine {
        Machine::new(id.parse().expect("id"))
    }

    /// Metadata first: a user's word goes over what was found.
    pub fn fact(&self, name: &str) -> Option<Fact> {
        match self.metadata.get(name) {
            Some(text) => Some(Fact::Text(text.clone())),
            None => self.facts.get(name).cloned(),
        }
    }

    /// A fact that is an amount; unknown is nothing.
    pub fn amount(&self, name: &str) -> Option<u64> {
        match self.facts.get(name)? {
            Fact::Number(number) if *number >= 0.0 => Some(*number as u64),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_its_id_or_the_first_eight() {
        let id: MachineId = "0123456789abcdef0123456789abcdef".parse().expect("id");
        assert!(id.is_named("01234567") && id.is_named(id.as_str()));
        assert!(!id.is_named("0123456") && !id.is_named("012345678"));
        for wrong in ["", "UPPER", "a/b", &"a".repeat(65)] {
            assert_eq!(wrong.parse::<MachineId>(), Err(NoMachineId), "{wrong}");
        }
    }

    #[test]
    fn metadata_goes_over_facts() {
        let mut machine = Machine::bare("m");
        machine
            .facts
            .insert("arch".into(), Fact::Text("x86-64".into()));
        machine.facts.insert("cpus".into(), Fact::Number(8.0));
        machine.metadata.insert("arch".into(), "mine".into());
        assert_eq!(machine.fact("arch"), Some(Fact::Text("mine".into())));
        assert_eq!(machine.amount("cpus"), Some(8));
        assert_eq!(machine.amount("arch"), None);
    }
}

//! Who may talk to whom, and how badly.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A machine's number.
pub type Port = u8;

/// A cut through the network: frames pass only inside a group. Machines that are not named form
/// a group of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups(Vec<BTreeSet<Port>>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadGroups {
    #[error("{text:?} is not a machine's number (groups look like 1,2:3)")]
    Number { text: String },
    #[error("machine {port} is on both sides")]
    Twice { port: Port },
}

impl FromStr for Groups {
    type Err = BadGroups;

    fn from_str(text: &str) -> Result<Self, BadGroups> {
        let mut seen = BTreeSet::new();
        let mut groups = Vec::new();
        for group in text.split(':') {
            let mut members = BTreeSet::new();
            for number in group.split(',') {
                let port = number.trim().parse().ok().filter(|port| *port > 0);
                let port = port.ok_or_else(|| BadGroups::Number {
                    text: number.to_owned(),
                })?;
                if !seen.insert(port) {
                    return Err(BadGroups::Twice { port });
                }
                members.insert(port);
            }
            groups.push(members);
        }
        Ok(Self(groups))
    }
}

impl fmt::Display for Groups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |members: &BTreeSet<Port>| {
            members
                .iter()
                .map(u8::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        formatter.write_str(&self.0.iter().map(group).collect::<Vec<_>>().join(":"))
    }
}

impl Groups {
    fn of(&self, port: Port) -> Option<usize> {
        self.0.iter().position(|members| members.contains(&port))
    }
}

/// What happens to frames on the way from one port to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Frames lost, of a thousand.
    pub drop_per_mille: u16,
    /// Frames delivered twice, of a thousand.
    pub duplicate_per_mille: u16,
    pub delay: Duration,
    /// Larger frames vanish without a word; in bytes, Ethernet's header included.
    #[serde(default)]
    pub largest: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub struct Rules {
    groups: Option<Groups>,
    faults: BTreeMap<(Port, Port), Fault>,
}

impl Rules {
    pub fn partition(&mut self, groups: Groups) {
        self.groups = Some(groups);
    }

    pub fn fault(&mut self, from: Port, to: Port, fault: Fault) {
        self.faults.insert((from, to), fault);
    }

    /// Removes every fault and the partition.
    pub fn heal(&mut self) {
        *self = Self::default();
    }

    pub fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// `None` where no frame passes.
    pub(super) fn path(&self, from: Port, to: Port) -> Option<Fault> {
        let cut = self
            .groups
            .as_ref()
            .is_some_and(|groups| groups.of(from) != groups.of(to));
        (!cut).then(|| self.faults.get(&(from, to)).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_and_written_alike() {
        for text in ["1,2:3", "1:2:3", "4"] {
            assert_eq!(text.parse::<Groups>().unwrap().to_string(), text);
        }
        for (text, error) in [
            ("1,x:3", BadGroups::Number { text: "x".into() }),
            (
                "",
                BadGroups::Number {
                    text: String::new(),
                },
            ),
            ("0:1", BadGroups::Number { text: "0".into() }),
            ("1,2:2", BadGroups::Twice { port: 2 }),
        ] {
            assert_eq!(text.parse::<Groups>(), Err(error), "{text}");
        }
    }

    #[test]
    fn frames_pass_only_inside_a_group() {
        let mut rules = Rules::default();
        rules.partition("1,2:3".parse().unwrap());
        for (from, to, passes) in [
            (1, 2, true),
            (2, 1, true),
            (1, 3, false),
            (3, 2, false),
            (4, 5, true),
            (4, 1, false),
        ] {
            assert_eq!(rules.path(from, to).is_some(), passes, "{from} to {to}");
        }
        rules.heal();
        assert!(rules.path(1, 3).is_some());
    }

    #[test]
    fn a_fault_is_for_one_direction() {
        let mut rules = Rules::default();
        let fault = Fault {
            drop_per_mille: 1000,
            ..Fault::default()
        };
        rules.fault(1, 2, fault);
        assert_eq!(rules.path(1, 2), Some(fault));
        assert_eq!(rules.path(2, 1), Some(Fault::default()));
    }
}

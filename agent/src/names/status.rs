//! What is known of names: shown by `strake names`, and where a new start begins while the store is
//! silent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::place::Places;
use crate::apply::tree::Node;
use crate::apply::write::write_one;
use crate::root::Root;
use crate::scheduler::machine::MachineId;

pub const PATH: &str = "/run/strake/names.json";

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// What all names end in.
    pub domain: String,
    /// What each machine with a lease has told.
    pub machines: BTreeMap<MachineId, Places>,
    /// What is wrong now, by subject.
    pub problems: BTreeMap<String, String>,
}

impl Status {
    /// Nothing while the service has not written one since the boot.
    pub fn load(root: &Root) -> std::io::Result<Option<Status>> {
        let Some(text) = root.read_optional(PATH)? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_str(&text)?))
    }
}

#[derive(Debug)]
pub struct Report {
    root: Root,
    status: Status,
}

impl Report {
    pub fn new(root: Root, domain: String) -> Report {
        let before = Status::load(&root).ok().flatten();
        let machines = before.filter(|before| before.domain == domain);
        Report {
            root,
            status: Status {
                domain,
                machines: machines.map(|before| before.machines).unwrap_or_default(),
                problems: BTreeMap::new(),
            },
        }
    }

    pub fn machines(&self) -> &BTreeMap<MachineId, Places> {
        &self.status.machines
    }

    pub fn tell(&mut self, machines: BTreeMap<MachineId, Places>) {
        if machines != self.status.machines {
            self.status.machines = machines;
            self.write();
        }
    }

    /// Says it once, and once more when it is over.
    pub fn problem(&mut self, subject: &str, problem: Option<String>) {
        let problems = &mut self.status.problems;
        let is_news = match problem {
            Some(text) if problems.get(subject) == Some(&text) => false,
            Some(text) => {
                eprintln!("names: {subject}: {text}");
                problems.insert(subject.to_string(), text);
                true
            }
            None => {
                let was_there = problems.remove(subject).is_some();
                if was_there {
                    eprintln!("names: {subject}: well again");
                }
                was_there
            }
        };
        if is_news {
            self.write();
        }
    }

    /// A status that cannot be written is only a status less.
    fn write(&self) {
        // A type of ours, whose serialisation cannot fail.
        let text = serde_json::to_vec(&self.status).unwrap_or_default();
        if let Err(error) = write_one(&self.root, PATH, Node::text(text)) {
            eprintln!("names: writing {PATH}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_start_knows_what_the_last_one_knew_of_the_same_cluster() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = || Root::new(dir.path());
        let mut report = Report::new(root(), "lab.strake".to_string());
        let id: MachineId = "m1".parse().expect("id");
        let machines = BTreeMap::from([(id, Places::default())]);
        report.tell(machines.clone());
        report.problem("store", Some("silent".to_string()));
        let status = Status::load(&root()).expect("read").expect("there is one");
        assert_eq!(status.problems["store"], "silent");
        let report = Report::new(root(), "lab.strake".to_string());
        assert_eq!(*report.machines(), machines);
        let other = Report::new(root(), "other.strake".to_string());
        assert!(other.machines().is_empty());
    }
}

//! The options of `[X-Fleet]`: fleet's own, and the names they had before.

use super::Reach;
use super::read::Reader;
use crate::scheduler::target::Target;
use crate::scheduler::text::Entry;
use crate::scheduler::value::{Yes, joined, truth};

const FLEET_OPTIONS: [&str; 6] = [
    "MachineID",
    "MachineOf",
    "MachineMetadata",
    "Conflicts",
    "Replaces",
    "Global",
];
/// Names that fleet's own predecessors used, and what they are now.
const FORMER: [(&str, &str); 5] = [
    ("X-ConditionMachineID", "MachineID"),
    ("X-ConditionMachineBootID", "MachineID"),
    ("X-ConditionMachineOf", "MachineOf"),
    ("X-ConditionMachineMetadata", "MachineMetadata"),
    ("X-Conflicts", "Conflicts"),
];

impl Reader<'_> {
    pub(super) fn fleet(&mut self, entry: &Entry) {
        let value = self.name.expand(&joined(&entry.value));
        match current(&entry.name) {
            "MachineID" if value.is_empty() => self.refuse(entry, "a machine id is missing"),
            // The first one counts, as in fleet.
            "MachineID" => {
                self.found.machine_id.get_or_insert(value);
            }
            "MachineOf" => {
                for word in value.split_whitespace() {
                    match Target::parse(word) {
                        Ok(Target::Unit(other)) if other == *self.name => {
                            self.refuse(entry, "a unit cannot follow itself");
                        }
                        Ok(target) => {
                            self.found.machine_of.insert(target);
                        }
                        Err(refused) => self.refuse(entry, format!("{word:?}: {refused}")),
                    }
                }
            }
            "MachineMetadata" => self.metadata(entry, &value),
            "Conflicts" => {
                let globs = self.globs(entry, &value);
                self.found.conflicts.extend(globs);
            }
            "Replaces" => {
                let globs = self.globs(entry, &value);
                self.found.replaces.extend(globs);
            }
            "Global" => match truth(&value) {
                Some(Yes::Yes) => self.found.reach = Reach::Global,
                Some(Yes::No) => self.found.reach = Reach::Single,
                None => self.refuse(entry, "this is yes or no"),
            },
            _ => self.unknown(entry, &FLEET_OPTIONS),
        }
    }

    fn metadata(&mut self, entry: &Entry, value: &str) {
        let Some(pairs) = words(value) else {
            return self.refuse(entry, "a quote is left open");
        };
        for pair in pairs {
            match pair.split_once('=') {
                Some((key, value))
                    if !key.is_empty() && !value.is_empty() && !value.contains('=') =>
                {
                    let values = self.found.metadata.entry(key.to_string()).or_default();
                    values.insert(value.to_string());
                }
                _ => self.refuse(entry, format!("{pair:?} is not key=value")),
            }
        }
    }
}

/// What an option of this name is called now.
pub(super) fn current(name: &str) -> &str {
    let former = FORMER.iter().find(|(old, _)| *old == name);
    former.map_or(name, |(_, new)| new)
}

/// Words apart by blanks; quotes keep blanks together.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
}

//! From a unit's text to what it asks: each option goes to the section it is of.

use super::{FLEET, Requirements, STRAKE};
use crate::scheduler::container;
use crate::scheduler::glob::Glob;
use crate::scheduler::name::UnitName;
use crate::scheduler::text::{Entry, Problem, Text};
use crate::scheduler::value::nearest;

impl Requirements {
    /// Reads the options of the unit; all problems, not the first.
    pub fn read(name: &UnitName, text: &Text) -> Result<Requirements, Vec<Problem>> {
        let mut reader = Reader {
            name,
            found: Requirements::default(),
            problems: Vec::new(),
        };
        for entry in text.entries() {
            match entry.section.as_str() {
                FLEET => reader.fleet(entry),
                STRAKE => reader.strake(entry),
                section if section.starts_with("X-") => reader.misspelt(entry),
                _ => {}
            }
        }
        reader.combinations(text);
        reader.contradictions(text);
        reader.ending(text);
        reader.replication(text);
        if name.is_container()
            && let Err(problems) = container::service(name, text)
        {
            reader.problems.extend(problems);
        }
        if reader.problems.is_empty() {
            Ok(reader.found)
        } else {
            Err(reader.problems)
        }
    }
}

pub(super) struct Reader<'u> {
    pub(super) name: &'u UnitName,
    pub(super) found: Requirements,
    pub(super) problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn refuse(&mut self, entry: &Entry, message: impl ToString) {
        let message = format!("{}: {}", entry.name, message.to_string());
        self.problems.push(entry.problem(message, None));
    }

    /// A section that is nearly one of ours is a slip; others are somebody else's.
    fn misspelt(&mut self, entry: &Entry) {
        let near = nearest(&entry.section, &[FLEET, STRAKE]);
        if let Some(near) = near {
            let message = format!("[{}] is no section known here", entry.section);
            let hint = Some(format!("did you mean [{near}]?"));
            self.problems.push(entry.problem(message, hint));
        }
    }

    pub(super) fn unknown(&mut self, entry: &Entry, known: &[&str]) {
        let hint = match nearest(&entry.name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known are {}", known.join(", ")),
        };
        let message = format!("[{}] has no option {:?}", entry.section, entry.name);
        self.problems.push(entry.problem(message, Some(hint)));
    }

    pub(super) fn globs(&mut self, entry: &Entry, value: &str) -> Vec<Glob> {
        let mut globs = Vec::new();
        for word in value.split_whitespace() {
            match Glob::parse(word) {
                Ok(glob) => globs.push(glob),
                Err(malformed) => self.refuse(entry, malformed),
            }
        }
        globs
    }
}

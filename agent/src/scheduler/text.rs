//! The text of a unit: sections and options in order, with their places.
//!
//! The digest that names a text is SHA-1 over the options written anew, as in fleet, so that
//! comments and blank lines make no other unit.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

pub const MAX_BYTES: usize = 256 * 1024;

/// One thing that is wrong in a unit, with its place (counted from 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub line: usize,
    pub column: usize,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// One `name=value`. Equal when section, name and value are; the place does not count.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    pub section: String,
    pub name: String,
    /// A continued line keeps its backslash and line feed.
    pub value: String,
    #[serde(skip)]
    pub line: usize,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (&self.section, &self.name, &self.value) == (&other.section, &other.name, &other.value)
    }
}

impl Eq for Entry {}

impl Entry {
    pub fn problem(&self, message: String, hint: Option<String>) -> Problem {
        Problem {
            line: self.line,
            column: 1,
            message,
            hint,
        }
    }
}

/// The name of a unit's content: 40 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// As much of it as is shown to people.
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    entries: Vec<Entry>,
}

impl Text {
    pub fn parse(text: &str) -> Result<Text, Vec<Problem>> {
        if text.len() > MAX_BYTES {
            let message = format!(
                "the unit is {} bytes long; {MAX_BYTES} are allowed",
                text.len()
            );
            return Err(vec![at(1, 1, message)]);
        }
        let mut parser = Parser::default();
        for (index, line) in text.lines().enumerate() {
            parser.line(index + 1, line);
        }
        parser.finish()
    }

    /// Of options that came without a text, such as from the HTTP API.
    pub fn from_entries(entries: Vec<Entry>) -> Result<Text, Vec<Problem>> {
        let bare = Text { entries };
        // Written and read again: what does not survive that was no option.
        match Text::parse(&bare.to_string()) {
            Ok(read) if read == bare.by_section() => Ok(read),
            Ok(_) => {
                let message = "an option's section, name or value holds a line feed or a bracket";
                Err(vec![at(1, 1, message.to_string())])
            }
            Err(problems) => Err(problems),
        }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn in_section<'t>(&'t self, section: &str) -> impl Iterator<Item = &'t Entry> {
        let section = section.to_string();
        self.entries
            .iter()
            .filter(move |entry| entry.section == section)
    }

    /// The last value of an option.
    pub fn value(&self, section: &str, name: &str) -> Option<&str> {
        let last = self.in_section(section).filter(|entry| entry.name == name);
        last.last().map(|entry| entry.value.as_str())
    }

    pub fn digest(&self) -> Digest {
        let hash = Sha1::digest(self.to_string().as_bytes());
        Digest(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn by_section(&self) -> Text {
        let mut sections: Vec<&str> = Vec::new();
        for entry in &self.entries {
            if !sections.contains(&entry.section.as_str()) {
                sections.push(&entry.section);
            }
        }
        let entries = sections.iter().flat_map(|section| self.in_section(section));
        Text {
            entries: entries.cloned().collect(),
        }
    }
}

/// Options grouped by section in the order in which the sections first appear.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section: Option<&str> = None;
        for entry in &self.by_section().entries {
            if section != Some(&entry.section) {
                let gap = if section.is_some() { "\n" } else { "" };
                writeln!(f, "{gap}[{}]", entry.section)?;
                section = Some(&entry.section);
            }
            writeln!(f, "{}={}", entry.name, entry.value)?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Parser {
    entries: Vec<Entry>,
    problems: Vec<Problem>,
    section: Option<String>,
    continued: bool,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) {
        if let Some(place) = line.find(|c: char| c.is_control() && c != '\t') {
            let column = line[..place].chars().count() + 1;
            self.problems
                .push(at(number, column, "a control character".to_string()));
            return;
        }
        if self.continued {
            self.more(line);
            return;
        }
        let text = line.trim();
        let column = line.chars().take_while(|c| c.is_whitespace()).count() + 1;
        if text.is_empty() || text.starts_with(['#', ';']) {
            return;
        }
        if let Some(inner) = text.strip_prefix('[') {
            match inner.strip_suffix(']') {
                Some(name) if !name.is_empty() && !name.contains(['[', ']']) => {
                    self.section = Some(name.to_string());
                }
                _ => {
                    let message = format!("{text:?} is no section header such as [Service]");
                    self.problems.push(at(number, column, message));
                }
            }
            return;
        }
        let Some((name, value)) = text.split_once('=') else {
            let message = format!("{text:?} is neither a section nor name=value");
            self.problems.push(at(number, column, message));
            return;
        };
        let Some(section) = &self.section else {
            let message = format!("{:?} stands before the first section", name.trim());
            self.problems.push(at(number, column, message));
            return;
        };
        if name.trim().is_empty() {
            self.problems
                .push(at(number, column, "an option without a name".to_string()));
            return;
        }
        self.continued = value.ends_with('\\');
        self.entries.push(Entry {
            section: section.clone(),
            name: name.trim().to_string(),
            value: value.trim().to_string(),
            line: number,
        });
    }

    fn more(&mut self, line: &str) {
        let line = line.trim_end();
        self.continued = line.ends_with('\\');
        if let Some(entry) = self.entries.last_mut() {
            entry.value.push('\n');
            entry.value.push_str(line);
        }
    }

    fn finish(mut self) -> Result<Text, Vec<Problem>> {
        if self.continued
            && let Some(entry) = self.entries.last()
        {
            let message = format!("{}= ends in a backslash with no line after it", entry.name);
            let problem = entry.problem(message, None);
            self.problems.push(problem);
        }
        if self.problems.is_empty() {
            Ok(Text {
                entries: self.entries,
            })
        } else {
            Err(self.problems)
        }
    }
}

fn at(line: usize, column: usize, message: String) -> Problem {
    Problem {
        line,
        column,
        message,
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEB: &str = "# a comment\n[Unit]\nDescription = Web\n\n[Service]\nExecStart=/bin/sh -c \\\n   'sleep 9'\n;x\n[Unit]\nAfter=a.service\n";

    #[test]
    fn a_text_is_written_anew_by_sections() {
        let text = Text::parse(WEB).expect("text");
        let expected = "[Unit]\nDescription=Web\nAfter=a.service\n\n[Service]\nExecStart=/bin/sh -c \\\n   'sleep 9'\n";
        assert_eq!(text.to_string(), expected);
        assert_eq!(text.digest(), Text::parse(expected).expect("text").digest());
        assert_eq!(text.value("Unit", "After"), Some("a.service"));
        assert_eq!(text.entries()[1].line, 6);
    }

    #[test]
    fn a_digest_is_the_sha1_of_the_options() {
        // printf '[Service]\nExecStart=/bin/true\n' | sha1sum
        let text = Text::parse("[Service]\n\n  ExecStart = /bin/true").expect("text");
        assert_eq!(text.to_string(), "[Service]\nExecStart=/bin/true\n");
        assert_eq!(text.digest().short(), "86943ac");
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let wrong = "A=b\n[Unit\n[Service]\n  what\n=x\nA=\u{1}\nB=c\\";
        let found: Vec<String> = Text::parse(wrong)
            .expect_err("problems")
            .iter()
            .map(Problem::to_string)
            .collect();
        let expected = [
            "line 1, column 1: \"A\" stands before the first section",
            "line 2, column 1: \"[Unit\" is no section header such as [Service]",
            "line 4, column 3: \"what\" is neither a section nor name=value",
            "line 5, column 1: an option without a name",
            "line 6, column 3: a control character",
            "line 7, column 1: B= ends in a backslash with no line after it",
        ];
        assert_eq!(found, expected);
        let long = format!("[Unit]\n{}", "Wants=a.service\n".repeat(20_000));
        assert_eq!(Text::parse(&long).expect_err("too long").len(), 1);
    }

    #[test]
    fn options_that_would_smuggle_lines_are_refused() {
        let entry = |section: &str, value: &str| Entry {
            section: section.into(),
            name: "A".into(),
            value: value.into(),
            line: 0,
        };
        let good = vec![entry("Unit", "x"), entry("Service", ""), entry("Unit", "y")];
        assert!(Text::from_entries(good).is_ok());
        for (section, value) in [("Unit", "x\n[Service]"), ("Un]it", "x"), ("Unit", " x")] {
            assert!(
                Text::from_entries(vec![entry(section, value)]).is_err(),
                "{section} {value}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(text in "(\\[[A-Z]{1,2}\\]\n|[a-z]{1,2}=[a-z \\\\#]{0,5}\n|[;#x \\\\\n]){0,12}") {
            if let Ok(read) = Text::parse(&text) {
                let again = Text::parse(&read.to_string()).expect("own output");
                prop_assert_eq!(again.to_string(), read.to_string());
                prop_assert_eq!(again.digest(), read.digest());
            }
        }
    }
}

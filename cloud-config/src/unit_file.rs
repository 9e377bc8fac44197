//! Unit files as systemd reads them: sections, assignments, continuation lines, comments; with
//! the place of each, and everything systemd would refuse or skip while reading.

use std::borrow::Cow;
use std::ops::Range;

use crate::problem::Level;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitFile<'a> {
    pub(crate) sections: Vec<Section<'a>>,
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    pub(crate) line: usize,
    pub(crate) assignments: Vec<Assignment<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assignment<'a> {
    pub(crate) line: usize,
    /// Where the key begins, in bytes.
    pub(crate) column: usize,
    pub(crate) key: &'a str,
    /// Continuation lines joined by a space, ends trimmed.
    pub(crate) value: Cow<'a, str>,
}

/// Something wrong in one line; lines are counted from 0, columns in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) level: Level,
    pub(crate) line: usize,
    pub(crate) columns: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

impl<'a> UnitFile<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut file = Self::default();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let line = line.strip_prefix('\u{FEFF}').unwrap_or(line);
            let trimmed = line.trim();
            if trimmed.is_empty() || is_comment(trimmed) {
                continue;
            }
            if trimmed.starts_with('[') {
                file.open(number, line, trimmed);
                continue;
            }
            let value = match trimmed.strip_suffix('\\').filter(|_| line.ends_with('\\')) {
                Some(head) => Cow::Owned(continued(head, &mut lines)),
                None => Cow::Borrowed(trimmed),
            };
            if line.trim_end().ends_with('\\') && !line.ends_with('\\') {
                file.fault(
                    Level::Warning,
                    number,
                    line,
                    "a space follows the backslash at the end",
                    "remove it, or the next line does not belong to this one",
                );
            }
            file.assign(number, line, value);
        }
        file
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// All assignments to a key, in order, from every section of that name.
    pub(crate) fn values(&self, section: &str, key: &str) -> impl Iterator<Item = &str> {
        let sections = self
            .sections
            .iter()
            .filter(move |known| known.name == section);
        let assignments = sections.flat_map(|section| &section.assignments);
        assignments
            .filter(move |known| known.key == key)
            .map(|known| &*known.value)
    }

    /// The last line that sets a key, else that of the section's header, else the first.
    pub(crate) fn last_line(&self, section: &str, key: &str) -> usize {
        let known = self.sections.iter().filter(|known| known.name == section);
        known.fold(0, |line, section| {
            let set = section.assignments.iter().rfind(|known| known.key == key);
            set.map_or(section.line.max(line), |known| known.line)
        })
    }

    fn open(&mut self, number: usize, line: &'a str, trimmed: &'a str) {
        match trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(name) if !name.is_empty() && !name.contains(['[', ']']) => {
                self.sections.push(Section {
                    name,
                    line: number,
                    assignments: Vec::new(),
                });
            }
            _ => self.fault(
                Level::Error,
                number,
                line,
                "the section header is not closed",
                "write it as [Name], alone on its line",
            ),
        }
    }

    fn assign(&mut self, number: usize, line: &'a str, text: Cow<'a, str>) {
        let Some(at) = text.find('=') else {
            let hint = "write Key=value, or a # before a comment";
            return self.fault(
                Level::Warning,
                number,
                line,
                "the line has no '=' and is ignored",
                hint,
            );
        };
        // The key always stands on the first line, so it can be borrowed from there.
        let column = line.len() - line.trim_start().len();
        let key = line.trim_start().get(..at).unwrap_or_default().trim_end();
        let value = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text[at + 1..].trim()),
            Cow::Owned(text) => Cow::Owned(text[at + 1..].trim().to_owned()),
        };
        if key.is_empty() {
            let hint = "put the name of the setting before it";
            return self.fault(
                Level::Warning,
                number,
                line,
                "nothing stands before the '='",
                hint,
            );
        }
        match self.sections.last_mut() {
            Some(section) => section.assignments.push(Assignment {
                line: number,
                column,
                key,
                value,
            }),
            None => self.fault(
                Level::Warning,
                number,
                line,
                "the assignment stands outside of a section and is ignored",
                "put a section header such as [Unit] or [Service] above it",
            ),
        }
    }

    fn fault(
        &mut self,
        level: Level,
        number: usize,
        line: &str,
        message: &str,
        hint: &'static str,
    ) {
        let start = line.len() - line.trim_start().len();
        let columns = start..line.trim_end().len().max(start + 1);
        self.faults.push(Fault {
            level,
            line: number,
            columns,
            message: message.to_owned(),
            hint,
        });
    }
}

fn continued<'a>(head: &str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> String {
    let mut value = head.trim_end().to_owned();
    for (_, line) in lines {
        if is_comment(line.trim_start()) {
            continue;
        }
        value.push(' ');
        match line.strip_suffix('\\') {
            Some(part) => value.push_str(part.trim()),
            None => {
                value.push_str(line.trim());
                break;
            }
        }
    }
    value
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

/// Words of a value as systemd splits them: quotes keep blanks together, a backslash takes
/// the next character along and stays.
pub(crate) fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (_, '\\') => {
                let word = word.get_or_insert_default();
                word.push(c);
                word.extend(chars.next());
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_assignments_keep_their_lines() {
        let file = UnitFile::parse(
            "# c\n[Unit]\nA = b \n\n[Service]\n; c\nExecStart=/x \\\n# c\n  -y \\\n  z\nB=1\n",
        );
        assert_eq!(file.faults, []);
        assert_eq!(file.sections.len(), 2);
        assert_eq!(file.values("Unit", "A").collect::<Vec<_>>(), ["b"]);
        assert_eq!(
            file.values("Service", "ExecStart").collect::<Vec<_>>(),
            ["/x -y z"]
        );
        let service = file.section("Service").expect("there");
        let lines: Vec<usize> = service.assignments.iter().map(|known| known.line).collect();
        assert_eq!((service.line, lines), (4, vec![6, 10]));
    }

    #[test]
    fn what_systemd_refuses_or_skips_is_a_fault_at_its_line() {
        for (text, level, line, columns) in [
            ("A=b\n[Unit]\n", Level::Warning, 0, 0..3),
            ("[Unit\nA=b", Level::Error, 0, 0..5),
            ("[Unit]\n  nonsense\n", Level::Warning, 1, 2..10),
            ("[Unit]\n=x\n", Level::Warning, 1, 0..2),
            ("[Unit]\nA=b \\ \nC=d\n", Level::Warning, 1, 0..5),
        ] {
            let fault = UnitFile::parse(text)
                .faults
                .into_iter()
                .next()
                .expect("a fault");
            assert_eq!(
                (fault.level, fault.line, fault.columns),
                (level, line, columns),
                "{text}"
            );
        }
    }

    #[test]
    fn values_are_split_as_systemd_splits_them() {
        assert_eq!(
            words(r#"a "b c" 'd "e' f\x2dg """#),
            ["a", "b c", "d \"e", r"f\x2dg", ""]
        );
        assert_eq!(words("  "), Vec::<String>::new());
        assert_eq!(words("a\\"), ["a\\"]);
    }
}

//! Text of a colon-separated account file (passwd, shadow, group, gshadow).
//!
//! Lines that are not changed stay as they are, byte for byte, also those this program does not
//! understand.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    lines: Vec<String>,
}

impl Table {
    pub fn parse(text: &str) -> Table {
        Table {
            lines: text.lines().map(str::to_string).collect(),
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.row(name).is_some()
    }

    pub fn field(&self, name: &str, index: usize) -> Option<&str> {
        self.row(name)?.split(':').nth(index)
    }

    /// Every value of one column, with the name of its row.
    pub fn column(&self, index: usize) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(move |line| {
            let name = line.split(':').next()?;
            Some((name, line.split(':').nth(index)?))
        })
    }

    pub fn push(&mut self, fields: &[&str]) {
        self.lines.push(fields.join(":"));
    }

    /// Changes one field of one row; a row with too few fields is filled up.
    pub fn change(&mut self, name: &str, index: usize, value: &str) {
        let Some(line) = self.lines.iter_mut().find(|line| is_row(line, name)) else {
            return;
        };
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields.len() <= index {
            fields.resize(index + 1, "");
        }
        fields[index] = value;
        *line = fields.join(":");
    }

    /// Adds to the comma-separated list in one field.
    pub fn add_member(&mut self, name: &str, index: usize, member: &str) {
        let Some(list) = self.field(name, index).map(str::to_string) else {
            return;
        };
        if list.split(',').any(|known| known == member) {
            return;
        }
        let joined = if list.is_empty() {
            member.to_string()
        } else {
            format!("{list},{member}")
        };
        self.change(name, index, &joined);
    }

    pub fn remove(&mut self, name: &str) {
        self.lines.retain(|line| !is_row(line, name));
    }

    /// Takes it out of the comma-separated lists of one field, in every row.
    pub fn remove_member(&mut self, index: usize, member: &str) {
        let lists: Vec<(String, String)> = self
            .column(index)
            .filter(|(_, list)| list.split(',').any(|known| known == member))
            .map(|(name, list)| {
                let others: Vec<&str> = list.split(',').filter(|known| *known != member).collect();
                (name.to_string(), others.join(","))
            })
            .collect();
        for (name, list) in lists {
            self.change(&name, index, &list);
        }
    }

    fn row(&self, name: &str) -> Option<&str> {
        self.lines
            .iter()
            .map(String::as_str)
            .find(|line| is_row(line, name))
    }
}

fn is_row(line: &str, name: &str) -> bool {
    line.strip_prefix(name)
        .is_some_and(|rest| rest.starts_with(':'))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_not_changed_stay_byte_for_byte() {
        let mut table = Table::parse("root:x:0:\nodd line\nsudo:x:27:core\nsudoers:x:28:\n");
        table.add_member("sudo", 3, "anna");
        table.add_member("sudo", 3, "core");
        table.add_member("root", 3, "anna");
        table.change("nobody", 1, "!");
        let expected = "root:x:0:anna\nodd line\nsudo:x:27:core,anna\nsudoers:x:28:\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_short_row_is_filled_up() {
        let mut table = Table::parse("core:x\n");
        table.change("core", 3, "500");
        assert_eq!(table.to_string(), "core:x::500\n");
    }
}

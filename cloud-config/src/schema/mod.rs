//! Every key a user may write, in one table: name, type, range, unit, default and doc.
//!
//! Checking (`check::walk`), the nearest-name hints, the reference page and the JSON Schema all
//! come from here, so a key that is not in the table does not exist.

mod coreos;
mod daemons;
mod files;
mod format;
mod host;
mod json;
mod markdown;
mod overlay;
mod root;
mod strake;
mod users;

pub(crate) use coreos::COREOS;
pub(crate) use daemons::{table as daemon_table, variable as daemon_variable};
pub(crate) use files::FILE;
pub(crate) use format::{Format, duration, mode, size};
pub use json::json_schema;
pub use markdown::reference_markdown;
pub(crate) use root::ROOT;
pub(crate) use users::USER;

/// The keys of one mapping.
#[derive(Debug)]
pub(crate) struct Table {
    /// Names the entries of a list in the reference, such as `user`.
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [Key],
}

impl Table {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| same_name(key.name, name))
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) doc: &'static str,
    /// Text for the reference; empty when there is none.
    pub(crate) default: &'static str,
    /// YAML, valid as a value of this key.
    pub(crate) example: &'static str,
    /// Why it should no longer be used.
    pub(crate) deprecated: Option<&'static str>,
    pub(crate) required: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text(&'static Format),
    Flag,
    Integer {
        min: i64,
        max: i64,
    },
    /// Seconds or a ratio, not below zero.
    Number,
    Choice(&'static [&'static str]),
    List(&'static Kind),
    Map(&'static Table),
    /// A mapping whose keys the user makes up.
    Pairs(&'static Format, &'static Kind),
}

impl Kind {
    /// The type's name in messages, as coreos-cloudinit wrote it.
    pub(crate) fn wanted(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Choice(_) => "string",
            Self::Flag => "bool",
            Self::Integer { .. } => "int",
            Self::Number => "float",
            Self::List(Self::Map(_) | Self::Pairs(..)) => "[]struct",
            Self::List(_) => "[]string",
            Self::Map(_) => "struct",
            Self::Pairs(..) => "map",
        }
    }
}

/// Builds a key; the setters below add what it has beyond name, type and doc.
pub(crate) const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        doc,
        default: "",
        example: "",
        deprecated: None,
        required: false,
    }
}

impl Key {
    pub(crate) const fn default(mut self, text: &'static str) -> Self {
        self.default = text;
        self
    }

    pub(crate) const fn example(mut self, yaml: &'static str) -> Self {
        self.example = yaml;
        self
    }

    pub(crate) const fn deprecated(mut self, reason: &'static str) -> Self {
        self.deprecated = Some(reason);
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// Hyphen and underscore are the same in every key.
pub(crate) fn same_name(known: &str, written: &str) -> bool {
    known.len() == written.len()
        && known
            .bytes()
            .zip(written.bytes())
            .all(|(a, b)| a == b || (a == b'_' && b == b'-'))
}

/// The known name a user most likely meant, if one is near enough.
pub(crate) fn nearest<'n>(
    written: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let written: Vec<u8> = written.bytes().take(64).map(plain).collect();
    let allowed = (written.len() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| {
            (
                distance(&written, &name.bytes().map(plain).collect::<Vec<_>>()),
                name,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn plain(byte: u8) -> u8 {
    if byte == b'-' {
        b'_'
    } else {
        byte.to_ascii_lowercase()
    }
}

/// Edits from one name to the other; two neighbours in the wrong order count as one edit.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j - 1] + change).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests;

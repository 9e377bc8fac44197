//! Reading values out of a document that `walk` has gone over. Whatever `walk` complained about
//! reads as absent, so the readers have no errors of their own to report.

use crate::document::{Node, Style, Value};
use crate::schema::same_name;

/// One mapping of the document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'d> {
    node: &'d Node<'d>,
}

impl<'d> View<'d> {
    pub(crate) fn new(node: &'d Node<'d>) -> Self {
        Self { node }
    }

    pub(crate) fn node(self) -> &'d Node<'d> {
        self.node
    }

    pub(crate) fn get(self, name: &str) -> Option<&'d Node<'d>> {
        let Value::Map(entries) = &self.node.value else {
            return None;
        };
        entries
            .iter()
            .find(|entry| entry.key.text().is_some_and(|key| same_name(name, key)))
            .map(|entry| &entry.value)
    }

    /// Text that is not empty, which is the same as not given.
    pub(crate) fn text(self, name: &str) -> Option<&'d str> {
        self.get(name)?.text().filter(|text| !text.is_empty())
    }

    pub(crate) fn string(self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(crate) fn flag(self, name: &str) -> Option<bool> {
        flag(self.text(name)?)
    }

    pub(crate) fn items(self, name: &str) -> &'d [Node<'d>] {
        match self.get(name).map(|node| &node.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    pub(crate) fn strings(self, name: &str) -> Vec<String> {
        strings(self.items(name))
    }

    /// The mappings of a list, each with its index.
    pub(crate) fn views(self, name: &str) -> impl Iterator<Item = (usize, View<'d>)> {
        let items = self.items(name).iter().enumerate();
        items
            .filter(|(_, item)| matches!(item.value, Value::Map(_)))
            .map(|(i, n)| (i, View::new(n)))
    }

    pub(crate) fn map(self, name: &str) -> Option<View<'d>> {
        self.get(name)
            .filter(|node| matches!(node.value, Value::Map(_)))
            .map(View::new)
    }

    /// A mapping whose keys the user made up.
    pub(crate) fn pairs(self, name: &str) -> impl Iterator<Item = (&'d str, &'d Node<'d>)> {
        let entries: &'d [_] = match self.get(name).map(|node| &node.value) {
            Some(Value::Map(entries)) => entries,
            _ => &[],
        };
        entries
            .iter()
            .filter_map(|entry| Some((entry.key.text()?, &entry.value)))
    }
}

pub(crate) fn strings(items: &[Node<'_>]) -> Vec<String> {
    let texts = items.iter().filter_map(Node::text);
    texts
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The words YAML 1.1 took for truth values, as every CoreOS config was read.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Some(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Some(false)
        }
        _ => None,
    }
}

/// Decimal, hexadecimal (`0x`) and octal (`0`, `0o`) numbers, underscores between digits.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "");
    let (radix, digits) = if let Some(hex) = digits.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = digits.strip_prefix("0o") {
        (8, octal)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits.as_str())
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok()?.checked_mul(sign)
}

pub(crate) fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value: Option<f64> = plain.then(|| text.parse().ok()).flatten();
    value.filter(|value| value.is_finite())
}

pub(crate) fn is_quoted(node: &Node<'_>) -> bool {
    matches!(&node.value, Value::Scalar(_, style) if *style != Style::Plain)
}

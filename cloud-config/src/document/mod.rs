//! The YAML document as a tree with a place for every value.
//!
//! Scalars stay text: what `0644` or `off` means is decided by the key it is given to, not by
//! YAML. Anchors are expanded, merge keys (`<<`) applied, both within [`MAX_VALUES`] values,
//! [`MAX_TEXT`] bytes of text and [`MAX_NESTING`] levels, each named by the problem it causes.

mod builder;

use std::borrow::Cow;
use std::ops::Range;

use serde_yaml::granit_parser::{Options, Parser, ScanError};

use crate::problem::Rule;
use builder::{Builder, Next};

pub(crate) const MAX_VALUES: usize = 250_000;
pub(crate) const MAX_TEXT: usize = 16 << 20;
pub(crate) const MAX_NESTING: usize = 64;

#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    /// Byte offsets in the text that was parsed.
    pub(crate) span: Range<usize>,
    pub(crate) value: Value<'a>,
}

#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    Null,
    Scalar(Cow<'a, str>, Style),
    List(Vec<Node<'a>>),
    Map(Vec<Entry<'a>>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) key: Node<'a>,
    pub(crate) value: Node<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quoted,
    /// `|`: each line of the value is a line of the text.
    Literal,
    Folded,
}

impl Node<'_> {
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    fn cost(&self) -> Cost {
        let leaf = Cost::ONE;
        match &self.value {
            Value::Null => leaf,
            Value::Scalar(text, _) => Cost {
                bytes: text.len(),
                ..leaf
            },
            Value::List(items) => items.iter().fold(leaf, |sum, item| sum.around(item.cost())),
            Value::Map(entries) => entries.iter().fold(leaf, |sum, entry| {
                sum.around(entry.key.cost()).around(entry.value.cost())
            }),
        }
    }
}

/// What a copy of a node takes.
#[derive(Debug, Clone, Copy)]
struct Cost {
    values: usize,
    bytes: usize,
    depth: usize,
}

impl Cost {
    const ONE: Self = Self {
        values: 1,
        bytes: 0,
        depth: 1,
    };

    fn around(self, inner: Self) -> Self {
        Self {
            values: self.values + inner.values,
            bytes: self.bytes + inner.bytes,
            depth: self.depth.max(inner.depth + 1),
        }
    }
}

/// What stops or spoils the reading of a document; places are offsets in the parsed text.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) place: Range<usize>,
    pub(crate) rule: Rule,
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

#[derive(Debug)]
pub(crate) struct Document<'a> {
    /// `None` for a document without content, and after a fault that stopped the reading.
    pub(crate) root: Option<Node<'a>>,
    pub(crate) faults: Vec<Fault>,
}

pub(crate) fn parse(text: &str) -> Document<'_> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_NESTING;
    options.block_nesting_limit = MAX_NESTING;
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let result = match event {
            Ok((event, span)) => builder.take(event, &span, text.len()),
            Err(error) => Err(syntax_fault(&error, text)),
        };
        match result {
            Ok(Next::More) => {}
            Ok(Next::Done) => break,
            Err(fault) => {
                builder.faults.push(fault);
                return Document {
                    root: None,
                    faults: builder.faults,
                };
            }
        }
    }
    Document {
        root: builder.root,
        faults: builder.faults,
    }
}

fn syntax_fault(error: &ScanError, text: &str) -> Fault {
    let at = error
        .marker()
        .byte_offset()
        .unwrap_or(text.len())
        .min(text.len());
    let message = error.info();
    let line = text[..floor(text, at)]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let hint = if text[line..].trim_start_matches(' ').starts_with('\t') {
        Some("indent with spaces, YAML does not allow tabs there")
    } else if message.contains("mapping values are not allowed") {
        Some("indent the key like its neighbours, or quote a value that holds \": \"")
    } else if message.contains("nesting") || message.contains("recursion") {
        Some("a document may nest 64 levels deep")
    } else if message.contains("anchor") {
        Some("quote a value that begins with * or &")
    } else {
        None
    };
    let rule = if message.contains("limit") {
        Rule::Limit
    } else {
        Rule::Syntax
    };
    Fault {
        place: at..at + 1,
        rule,
        message: format!("not valid YAML: {message}"),
        hint,
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

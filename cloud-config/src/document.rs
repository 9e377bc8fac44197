//! The YAML document as a tree with a place for every value.
//!
//! Scalars stay text: what `0644` or `off` means is decided by the key it is given to, not by
//! YAML. Anchors are expanded, merge keys (`<<`) applied, both within [`MAX_VALUES`] values,
//! [`MAX_TEXT`] bytes of text and [`MAX_NESTING`] levels, each named by the problem it causes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};

use crate::problem::Rule;

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

enum Next {
    More,
    Done,
}

/// A collection that is still open.
enum Open<'a> {
    List(Vec<Node<'a>>),
    Map(Vec<Entry<'a>>, Option<Node<'a>>),
}

struct Frame<'a> {
    open: Open<'a>,
    start: usize,
    anchor: usize,
}

#[derive(Default)]
struct Builder<'a> {
    stack: Vec<Frame<'a>>,
    root: Option<Node<'a>>,
    documents: usize,
    anchors: HashMap<usize, Node<'a>>,
    values: usize,
    bytes: usize,
    faults: Vec<Fault>,
}

impl<'a> Builder<'a> {
    fn take(&mut self, event: Event<'a>, span: &Span, end: usize) -> Result<Next, Fault> {
        let place = span.start.byte_offset().unwrap_or(end)..span.end.byte_offset().unwrap_or(end);
        match event {
            Event::StreamEnd => return Ok(Next::Done),
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Fault {
                        place,
                        rule: Rule::Syntax,
                        message: "a second YAML document begins here".into(),
                        hint: Some("keep one document: remove the line --- and what follows it"),
                    });
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let style = match style {
                    ScalarStyle::Plain if tag.is_none() => Style::Plain,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                    _ => Style::Quoted,
                };
                let value = if style == Style::Plain && is_null(&text) {
                    Value::Null
                } else {
                    Value::Scalar(text, style)
                };
                self.count(Cost::ONE, &place)?;
                self.add(Node { span: place, value }, anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.count(Cost::ONE, &place)?;
                self.stack.push(Frame {
                    open: Open::List(Vec::new()),
                    start: place.start,
                    anchor,
                });
            }
            Event::MappingStart(_, anchor, _) => {
                self.count(Cost::ONE, &place)?;
                let open = Open::Map(Vec::new(), None);
                self.stack.push(Frame {
                    open,
                    start: place.start,
                    anchor,
                });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&place)?,
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(Fault {
                        place,
                        rule: Rule::Syntax,
                        message: "an alias refers to a value that contains it".into(),
                        hint: None,
                    });
                };
                let cost = node.cost();
                if self.stack.len() + cost.depth > MAX_NESTING {
                    let message =
                        format!("the document nests deeper than {MAX_NESTING}, aliases expanded");
                    return Err(Fault {
                        place,
                        rule: Rule::Limit,
                        message,
                        hint: None,
                    });
                }
                let node = Node {
                    span: place.clone(),
                    value: node.value.clone(),
                };
                self.count(cost, &place)?;
                self.add(node, 0)?;
            }
            _ => {}
        }
        Ok(Next::More)
    }

    fn count(&mut self, cost: Cost, place: &Range<usize>) -> Result<(), Fault> {
        self.values += cost.values;
        self.bytes += cost.bytes;
        let message = if self.values > MAX_VALUES {
            format!("the document has more than {MAX_VALUES} values, aliases expanded")
        } else if self.bytes > MAX_TEXT {
            format!(
                "the document is larger than {} MiB, aliases expanded",
                MAX_TEXT >> 20
            )
        } else {
            return Ok(());
        };
        Err(Fault {
            place: place.clone(),
            rule: Rule::Limit,
            message,
            hint: None,
        })
    }

    fn close(&mut self, place: &Range<usize>) -> Result<(), Fault> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let value = match frame.open {
            Open::List(items) => Value::List(items),
            Open::Map(entries, _) => Value::Map(self.finish_map(entries)),
        };
        self.add(
            Node {
                span: frame.start..place.end,
                value,
            },
            frame.anchor,
        )
    }

    fn add(&mut self, node: Node<'a>, anchor: usize) -> Result<(), Fault> {
        if anchor != 0 {
            self.count(node.cost(), &node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map(entries, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push(Entry { key, value: node }),
            },
        }
        Ok(())
    }

    fn finish_map(&mut self, entries: Vec<Entry<'a>>) -> Vec<Entry<'a>> {
        let mut seen = HashSet::with_capacity(entries.len());
        for entry in &entries {
            match entry.key.text() {
                Some(text) if !seen.insert(text) => self.faults.push(Fault {
                    place: entry.key.span.clone(),
                    rule: Rule::DuplicateKey,
                    message: format!("the key \"{text}\" is given twice in this mapping"),
                    hint: Some("join the two, or remove one of them"),
                }),
                Some(_) => {}
                None => self.faults.push(Fault {
                    place: entry.key.span.clone(),
                    rule: Rule::WrongType,
                    message: "a key must be plain text".into(),
                    hint: None,
                }),
            }
        }
        if !seen.contains("<<") {
            return entries;
        }
        merge_keys(entries)
    }
}

/// Applies `<<`: the keys of the merged mappings stand behind the mapping's own, which win.
fn merge_keys(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    let is_merge = |entry: &Entry| matches!(&entry.key.value, Value::Scalar(text, Style::Plain) if text == "<<");
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_merge);
    let mut known: HashSet<String> = own
        .iter()
        .filter_map(|entry| entry.key.text().map(str::to_owned))
        .collect();
    for merge in merges {
        let maps = match merge.value.value {
            Value::List(items) => items,
            _ => vec![merge.value],
        };
        for entry in maps.into_iter().filter_map(into_entries).flatten() {
            if entry
                .key
                .text()
                .is_some_and(|key| known.insert(key.to_owned()))
            {
                own.push(entry);
            }
        }
    }
    own
}

fn into_entries(node: Node<'_>) -> Option<Vec<Entry<'_>>> {
    match node.value {
        Value::Map(entries) => Some(entries),
        _ => None,
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
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

//! The parser's events, put together to a tree within the limits.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_yaml::granit_parser::{Event, ScalarStyle, Span};

use super::{Cost, Entry, Fault, MAX_NESTING, MAX_TEXT, MAX_VALUES, Node, Style, Value};
use crate::problem::Rule;

pub(super) enum Next {
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
pub(super) struct Builder<'a> {
    stack: Vec<Frame<'a>>,
    pub(super) root: Option<Node<'a>>,
    documents: usize,
    anchors: HashMap<usize, Node<'a>>,
    values: usize,
    bytes: usize,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Builder<'a> {
    pub(super) fn take(
        &mut self,
        event: Event<'a>,
        span: &Span,
        end: usize,
    ) -> Result<Next, Fault> {
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
                let value = match &node.value {
                    // Its lines are elsewhere in the text.
                    Value::Scalar(text, Style::Literal) => {
                        Value::Scalar(text.clone(), Style::Folded)
                    }
                    value => value.clone(),
                };
                let node = Node {
                    span: place.clone(),
                    value,
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

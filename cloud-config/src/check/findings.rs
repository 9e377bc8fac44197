//! Where problems are collected, with the way from a place in the parsed text to the user's.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use crate::document::{Node, Style, Value};
use crate::problem::{Level, Problem, Rule};
use crate::source::Source;
use crate::substitution::Substituted;

/// Most problems listed; a text that is wrong all over must not fill the memory with complaints.
const MAX_PROBLEMS: usize = 1000;

/// The keys that lead to a value, linked upwards so that nothing is built without a problem.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub(crate) fn key(&'p self, name: &'p str) -> Self {
        Path::Key(self, name)
    }

    pub(crate) fn index(&'p self, index: usize) -> Self {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, name) => f.write_str(&shown(name)),
            Self::Key(parent, name) => write!(f, "{parent}.{}", shown(name)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A user's text as it may stand in a message: short and without control characters.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let text = crate::substitution::restore(text);
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[derive(Debug)]
pub(crate) struct Findings<'s> {
    source: &'s Source<'s>,
    substituted: &'s Substituted<'s>,
    problems: Vec<Problem>,
    left_out: usize,
    left_out_errors: bool,
    /// The last line looked for within a value: begin of the value's first line, lines below it,
    /// begin of that line.
    counted: Cell<(usize, usize, usize)>,
}

impl<'s> Findings<'s> {
    pub(crate) fn new(source: &'s Source<'s>, substituted: &'s Substituted<'s>) -> Self {
        Self {
            source,
            substituted,
            problems: Vec::new(),
            left_out: 0,
            left_out_errors: false,
            counted: Cell::new((0, 0, 0)),
        }
    }

    /// Adds a problem unless there are too many already.
    pub(crate) fn add(
        &mut self,
        (level, rule): (Level, Rule),
        place: &Range<usize>,
        path: &Path<'_>,
        message: impl Into<String>,
    ) -> Finding<'_> {
        if self.problems.len() == MAX_PROBLEMS {
            self.left_out += 1;
            self.left_out_errors |= level == Level::Error;
            return Finding { problem: None };
        }
        let origin = self.substituted.origin(place.start)..self.substituted.origin_end(place.end);
        let mut problem = self.source.problem(level, rule, origin, message.into());
        problem.key = path.to_string();
        self.problems.push(problem);
        Finding {
            problem: self.problems.last_mut(),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() == MAX_PROBLEMS
    }

    /// A problem at an offset of the user's own text.
    pub(crate) fn add_original(
        &mut self,
        level: Level,
        rule: Rule,
        place: Range<usize>,
        message: String,
    ) {
        if !self.is_full() {
            self.problems
                .push(self.source.problem(level, rule, place, message));
        }
    }

    /// The place of a line within a text value: exact in a literal block, else the whole value.
    pub(crate) fn place_in(
        &self,
        node: &Node<'_>,
        line: usize,
        columns: Range<usize>,
    ) -> Range<usize> {
        let Value::Scalar(value, Style::Literal) = &node.value else {
            return node.span.clone();
        };
        if self.is_full() {
            return node.span.clone();
        }
        let text = &*self.substituted.text;
        let blank = value.bytes().take_while(|byte| *byte == b'\n').count();
        let Some(down) = line.checked_sub(blank) else {
            return node.span.clone();
        };
        let begin = text[..node.span.start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let indent = node.span.start - begin;
        let start = self.line_below(begin, down);
        start + indent + columns.start..start + indent + columns.end
    }

    /// Where the line that many lines below begins, counted on from the last place looked for.
    fn line_below(&self, begin: usize, down: usize) -> usize {
        let (known_begin, known_down, known_start) = self.counted.get();
        let (mut start, from) = if known_begin == begin && known_down <= down {
            (known_start, known_down)
        } else {
            (begin, 0)
        };
        let text = &*self.substituted.text;
        for _ in from..down {
            start = text[start..]
                .find('\n')
                .map_or(start, |newline| start + newline + 1);
        }
        self.counted.set((begin, down, start));
        start
    }

    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        if self.left_out > 0 {
            let level = if self.left_out_errors {
                Level::Error
            } else {
                Level::Warning
            };
            let message = format!("{} further problems are not listed", self.left_out);
            self.problems
                .push(Problem::whole(level, Rule::Limit, message));
        }
        self.problems
    }
}

/// A problem just added, for its hint.
#[derive(Debug)]
pub(crate) struct Finding<'f> {
    problem: Option<&'f mut Problem>,
}

impl Finding<'_> {
    pub(crate) fn hint(self, hint: impl Into<String>) {
        if let Some(problem) = self.problem {
            problem.hint = Some(hint.into());
        }
    }
}

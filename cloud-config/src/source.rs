//! One text as the user sees it, and the way from an offset to line, column and snippet.

use std::cell::Cell;
use std::ops::Range;

use crate::problem::{Level, Problem, Rule, Snippet};

/// Longest snippet in characters; longer lines are cut around the place.
const SNIPPET: usize = 100;
const BEFORE: usize = 40;
/// Longest mark under a place.
const MAX_LENGTH: usize = 1000;

#[derive(Debug)]
pub(crate) struct Source<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
    /// Lines of the whole user-data before this text.
    lines_before: u32,
    part: Option<u32>,
    /// The last place counted to: begin of its line, offset, characters between. Problems come
    /// mostly in order, and a line may be megabytes long.
    counted: Cell<(usize, usize, usize)>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str, lines_before: u32, part: Option<u32>) -> Self {
        let mut line_starts = vec![0];
        line_starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        Self {
            text,
            line_starts,
            lines_before,
            part,
            counted: Cell::new((0, 0, 0)),
        }
    }

    pub(crate) fn problem(
        &self,
        level: Level,
        rule: Rule,
        place: Range<usize>,
        message: String,
    ) -> Problem {
        let start = self.floor(place.start);
        let index = self.line_starts.partition_point(|begin| *begin <= start) - 1;
        let begin = self.line_starts[index];
        let line = self.line(index);
        let column = self.column(begin, start);
        let end = self
            .floor(place.end)
            .clamp(start, begin + line.len().max(start - begin));
        let length = self.text[start..end]
            .chars()
            .take(MAX_LENGTH)
            .count()
            .max(1);
        Problem {
            level,
            rule,
            line: number(index + 1) + self.lines_before,
            column: number(column + 1),
            length: number(length),
            message,
            hint: None,
            key: String::new(),
            part: self.part,
            snippet: Some(snippet(line, start - begin, column)),
        }
    }

    fn column(&self, begin: usize, start: usize) -> usize {
        let (known_begin, known_start, known) = self.counted.get();
        let (from, before) = if known_begin == begin && known_start <= start {
            (known_start, known)
        } else {
            (begin, 0)
        };
        let column = before + self.text[from..start].chars().count();
        self.counted.set((begin, start, column));
        column
    }

    fn line(&self, index: usize) -> &'a str {
        let begin = self.line_starts[index];
        let end = self
            .line_starts
            .get(index + 1)
            .map_or(self.text.len(), |next| next - 1);
        let line = &self.text[begin..end];
        line.strip_suffix('\r').unwrap_or(line)
    }

    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// `at` is the place in bytes, `column` in characters before it.
fn snippet(line: &str, at: usize, column: usize) -> Snippet {
    let at = at.min(line.len());
    let whole = line.chars().nth(SNIPPET).is_none() || column <= BEFORE;
    let from = match line[..at].char_indices().rev().nth(BEFORE - 1) {
        Some((from, _)) if !whole => from,
        _ => 0,
    };
    let skipped = if from == 0 { 0 } else { column - BEFORE };
    Snippet {
        text: line[from..].chars().take(SNIPPET).collect(),
        first_column: number(skipped + 1),
    }
}

/// Texts are limited to far below 4 GiB, so this never saturates.
fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn place(text: &str, range: Range<usize>) -> (u32, u32, u32, String) {
        let problem =
            Source::new(text, 0, None).problem(Level::Error, Rule::Syntax, range, String::new());
        let snippet = problem.snippet.expect("always there");
        (problem.line, problem.column, problem.length, snippet.text)
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(place("a\nüé: x\n", 7..8), (2, 4, 1, "üé: x".into()));
        assert_eq!(place("a\r\nb", 1..2), (1, 2, 1, "a".into()));
    }

    #[test]
    fn places_beyond_the_end_are_at_the_end() {
        assert_eq!(place("ab", 9..12), (1, 3, 1, "ab".into()));
        assert_eq!(place("", 0..0), (1, 1, 1, String::new()));
        assert_eq!(place("a\n", 2..2), (2, 1, 1, String::new()));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let problem =
            Source::new(&text, 3, Some(2)).problem(Level::Info, Rule::Limit, 500..501, "m".into());
        let snippet = problem.snippet.expect("always there");
        assert_eq!(
            (problem.line, problem.column, problem.part),
            (4, 501, Some(2))
        );
        assert_eq!(snippet.first_column, 461);
        assert_eq!(snippet.text.chars().count(), SNIPPET);
        assert_eq!(snippet.text.chars().nth(40), Some('X'));
    }
}

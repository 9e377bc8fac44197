//! Glob lists that say what is removed from a tree.
//!
//! A pattern names a path and everything below it; `*` does not cross `/`. `!` takes back what an
//! earlier pattern removed; the last one that matches decides.

use std::collections::{BTreeMap, BTreeSet};

use glob::{MatchOptions, Pattern, PatternError};

#[derive(Debug, Clone, Default)]
pub struct Patterns {
    rules: Vec<Rule>,
    source: String,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    removes: bool,
}

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

impl Patterns {
    /// The error names the line.
    pub fn parse(lines: &[String]) -> Result<Self, (String, PatternError)> {
        let rule = |line: &String| {
            let (pattern, removes) = match line.strip_prefix('!') {
                Some(rest) => (rest, false),
                None => (line.as_str(), true),
            };
            let pattern =
                Pattern::new(pattern.trim_matches('/')).map_err(|error| (line.clone(), error))?;
            Ok(Rule { pattern, removes })
        };
        let rules = lines.iter().map(rule).collect::<Result<_, _>>()?;
        Ok(Self {
            rules,
            source: lines.join("\n"),
        })
    }

    /// The list as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The paths that are removed; `paths` are sorted so that parents come first.
    pub fn removed<'a>(&self, paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
        // For each path the number of rules up to the last that matches it or a parent.
        let mut decided: BTreeMap<&str, usize> = BTreeMap::new();
        let mut removed = BTreeSet::new();
        for path in paths {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let inherited = decided.get(parent).copied().unwrap_or(0);
            let later = self.rules[inherited..]
                .iter()
                .rposition(|rule| rule.pattern.matches_with(path, OPTIONS))
                .map(|position| inherited + position + 1);
            let rule = later.unwrap_or(inherited);
            decided.insert(path, rule);
            if rule > 0 && self.rules[rule - 1].removes {
                removed.insert(path.to_owned());
            }
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &[&str], paths: &[&str], expected: &[&str]) {
        let lines: Vec<String> = patterns.iter().map(|line| (*line).to_owned()).collect();
        let removed = Patterns::parse(&lines)
            .unwrap()
            .removed(paths.iter().copied());
        assert_eq!(
            removed.iter().map(String::as_str).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn a_pattern_names_a_path_and_what_is_below() {
        check(&["a/b"], &["a", "a/b", "a/b/c", "a/bc"], &["a/b", "a/b/c"]);
        check(&["a/*"], &["a", "a/b", "a/b/c"], &["a/b", "a/b/c"]);
        check(&["*/c"], &["a/b/c"], &[]);
        check(&["**/c"], &["a/b/c"], &["a/b/c"]);
    }

    #[test]
    fn the_last_match_decides() {
        check(&["a/*", "!a/b"], &["a/b", "a/b/c", "a/d"], &["a/d"]);
        check(
            &["!a/b", "a/*"],
            &["a/b", "a/b/c", "a/d"],
            &["a/b", "a/b/c", "a/d"],
        );
    }
}

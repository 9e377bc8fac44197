//! Shell globs over unit names, with the rules of fleet's `Conflicts` and `Replaces`: `*`, `?`,
//! `[a-z]`, `[^a-z]` and `\` before a character that is meant literally.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Any,
    One,
    Literal(char),
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no glob: a bracket or a backslash is left open")]
pub struct Malformed(String);

impl Glob {
    pub fn parse(text: &str) -> Result<Glob, Malformed> {
        let malformed = || Malformed(text.to_string());
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => Part::Literal(chars.next().ok_or_else(malformed)?),
                '[' => set(&mut chars).ok_or_else(malformed)?,
                other => Part::Literal(other),
            });
        }
        Ok(Glob {
            text: text.to_string(),
            parts,
        })
    }

    pub fn matches(&self, text: &str) -> bool {
        // Most names are told apart by their first character.
        if let Some(Part::Literal(first)) = self.parts.first()
            && !text.starts_with(*first)
        {
            return false;
        }
        // The usual two-pointer walk: linear but for the last star, which is tried again.
        let text: Vec<char> = text.chars().collect();
        let (mut part, mut at) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    star = Some((part, at));
                    part += 1;
                }
                Some(wanted) if wanted.takes(text[at]) => {
                    part += 1;
                    at += 1;
                }
                _ => match star {
                    Some((star_part, star_at)) => {
                        star = Some((star_part, star_at + 1));
                        part = star_part + 1;
                        at = star_at + 1;
                    }
                    None => return false,
                },
            }
        }
        self.parts[part..].iter().all(|part| *part == Part::Any)
    }
}

fn set(chars: &mut std::iter::Peekable<std::str::Chars>) -> Option<Part> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let literal = |chars: &mut std::iter::Peekable<std::str::Chars>| match chars.next()? {
        '\\' => chars.next(),
        '-' | ']' => None,
        c => Some(c),
    };
    loop {
        if chars.peek() == Some(&']') && !ranges.is_empty() {
            chars.next();
            return Some(Part::Set { negated, ranges });
        }
        let low = literal(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => literal(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Part::Any => false,
            Part::One => true,
            Part::Literal(literal) => *literal == c,
            Part::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_a_shell_does() {
        let cases = [
            ("*", "", true),
            ("web@*.service", "web@1.service", true),
            ("web@*.service", "web.service", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("?.service", "é.service", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*x", "*x", true),
            ("\\*x", "ax", false),
            ("[]-]", "x", false),
        ];
        for (glob, text, expected) in cases {
            let found = Glob::parse(glob).is_ok_and(|glob| glob.matches(text));
            assert_eq!(found, expected, "{glob} on {text}");
        }
        for open in ["[a", "[", "a\\", "[a-]", "[]a]"] {
            assert!(Glob::parse(open).is_err(), "{open}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let glob = Glob::parse(&"*a".repeat(60)).expect("glob");
        assert!(!glob.matches(&("a".repeat(200) + "b")));
    }
}

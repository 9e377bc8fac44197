//! Conditions on a machine, as `[X-Strake] Require=` and `Prefer=` take them: a name, a
//! comparison and a value, such as `zone = a`, `region =~ ^eu-`, `memory_free >= 2G` or
//! `load5 < 0.5*cpus`.
//!
//! A name is one of the machine's metadata or facts. What the machine does not know makes every
//! condition false but `!=` and `!~`.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::machine::{Fact, LIVE_FACTS, Machine};

const LONGEST: usize = 512;
// A regular expression compiles to at most this; more is refused when it is written.
const REGEX_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Comparison {
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Below,
    Above,
    Matches,
    MatchesNot,
}

// Longer ones first: `<=` is not `<` and then `=`.
const COMPARISONS: [(&str, Comparison); 8] = [
    ("=~", Comparison::Matches),
    ("!~", Comparison::MatchesNot),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("=", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    /// A number, times a fact when one is named.
    Amount(f64, Option<String>),
    Pattern(Regex),
}

#[derive(Debug, Clone)]
pub struct Condition {
    text: String,
    name: String,
    comparison: Comparison,
    value: Value,
}

// A condition is what was written: the parsed form follows from it.
impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl PartialOrd for Condition {
    fn partial_cmp(&self, other: &Condition) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Condition {
    fn cmp(&self, other: &Condition) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl std::hash::Hash for Condition {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("a condition has a comparison: = != < <= > >= =~ or !~")]
    NoComparison,
    #[error("{0:?} is no name of a metadata key or a fact")]
    Name(String),
    #[error("nothing stands behind the comparison")]
    NoValue,
    #[error("{0:?} is no number (such as 2, 0.5*cpus or 512M)")]
    Number(String),
    #[error("{0:?} is no regular expression that can be used")]
    Pattern(String),
    #[error("a condition may not be longer than {LONGEST} characters")]
    TooLong,
}

/// From and to, both included.
struct Range(f64, f64);

impl Range {
    fn meets(&self, other: &Range) -> bool {
        self.0.max(other.0) <= self.1.min(other.1)
    }
}

impl Condition {
    pub fn parse(text: &str) -> Result<Condition, Refused> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(Refused::TooLong);
        }
        let place = text.find(['=', '!', '<', '>']);
        let (name, rest) = text.split_at(place.ok_or(Refused::NoComparison)?);
        let found = COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign));
        let (sign, comparison) = found.ok_or(Refused::NoComparison)?;
        let (name, value) = (name.trim(), rest[sign.len()..].trim());
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(Refused::Name(name.to_string()));
        }
        if value.is_empty() {
            return Err(Refused::NoValue);
        }
        let value = match comparison {
            Comparison::Matches | Comparison::MatchesNot => {
                let built = RegexBuilder::new(value).size_limit(REGEX_BYTES).build();
                Value::Pattern(built.map_err(|_| Refused::Pattern(value.to_string()))?)
            }
            Comparison::Equal | Comparison::NotEqual => Value::Text(value.to_string()),
            _ => amount(value).ok_or_else(|| Refused::Number(value.to_string()))?,
        };
        Ok(Condition {
            text: text.to_string(),
            name: name.to_string(),
            comparison: *comparison,
            value,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it looks at something that moves while a machine works. Such a condition decides
    /// where a unit is put, and never takes a unit away again.
    pub fn is_live(&self) -> bool {
        let factor = match &self.value {
            Value::Amount(_, Some(fact)) => fact.as_str(),
            _ => "",
        };
        LIVE_FACTS.contains(&self.name.as_str()) || LIVE_FACTS.contains(&factor)
    }

    /// Whether no machine can meet both: two values of one name, or a range with nothing in it.
    pub fn excludes(&self, other: &Condition) -> bool {
        self.name == other.name
            && match (self.range(), other.range()) {
                (Some(one), Some(two)) => !one.meets(&two),
                _ => match (
                    &self.comparison,
                    &self.value,
                    &other.comparison,
                    &other.value,
                ) {
                    (Comparison::Equal, Value::Text(one), Comparison::Equal, Value::Text(two)) => {
                        one != two
                    }
                    _ => false,
                },
            }
    }

    /// Whether it cannot hold where the name has one of these values.
    pub fn excludes_all<'v>(&self, name: &str, values: impl Iterator<Item = &'v String>) -> bool {
        let is = |value: &String| matches!(&self.value, Value::Text(text) if text == value);
        self.name == name && self.comparison == Comparison::Equal && !values.into_iter().any(is)
    }

    /// The numbers that it lets through, if it is about numbers and about nothing else.
    fn range(&self) -> Option<Range> {
        let number = match &self.value {
            Value::Amount(number, None) => *number,
            Value::Text(text) if self.comparison == Comparison::Equal => quantity(text)?,
            _ => return None,
        };
        let (least, most) = (f64::NEG_INFINITY, f64::INFINITY);
        Some(match self.comparison {
            Comparison::Equal => Range(number, number),
            Comparison::AtLeast => Range(number, most),
            Comparison::Above => Range(number.next_up(), most),
            Comparison::AtMost => Range(least, number),
            Comparison::Below => Range(least, number.next_down()),
            _ => return None,
        })
    }

    pub fn holds(&self, machine: &Machine) -> bool {
        let fact = machine.fact(&self.name);
        match (&self.value, fact) {
            (_, None) => matches!(
                self.comparison,
                Comparison::NotEqual | Comparison::MatchesNot
            ),
            (Value::Pattern(pattern), Some(fact)) => {
                pattern.is_match(&fact.to_string()) == (self.comparison == Comparison::Matches)
            }
            (Value::Text(text), Some(fact)) => {
                fact.is(text) == (self.comparison == Comparison::Equal)
            }
            (Value::Amount(number, factor), Some(fact)) => {
                let factor = match factor {
                    None => Some(1.0),
                    Some(name) => machine.fact(name).as_ref().and_then(Fact::number),
                };
                match (fact.number(), factor) {
                    (Some(left), Some(factor)) => self.compare(left, number * factor),
                    _ => false,
                }
            }
        }
    }

    fn compare(&self, left: f64, right: f64) -> bool {
        match self.comparison {
            Comparison::AtMost => left <= right,
            Comparison::AtLeast => left >= right,
            Comparison::Below => left < right,
            Comparison::Above => left > right,
            _ => false,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `2G`, `0.5*cpus`, `cpus*2`, `cpus`.
fn amount(text: &str) -> Option<Value> {
    let (left, right) = match text.split_once('*') {
        Some((left, right)) => (left.trim(), right.trim()),
        None => (text, "1"),
    };
    let name = |text: &str| {
        let named = text.starts_with(|c: char| c.is_ascii_alphabetic());
        named.then(|| text.to_string())
    };
    match (quantity(left), quantity(right)) {
        (Some(a), Some(b)) => Some(Value::Amount(a * b, None)),
        (Some(a), None) => Some(Value::Amount(a, Some(name(right)?))),
        (None, Some(b)) => Some(Value::Amount(b, Some(name(left)?))),
        (None, None) => None,
    }
}

/// A number with an optional suffix K, M, G or T: powers of 1024, as in systemd's `MemoryMax=`.
pub fn quantity(text: &str) -> Option<f64> {
    let (digits, factor) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], 1024.0),
        (at, 'M') => (&text[..at], 1024.0 * 1024.0),
        (at, 'G') => (&text[..at], 1024.0 * 1024.0 * 1024.0),
        (at, 'T') => (&text[..at], 1024.0 * 1024.0 * 1024.0 * 1024.0),
        _ => (text, 1.0),
    };
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number: f64 = plain.then(|| digits.parse().ok()).flatten()?;
    number.is_finite().then_some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        let mut machine = Machine::bare("m1");
        machine
            .metadata
            .insert("region".to_string(), "eu-west".to_string());
        machine
            .metadata
            .insert("rack".to_string(), "07".to_string());
        let facts = [("cpus", 4.0), ("load5", 1.5), ("memory_free", 3e9)];
        for (name, value) in facts {
            machine.facts.insert(name.to_string(), Fact::Number(value));
        }
        machine
    }

    #[test]
    fn conditions_hold_or_not() {
        let cases = [
            ("region = eu-west", true),
            ("region != eu-west", false),
            ("region =~ ^eu-", true),
            ("region !~ west$", false),
            ("rack = 7", false),
            ("rack >= 7", true),
            ("load5 < 0.5*cpus", true),
            ("load5 < cpus*0.25", false),
            ("memory_free >= 2G", true),
            ("memory_free >= 4096M", false),
            ("cpus = 4", true),
            ("zone = a", false),
            ("zone != a", true),
            ("zone < 3", false),
            ("load5 < 2*unknown", false),
            ("region < 3", false),
        ];
        for (text, expected) in cases {
            let condition = Condition::parse(text).expect(text);
            assert_eq!(condition.holds(&machine()), expected, "{text}");
            assert_eq!(condition.to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_a_condition_is_refused_with_the_reason() {
        let cases = [
            ("region", Refused::NoComparison),
            ("a b = c", Refused::Name("a b".into())),
            ("= c", Refused::Name(String::new())),
            ("a =", Refused::NoValue),
            ("a < 1*2*3", Refused::Number("1*2*3".into())),
            ("a < -", Refused::Number("-".into())),
            ("a =~ [", Refused::Pattern("[".into())),
            ("a =~ (x{99}){999}", Refused::Pattern("(x{99}){999}".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(Condition::parse(text).err(), Some(expected), "{text}");
        }
        assert_eq!(
            Condition::parse(&"a".repeat(600)).err(),
            Some(Refused::TooLong)
        );
    }

    #[test]
    fn live_conditions_are_known() {
        let live = |text: &str| Condition::parse(text).expect(text).is_live();
        assert!(live("load5 < 2") && live("memory_free > 1G") && live("cpus > 2*load1"));
        assert!(!live("cpus > 2") && !live("zone = a"));
    }

    #[test]
    fn conditions_that_exclude_each_other_are_found() {
        for (one, two, expected) in [
            ("zone = a", "zone = b", true),
            ("zone = a", "zone = a", false),
            ("zone = a", "disk = b", false),
            ("zone = a", "zone != b", false),
            ("memory = 2G", "memory = 2048M", false),
            ("memory = 2G", "memory = 3G", true),
            ("cpus > 4", "cpus < 2", true),
            ("cpus > 4", "cpus <= 4", true),
            ("cpus >= 4", "cpus <= 4", false),
            ("cpus = 3", "cpus >= 4", true),
            ("cpus = 4", "cpus >= 4", false),
            ("load5 < 0.5*cpus", "load5 > 100", false),
            ("zone =~ ^a", "zone = b", false),
        ] {
            let condition = |text| Condition::parse(text).expect(text);
            let (a, b) = (condition(one), condition(two));
            assert_eq!(a.excludes(&b), expected, "{one}, {two}");
            assert_eq!(b.excludes(&a), expected, "{two}, {one}");
        }
        let values = ["a".to_string(), "b".to_string()];
        let excluded = |text| {
            let condition = Condition::parse(text).expect(text);
            condition.excludes_all("zone", values.iter())
        };
        assert!(excluded("zone = c"));
        assert!(!excluded("zone = b") && !excluded("disk = c") && !excluded("zone != c"));
    }
}

//! Address variables in user-data, replaced before anything else reads the text.
//!
//! `$public_ipv4` becomes the address, `\$public_ipv4` the name itself. A name ends where no
//! letter, digit or underscore follows, and two names may touch. While an address is unknown its
//! name becomes a one-character marker, which no user text may hold: it goes through YAML as
//! ordinary content, tells the plan what has to wait, and `restore` turns it back.
//!
//! `Substituted::origin` finds the place in the user's text for each place in the result.

use std::borrow::Cow;
use std::ops::Range;

use crate::context::{Addresses, Variable};

/// Unicode noncharacters, reserved for use inside a program.
const MARKERS: [(char, Variable); 4] = [
    ('\u{FDD0}', Variable::PublicIpv4),
    ('\u{FDD1}', Variable::PrivateIpv4),
    ('\u{FDD2}', Variable::PublicIpv6),
    ('\u{FDD3}', Variable::PrivateIpv6),
];
/// What all markers begin with in UTF-8.
const MARKER_HEAD: &[u8] = &[0xEF, 0xB7];

#[derive(Debug)]
pub(crate) struct Substituted<'a> {
    pub(crate) text: Cow<'a, str>,
    /// End of each replacement, in the result and in the user's text, ascending.
    edits: Vec<Edit>,
    pub(crate) doubts: Vec<Doubt>,
}

#[derive(Debug)]
struct Edit {
    start: usize,
    end: usize,
    origin_start: usize,
    origin_end: usize,
}

/// A name that is probably not what the user meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// In the user's text.
    pub(crate) place: Range<usize>,
    pub(crate) kind: DoubtKind,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DoubtKind {
    /// A longer name that begins with a variable's: left as it is.
    Longer { found: String, variable: Variable },
    /// The variable has no value on this machine.
    Absent(Variable),
}

pub(crate) fn substitute<'a>(text: &'a str, addresses: &Addresses) -> Substituted<'a> {
    let mut result = String::new();
    let mut edits: Vec<Edit> = Vec::new();
    let mut doubts = Vec::new();
    let mut copied = 0;
    for (dollar, _) in text.match_indices('$') {
        let Some(variable) = Variable::ALL
            .into_iter()
            .find(|v| text[dollar..].starts_with(v.name()))
        else {
            continue;
        };
        let end = dollar + variable.name().len();
        if let Some(found) = longer_name(text, dollar, end) {
            let place = dollar..dollar + found.len();
            let kind = DoubtKind::Longer {
                found: found.to_owned(),
                variable,
            };
            doubts.push(Doubt { place, kind });
            continue;
        }
        let escaped = dollar > copied && text.as_bytes()[dollar - 1] == b'\\';
        let start = if escaped { dollar - 1 } else { dollar };
        result.push_str(&text[copied..start]);
        let result_start = result.len();
        if escaped {
            result.push_str(variable.name());
        } else {
            match addresses.text(variable) {
                None => result.push(marker(variable)),
                Some(value) => {
                    if value.is_empty() {
                        let kind = DoubtKind::Absent(variable);
                        doubts.push(Doubt {
                            place: dollar..end,
                            kind,
                        });
                    }
                    result.push_str(&value);
                }
            }
        }
        edits.push(Edit {
            start: result_start,
            end: result.len(),
            origin_start: start,
            origin_end: end,
        });
        copied = end;
    }
    if edits.is_empty() {
        return Substituted {
            text: Cow::Borrowed(text),
            edits,
            doubts,
        };
    }
    result.push_str(&text[copied..]);
    Substituted {
        text: Cow::Owned(result),
        edits,
        doubts,
    }
}

fn longer_name(text: &str, start: usize, end: usize) -> Option<&str> {
    let tail = &text[end..];
    let length = tail.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let length = length.unwrap_or(tail.len());
    (length > 0).then(|| &text[start..end + length])
}

fn marker(variable: Variable) -> char {
    MARKERS
        .into_iter()
        .find(|(_, v)| *v == variable)
        .map_or('\u{FDD0}', |(marker, _)| marker)
}

impl Substituted<'_> {
    /// The offset in the user's text of an offset in the result; inside a replacement, its start.
    pub(crate) fn origin(&self, offset: usize) -> usize {
        let after = self.edits.partition_point(|edit| edit.start <= offset);
        match after.checked_sub(1).map(|index| &self.edits[index]) {
            None => offset,
            Some(edit) if offset < edit.end => edit.origin_start,
            Some(edit) => edit.origin_end + (offset - edit.end),
        }
    }

    /// The same for the end of a place: behind a replacement that the place ends in.
    pub(crate) fn origin_end(&self, end: usize) -> usize {
        let Some(last) = end.checked_sub(1) else {
            return 0;
        };
        let after = self.edits.partition_point(|edit| edit.start <= last);
        match after.checked_sub(1).map(|index| &self.edits[index]) {
            Some(edit) if last < edit.end => edit.origin_end,
            _ => self.origin(last) + 1,
        }
    }
}

/// Whether a text waits for an address.
pub(crate) fn waits(bytes: &[u8]) -> bool {
    // Looking for one byte is fast, and hardly any text holds it.
    bytes.contains(&MARKER_HEAD[0])
        && bytes
            .windows(3)
            .any(|window| window.starts_with(MARKER_HEAD) && (0x90..=0x93).contains(&window[2]))
}

/// Puts the names of the variables back where their markers stand.
pub(crate) fn restore(text: &str) -> Cow<'_, str> {
    if !waits(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match MARKERS.into_iter().find(|(marker, _)| *marker == c) {
            Some((_, variable)) => result.push_str(variable.name()),
            None => result.push(c),
        }
    }
    Cow::Owned(result)
}

/// A text as it may look once all addresses are known, for checks that cannot wait.
pub(crate) fn with_samples(text: &str) -> Cow<'_, str> {
    if !waits(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let sample = |variable| match variable {
        Variable::PublicIpv4 | Variable::PrivateIpv4 => "192.0.2.1",
        Variable::PublicIpv6 | Variable::PrivateIpv6 => "2001:db8::1",
    };
    let sampled = MARKERS
        .into_iter()
        .fold(text.to_owned(), |text, (marker, variable)| {
            text.replace(marker, sample(variable))
        });
    Cow::Owned(sampled)
}

/// The first marker character in a user's own text, which is not allowed there.
pub(crate) fn find_marker(text: &str) -> Option<usize> {
    if !waits(text.as_bytes()) {
        return None;
    }
    text.char_indices()
        .find(|(_, c)| MARKERS.iter().any(|(m, _)| m == c))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Address;

    fn addresses() -> Addresses {
        Addresses {
            public_ipv4: Address::Known([192, 0, 2, 1].into()),
            private_ipv4: Address::Known([10, 0, 0, 1].into()),
            public_ipv6: Address::Absent,
            private_ipv6: Address::Unknown,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let substituted = substitute(text, &addresses());
        assert_eq!(restore(&substituted.text), expected);
        for (offset, _) in substituted.text.char_indices() {
            assert!(text.is_char_boundary(substituted.origin(offset)));
        }
    }

    #[test]
    fn known_addresses_are_put_in_and_unknown_ones_keep_their_name() {
        check("a: $public_ipv4 # $private_ipv4", "a: 192.0.2.1 # 10.0.0.1");
        check("x $private_ipv6 y", "x $private_ipv6 y");
        check("[$public_ipv6]", "[]");
    }

    #[test]
    fn a_backslash_keeps_the_name() {
        check(r"a: \$public_ipv4", "a: $public_ipv4");
        check(r#"a: "\$private_ipv6""#, r#"a: "$private_ipv6""#);
    }

    #[test]
    fn names_may_touch() {
        check(
            "$public_ipv4$public_ipv4$private_ipv4",
            "192.0.2.1192.0.2.110.0.0.1",
        );
        check(r"$public_ipv4\$public_ipv4", "192.0.2.1$public_ipv4");
    }

    #[test]
    fn a_longer_name_is_left_alone_and_doubted() {
        let substituted = substitute("$public_ipv45 $public_ipv4-x", &addresses());
        assert_eq!(substituted.text, "$public_ipv45 192.0.2.1-x");
        let found = "$public_ipv45".to_owned();
        let kind = DoubtKind::Longer {
            found,
            variable: Variable::PublicIpv4,
        };
        assert_eq!(substituted.doubts, [Doubt { place: 0..13, kind }]);
    }

    #[test]
    fn other_dollars_are_left_alone() {
        check("$HOME ${private_ipv4} $$ $", "$HOME ${private_ipv4} $$ $");
    }

    #[test]
    fn places_are_those_of_the_users_text() {
        let text = r"k: $public_ipv4 \$public_ipv4 end";
        let substituted = substitute(text, &addresses());
        let end = substituted.text.find("end").expect("it is there");
        assert_eq!(
            substituted.origin(end),
            text.find("end").expect("it is there")
        );
        assert_eq!(substituted.origin(0), 0);
        assert_eq!(
            substituted.origin(5),
            3,
            "inside a replacement: where it starts"
        );
    }

    #[test]
    fn only_what_holds_a_marker_waits() {
        assert!(waits(
            substitute("$private_ipv6", &addresses()).text.as_bytes()
        ));
        assert!(!waits(
            substitute("$private_ipv4 \u{FDCF}", &addresses())
                .text
                .as_bytes()
        ));
        assert_eq!(find_marker("ab\u{FDD3}"), Some(2));
    }
}

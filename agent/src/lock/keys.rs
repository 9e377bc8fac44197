//! What lies where in the store: locksmith's value where locksmith has it, and ours beside it.
//!
//! | key below `coreos.com/updateengine/rebootlock/` | value | written by |
//! |---|---|---|
//! | `semaphore` | locksmith's JSON | whoever takes or gives back the lock |
//! | `max` | `Max`, when it was set as a share | `strake lock set-max` |
//! | `holders/ID` | `Claim`, while ID holds the lock | that machine |
//! | `waiting/ID` | `Claim`, under a lease: the queue, by creation | that machine |
//! | `twins/ID` | `Twin`, for an hour | the second machine with that id |
//! | `takeovers/ID` | `Takeover`, the latest from that machine | whoever took over |
//!
//! A group other than the default one has all of it below `groups/NAME/`.

use std::fmt::Write as _;

pub const ALL: &str = "coreos.com/updateengine/rebootlock/";

/// Machines that share one lock; the default one has no name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group(String);

impl Group {
    /// An empty name is the default group.
    pub fn named(name: &str) -> Group {
        Group(name.to_string())
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whose a key is, from what follows `ALL` in it.
    pub fn of_key(rest: &str) -> Group {
        let named = rest.strip_prefix("groups/");
        let name = named.and_then(|rest| rest.split('/').next());
        Group(unescape(name.unwrap_or_default()))
    }

    fn dir(&self) -> String {
        if self.0.is_empty() {
            ALL.to_string()
        } else {
            format!("{ALL}groups/{}/", escape(&self.0))
        }
    }

    pub fn semaphore(&self) -> String {
        format!("{}semaphore", self.dir())
    }

    pub fn max(&self) -> String {
        format!("{}max", self.dir())
    }

    pub fn holder(&self, id: &str) -> String {
        format!("{}{}", self.holders(), escape(id))
    }

    pub fn holders(&self) -> String {
        format!("{}holders/", self.dir())
    }

    pub fn waiting(&self, id: &str) -> String {
        format!("{}{}", self.queue(), escape(id))
    }

    pub fn queue(&self) -> String {
        format!("{}waiting/", self.dir())
    }

    pub fn twin(&self, id: &str) -> String {
        format!("{}{}", self.twins(), escape(id))
    }

    pub fn twins(&self) -> String {
        format!("{}twins/", self.dir())
    }

    pub fn takeover(&self, id: &str) -> String {
        format!("{}{}", self.takeovers(), escape(id))
    }

    pub fn takeovers(&self) -> String {
        format!("{}takeovers/", self.dir())
    }
}

/// As in a URL's path: names of others must not reach into other keys.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            b'.' if text.bytes().any(|byte| byte != b'.') => escaped.push('.'),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

/// The name that `escape` wrote.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        let (byte, used) = match (first, byte) {
            (b'%', Some(byte)) => (byte, 2),
            _ => (*first, 0),
        };
        bytes.push(byte);
        rest = &after[used..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_locksmiths_and_names_stay_within_them() {
        let default = Group::default();
        assert_eq!(
            default.semaphore(),
            "coreos.com/updateengine/rebootlock/semaphore"
        );
        let group = Group::named("web servers/eu");
        assert_eq!(
            group.semaphore(),
            "coreos.com/updateengine/rebootlock/groups/web%20servers%2Feu/semaphore"
        );
        assert_eq!(escape(".."), "%2E%2E");
        assert_eq!(escape("node-1.example"), "node-1.example");
    }

    #[test]
    fn the_group_of_a_key_is_found_again() {
        for name in ["", "workers", "web servers/eu", "..", "%41", "\u{fc}ber"] {
            let group = Group::named(name);
            for key in [group.semaphore(), group.holder("a/b"), group.queue()] {
                let rest = key.strip_prefix(ALL).expect("below it");
                assert_eq!(Group::of_key(rest), group, "{key}");
            }
            assert_eq!(unescape(&escape(name)), name);
        }
        assert_eq!(unescape("100%"), "100%");
    }
}

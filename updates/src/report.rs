//! What a machine tells the repository's server about an update, one event in each `POST` to
//! [`PATH`].
//!
//! An event is a claim and proves nothing: nobody signs it, so nothing that is installed may ever
//! depend on one. A machine goes by a name that is made from its machine id and does not give it
//! away. Every field has bounds, which hold on both sides: what cannot be posted cannot be made.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::channel::Channel;
use crate::digest::{hex_bytes, to_hex};
use crate::rollout::{MachineId, Place};
use crate::time::Timestamp;
use crate::version::Version;

/// Where events go, below the repository's URL.
pub const PATH: &str = "v1/events";
/// Bytes of a body at most.
pub const LIMIT: usize = 4096;
/// Bytes of a cause at most.
pub const CAUSE_LIMIT: usize = 1024;

/// What happened on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Claim")]
pub struct Event {
    pub machine: Reporter,
    pub channel: Channel,
    /// The release it is about. For `checked`: the newest the channel offers, whether or not this
    /// machine may have it yet; the one that runs when the channel offers nothing.
    pub release: Version,
    /// The release that ran when the attempt began; for `checked` the one that runs.
    pub from: Version,
    pub kind: Kind,
    /// The machine's place in the queue for `release`, of which the server makes its wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Why; `fell_back` has one always, `checked` and `downloading` when they failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// By the machine's clock.
    pub time: Timestamp,
}

/// An event as it came, before the rules between its fields.
#[derive(Deserialize)]
struct Claim {
    machine: Reporter,
    channel: Channel,
    release: Version,
    from: Version,
    kind: Kind,
    #[serde(default)]
    place: Option<Place>,
    #[serde(default)]
    cause: Option<Cause>,
    time: Timestamp,
}

/// How far a machine is with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It asked what the channel offers.
    Checked,
    /// It began to fetch the release.
    Downloading,
    /// The release is in the passive slot, read back, its boot entry in place.
    Installed,
    /// The release runs and proved healthy.
    Blessed,
    /// The release did not come up healthy and the old one runs again.
    FellBack,
}

/// A machine's name towards the server: the same in every event, and not its machine id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reporter([u8; 16]);

/// One line that says why, at most [`CAUSE_LIMIT`] bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cause(String);

/// Why bytes are no event.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEvent {
    #[error("the body is longer than {LIMIT} bytes")]
    TooLong,
    #[error("the body is no event: {0}")]
    Json(#[from] serde_json::Error),
}

/// Why a text is no machine's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("machine {0:?} is not 32 lower-case hexadecimal digits")]
pub struct InvalidReporter(String);

/// Why a text is no cause.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("cause is not 1 to {CAUSE_LIMIT} bytes without control characters")]
pub struct InvalidCause;

/// Rules between fields.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum Contradiction {
    #[error("kind fell_back needs a cause")]
    NoCause,
    #[error("kind {0} has no cause")]
    NeedlessCause(Kind),
    #[error("kind {kind} is about another release than from, and both are {release}")]
    SameRelease { kind: Kind, release: Version },
}

impl Event {
    /// Reads a body that came from outside.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidEvent> {
        if body.len() > LIMIT {
            return Err(InvalidEvent::TooLong);
        }
        Ok(serde_json::from_slice(body)?)
    }

    /// The body to post.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an event is plain fields")
    }
}

impl TryFrom<Claim> for Event {
    type Error = String;

    fn try_from(claim: Claim) -> Result<Self, String> {
        let (kind, release) = (claim.kind, claim.release);
        let contradiction = match (kind, &claim.cause) {
            (Kind::FellBack, None) => Some(Contradiction::NoCause),
            (Kind::Installed | Kind::Blessed, Some(_)) => Some(Contradiction::NeedlessCause(kind)),
            _ if kind != Kind::Checked && release == claim.from => {
                Some(Contradiction::SameRelease { kind, release })
            }
            _ => None,
        };
        match contradiction {
            Some(contradiction) => Err(contradiction.to_string()),
            None => Ok(Self {
                machine: claim.machine,
                channel: claim.channel,
                release,
                from: claim.from,
                kind,
                place: claim.place,
                cause: claim.cause,
                time: claim.time,
            }),
        }
    }
}

impl Reporter {
    /// The machine id is the key: who knows the name does not learn it.
    pub fn of(machine: MachineId) -> Self {
        let mac = Hmac::<Sha256>::new_from_slice(&machine.bytes());
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(b"strake report");
        let tag = mac.finalize().into_bytes();
        let mut name = [0; 16];
        name.copy_from_slice(&tag[..16]);
        Self(name)
    }
}

impl Cause {
    /// Any text made to fit: white space and control characters become one space, what is too
    /// long is cut. None when nothing is left.
    pub fn of(text: &str) -> Option<Self> {
        let is_space = |c: char| c.is_whitespace() || c.is_control();
        let words = text.split(is_space).filter(|word| !word.is_empty());
        let mut line = words.collect::<Vec<_>>().join(" ");
        let mut end = line.len().min(CAUSE_LIMIT);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.try_into().ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reporter {
    type Err = InvalidReporter;

    fn from_str(text: &str) -> Result<Self, InvalidReporter> {
        hex_bytes(text)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| InvalidReporter(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for Reporter {
    type Error = InvalidReporter;

    fn try_from(text: String) -> Result<Self, InvalidReporter> {
        text.parse()
    }
}

impl From<Reporter> for String {
    fn from(reporter: Reporter) -> Self {
        reporter.to_string()
    }
}

impl TryFrom<String> for Cause {
    type Error = InvalidCause;

    fn try_from(text: String) -> Result<Self, InvalidCause> {
        let fits = (1..=CAUSE_LIMIT).contains(&text.len()) && !text.contains(char::is_control);
        fits.then_some(Self(text)).ok_or(InvalidCause)
    }
}

impl From<Cause> for String {
    fn from(cause: Cause) -> Self {
        cause.0
    }
}

impl fmt::Display for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Checked,
        Self::Downloading,
        Self::Installed,
        Self::Blessed,
        Self::FellBack,
    ];

    /// As events write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Checked => "checked",
            Kind::Downloading => "downloading",
            Kind::Installed => "installed",
            Kind::Blessed => "blessed",
            Kind::FellBack => "fell_back",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn fell_back() -> Value {
        json!({
            "machine": "00112233445566778899aabbccddeeff",
            "channel": "stable",
            "release": "1.1.0",
            "from": "1.0.0",
            "kind": "fell_back",
            "place": 1_091_238_829,
            "cause": "kernel panic",
            "time": "2031-05-04T03:02:01Z",
        })
    }

    fn parse(value: &Value) -> Result<Event, String> {
        Event::parse(&serde_json::to_vec(value).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_event_reads_as_it_is_written() {
        let event = parse(&fell_back()).unwrap();
        assert_eq!(event.kind, Kind::FellBack);
        assert_eq!(serde_json::to_value(&event).unwrap(), fell_back());
        assert_eq!(Event::parse(&event.to_bytes()).unwrap(), event);
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn each_field_has_bounds_that_are_named() {
        let long = "x".repeat(CAUSE_LIMIT + 1);
        for (field, value, expected) in [
            ("machine", json!("0011"), "machine \"0011\" is not 32"),
            (
                "machine",
                json!("A0112233445566778899aabbccddeeff"),
                "is not 32 lower-case",
            ),
            ("channel", json!("../x"), "channel \"../x\" is not"),
            ("release", json!("1.0"), "version \"1.0\" is not"),
            ("from", json!("latest"), "version \"latest\" is not"),
            ("from", json!("1.1.0"), "another release than from"),
            ("kind", json!("exploded"), "unknown variant `exploded`"),
            ("kind", json!("blessed"), "kind blessed has no cause"),
            ("place", json!(1u64 << 32), "invalid value"),
            ("place", json!(-1), "invalid value"),
            ("cause", json!(""), "cause is not 1 to 1024 bytes"),
            ("cause", json!(long), "cause is not 1 to 1024 bytes"),
            ("cause", json!("a\u{1b}[2J"), "without control characters"),
            ("cause", Value::Null, "kind fell_back needs a cause"),
            ("time", json!("yesterday"), "is not a time such as"),
        ] {
            let mut event = fell_back();
            event[field] = value;
            let error = parse(&event).unwrap_err();
            assert!(error.contains(expected), "{field}: {error}");
        }
        for field in ["machine", "channel", "release", "from", "kind", "time"] {
            let mut event = fell_back();
            event.as_object_mut().unwrap().remove(field);
            let error = parse(&event).unwrap_err();
            assert!(
                error.contains(&format!("missing field `{field}`")),
                "{error}"
            );
        }
        let body = [
            b" ".repeat(LIMIT),
            serde_json::to_vec(&fell_back()).unwrap(),
        ]
        .concat();
        assert!(matches!(Event::parse(&body), Err(InvalidEvent::TooLong)));
    }

    #[test]
    fn a_newer_machine_may_say_more_than_this_server_knows() {
        let mut event = fell_back();
        event["boots"] = json!(3);
        assert!(parse(&event).is_ok());
    }

    #[test]
    fn a_machine_has_one_name_and_it_is_not_its_id() {
        let id: MachineId = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        let name = Reporter::of(id);
        assert_eq!(name.to_string(), "8b862e7a2fff82eba5104871f8c7293c");
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn journal_lines_become_one_line() {
        let cause = Cause::of("  a\n\tb\u{1b}[0m \u{7f} c\r\n").unwrap();
        assert_eq!(cause.as_str(), "a b [0m c");
        assert_eq!(Cause::of(" \n"), None);
    }

    proptest! {
        #[test]
        fn any_text_makes_a_cause_that_can_be_posted(text: String, times in 1usize..200) {
            if let Some(cause) = Cause::of(&text.repeat(times)) {
                prop_assert_eq!(Cause::try_from(cause.to_string()), Ok(cause.clone()));
                let mut event = fell_back();
                event["cause"] = json!(cause);
                let event = parse(&event).unwrap();
                prop_assert_eq!(Event::parse(&event.to_bytes()).unwrap(), event);
            }
        }

        #[test]
        fn bytes_from_outside_never_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            let _ = Event::parse(&bytes);
        }
    }
}

//! User-data as it comes: which kind it is, unpacked into parts.
//!
//! Limits, each named by the problem it causes: [`MAX_BYTES`] of expanded text in all,
//! [`MAX_DEPTH`] levels of packing, [`MAX_PARTS`] parts.

mod gzip;
mod kind;
mod multipart;

use std::borrow::Cow;

pub(crate) use gzip::unpack;
pub use kind::Kind;

use crate::problem::{Level, Problem, Rule};
use crate::source::Source;

pub(crate) const MAX_BYTES: usize = 16 << 20;
pub(crate) const MAX_DEPTH: u32 = 8;
pub(crate) const MAX_PARTS: u32 = 256;

/// One thing to be checked: a cloud-config or a script.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: Cow<'a, str>,
    pub(crate) number: Option<u32>,
    pub(crate) lines_before: u32,
}

#[derive(Debug)]
pub(crate) struct UserData<'a> {
    pub(crate) kind: Kind,
    pub(crate) parts: Vec<Part<'a>>,
    pub(crate) problems: Vec<Problem>,
}

pub(crate) fn open(bytes: &[u8]) -> UserData<'_> {
    let mut opening = Opening {
        left: MAX_BYTES,
        parts: Vec::new(),
        count: 0,
        problems: Vec::new(),
    };
    let place = Place {
        depth: 0,
        number: None,
        lines_before: Some(0),
        declared: None,
    };
    if bytes.len() > MAX_BYTES {
        opening.refuse(&place, Rule::Limit, too_big());
        return UserData {
            kind: Kind::Unknown,
            parts: Vec::new(),
            problems: opening.problems,
        };
    }
    let kind = opening.open(Cow::Borrowed(bytes), &place);
    UserData {
        kind,
        parts: opening.parts,
        problems: opening.problems,
    }
}

fn too_big() -> String {
    format!(
        "the user-data is larger than {} MiB when expanded",
        MAX_BYTES >> 20
    )
}

/// Where a piece of user-data lies within the whole.
#[derive(Debug, Clone)]
struct Place {
    depth: u32,
    number: Option<u32>,
    /// `None` once the text is no longer the one the user sees.
    lines_before: Option<u32>,
    /// The kind a part's header declares.
    declared: Option<Kind>,
}

struct Opening<'a> {
    left: usize,
    parts: Vec<Part<'a>>,
    count: u32,
    problems: Vec<Problem>,
}

impl<'a> Opening<'a> {
    fn open(&mut self, bytes: Cow<'a, [u8]>, place: &Place) -> Kind {
        if place.depth > MAX_DEPTH {
            let message = format!("the user-data is packed more than {MAX_DEPTH} levels deep");
            self.refuse(place, Rule::Limit, message);
            return Kind::Unknown;
        }
        if bytes.starts_with(&gzip::MAGIC) {
            return self.open_gzip(&bytes, place);
        }
        if let Some(boundary) = multipart::boundary(&bytes) {
            self.open_multipart(&bytes, &boundary, place);
            return Kind::Multipart;
        }
        let Some(text) = self.decode(bytes, place) else {
            return Kind::Unknown;
        };
        let kind = match (Kind::of(&text), place.declared) {
            (Kind::Unknown, Some(declared)) => declared,
            (kind, _) => kind,
        };
        match kind {
            Kind::CloudConfig | Kind::Script => self.parts.push(Part {
                kind,
                text,
                number: place.number,
                lines_before: place.lines_before.unwrap_or(0),
            }),
            Kind::Empty | Kind::Multipart => {}
            Kind::Ignition | Kind::Butane | Kind::Unknown => {
                let problem = kind.refusal(&text);
                self.add(place, problem);
            }
        }
        kind
    }

    fn open_gzip(&mut self, bytes: &[u8], place: &Place) -> Kind {
        match gzip::unpack(bytes, self.left) {
            Ok(unpacked) => {
                self.left -= unpacked.len();
                let place = Place {
                    depth: place.depth + 1,
                    lines_before: None,
                    ..place.clone()
                };
                // A text that was gzipped whole is what the user sees once it is unpacked.
                let lines_before = place.number.is_none().then_some(0);
                self.open(
                    Cow::Owned(unpacked),
                    &Place {
                        lines_before,
                        ..place
                    },
                )
            }
            Err(gzip::Error::TooBig) => {
                self.refuse(place, Rule::Limit, too_big());
                Kind::Unknown
            }
            Err(error) => {
                self.refuse(
                    place,
                    Rule::Undecodable,
                    format!("the user-data is gzip, but {error}"),
                );
                Kind::Unknown
            }
        }
    }

    fn open_multipart(&mut self, bytes: &[u8], boundary: &[u8], place: &Place) {
        let document = multipart::split(bytes, boundary);
        if !document.closed {
            let message = "the multipart text ends without its closing boundary";
            self.refuse(place, Rule::Kind, message.to_owned());
        }
        for part in document.parts {
            if self.count == MAX_PARTS {
                let message = format!("the user-data has more than {MAX_PARTS} parts");
                return self.refuse(place, Rule::Limit, message);
            }
            self.count += 1;
            let lines_before = place.lines_before.map(|lines| lines + part.first_line);
            let place = Place {
                depth: place.depth + 1,
                number: Some(self.count),
                lines_before,
                declared: None,
            };
            self.open_part(bytes, &part, place);
        }
    }

    fn open_part(&mut self, bytes: &[u8], part: &multipart::Part, mut place: Place) {
        place.declared = match part.declared() {
            multipart::Declared::Kind(kind) => Some(kind),
            multipart::Declared::Nothing => None,
            multipart::Declared::Other(name) => {
                let message = format!("a part of type {name} is ignored");
                let problem = Problem::whole(Level::Warning, Rule::Kind, message).with_hint(
                    "known are text/cloud-config, text/x-shellscript and application/gzip",
                );
                return self.add(&place, problem);
            }
        };
        let body = &bytes[part.body.clone()];
        let body = match part.decode(body) {
            Ok(None) => body.to_vec(),
            Ok(Some(decoded)) => {
                place.lines_before = None;
                decoded
            }
            Err(message) => return self.refuse(&place, Rule::Undecodable, message),
        };
        match self.left.checked_sub(body.len()) {
            Some(left) => self.left = left,
            None => return self.refuse(&place, Rule::Limit, too_big()),
        }
        match part.boundary() {
            Some(boundary) if place.depth <= MAX_DEPTH => {
                self.open_multipart(&body, &boundary, &place);
            }
            _ => {
                self.open(Cow::Owned(body), &place);
            }
        }
    }

    fn decode(&mut self, bytes: Cow<'a, [u8]>, place: &Place) -> Option<Cow<'a, str>> {
        let error = match std::str::from_utf8(&bytes) {
            Ok(_) => {
                return match bytes {
                    Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
                    Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
                };
            }
            Err(error) => error,
        };
        let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        let source = Source::new(valid, place.lines_before.unwrap_or(0), place.number);
        let problem = source
            .problem(
                Level::Error,
                Rule::Encoding,
                valid.len()..valid.len(),
                format!("the text is not valid UTF-8: byte 0x{byte:02x}"),
            )
            .with_hint("save the file as UTF-8, or put binary content in base64");
        self.problems.push(problem);
        None
    }

    fn refuse(&mut self, place: &Place, rule: Rule, message: String) {
        self.add(place, Problem::whole(Level::Error, rule, message));
    }

    fn add(&mut self, place: &Place, mut problem: Problem) {
        problem.part = place.number;
        problem.line += place.lines_before.unwrap_or(0);
        self.problems.push(problem);
    }
}

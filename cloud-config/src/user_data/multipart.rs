//! multipart/mixed (RFC 2046), as far as user-data uses it.
//!
//! Works on bytes, because a part may hold gzip as it is. Finds the parts and decodes one; what
//! a part is, and whether it nests, is decided by the caller.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Kind;

/// Longest header block looked at, so that a text without a blank line costs nothing.
const MAX_HEADER: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Document {
    pub(super) parts: Vec<Part>,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Part {
    headers: Vec<(String, String)>,
    pub(super) body: Range<usize>,
    /// Number of lines of the whole before the body.
    pub(super) first_line: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Kind(Kind),
    /// Nothing that says what the content is.
    Nothing,
    Other(String),
}

/// The boundary, if the text is a multipart message.
pub(super) fn boundary(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = &bytes[..bytes.len().min(MAX_HEADER)];
    let first = head.iter().take_while(|byte| **byte != b':').count();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let from_line = head.starts_with(b"From ");
    if !from_line && (first == 0 || first == head.len() || !head[..first].iter().all(is_name)) {
        return None;
    }
    let (headers, _) = read_headers(head);
    let kind = header(&headers, "content-type")?;
    if !media_type(kind).starts_with("multipart/") {
        return None;
    }
    parameter(kind, "boundary")
        .filter(|value| !value.is_empty())
        .map(String::into_bytes)
}

pub(super) fn split(bytes: &[u8], boundary: &[u8]) -> Document {
    let delimiter = [b"--", boundary].concat();
    let mut document = Document {
        parts: Vec::new(),
        closed: false,
    };
    let mut open: Option<(usize, u32)> = None;
    let mut offset = 0;
    for (number, line) in (0..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let start = offset;
        offset += line.len();
        let Some(rest) = line.strip_prefix(delimiter.as_slice()) else {
            continue;
        };
        let rest = rest.trim_ascii_end();
        if !(rest.is_empty() || rest == b"--") {
            continue;
        }
        if let Some((begin, first_line)) = open.take() {
            document.parts.push(part(bytes, begin, start, first_line));
        }
        if rest == b"--" {
            document.closed = true;
            return document;
        }
        open = Some((offset, number + 1));
    }
    if let Some((begin, first_line)) = open {
        document
            .parts
            .push(part(bytes, begin, bytes.len(), first_line));
    }
    document
}

fn part(bytes: &[u8], begin: usize, end: usize, first_line: u32) -> Part {
    let (headers, length) = read_headers(&bytes[begin..end]);
    let body = begin + length;
    // The line break before a boundary belongs to the boundary, but a text file ends with one.
    let lines = bytes[begin..body]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    let lines = u32::try_from(lines).unwrap_or(u32::MAX);
    Part {
        headers,
        body: body..end,
        first_line: first_line.saturating_add(lines),
    }
}

/// The headers and how many bytes they take, the blank line included.
fn read_headers(bytes: &[u8]) -> (Vec<(String, String)>, usize) {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if offset + line.len() > MAX_HEADER {
            break;
        }
        offset += line.len();
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if text.is_empty() {
            return (headers, offset);
        }
        if text.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                value.push(' ');
                value.push_str(text.trim());
            }
        } else if let Some((name, value)) = text.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    (headers, offset)
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn media_type(value: &str) -> String {
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.to_owned())
    })
}

impl Part {
    pub(super) fn declared(&self) -> Declared {
        let Some(value) = header(&self.headers, "content-type") else {
            return Declared::Nothing;
        };
        let name = media_type(value);
        match name.as_str() {
            "text/cloud-config" => Declared::Kind(Kind::CloudConfig),
            "text/x-shellscript" => Declared::Kind(Kind::Script),
            "text/plain"
            | "application/octet-stream"
            | "application/gzip"
            | "application/x-gzip"
            | "application/gzip-compressed"
            | "application/gzipped"
            | "application/x-gzip-compressed"
            | "application/x-compress"
            | "application/x-compressed" => Declared::Nothing,
            name if name.starts_with("multipart/") => Declared::Nothing,
            _ => Declared::Other(name),
        }
    }

    /// The boundary of a part that is a multipart message itself.
    pub(super) fn boundary(&self) -> Option<Vec<u8>> {
        let value = header(&self.headers, "content-type")?;
        let nested = media_type(value).starts_with("multipart/");
        nested
            .then(|| parameter(value, "boundary"))
            .flatten()
            .map(String::into_bytes)
    }

    /// The body without its transfer encoding; `None` when it has none.
    pub(super) fn decode(&self, body: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let encoding = header(&self.headers, "content-transfer-encoding").unwrap_or_default();
        match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "7bit" | "8bit" | "binary" => Ok(None),
            "base64" => {
                let packed: Vec<u8> = body
                    .iter()
                    .copied()
                    .filter(|byte| !byte.is_ascii_whitespace())
                    .collect();
                let decoded = STANDARD.decode(packed);
                decoded
                    .map(Some)
                    .map_err(|_| "the part is not valid base64".to_owned())
            }
            "quoted-printable" => Ok(Some(decode_quoted_printable(body))),
            other => Err(format!(
                "the part has the unknown transfer encoding \"{other}\""
            )),
        }
    }
}

fn decode_quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'=' {
            decoded.push(byte);
        } else if let Some(after) = tail
            .strip_prefix(b"\r\n")
            .or_else(|| tail.strip_prefix(b"\n"))
        {
            rest = after;
        } else if let Some(value) = tail.get(..2).and_then(hex_byte) {
            decoded.push(value);
            rest = &tail[2..];
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
}

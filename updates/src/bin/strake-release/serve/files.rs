//! The published files, with ranges.

use std::fs::File;
use std::path::PathBuf;

use hyper::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use hyper::header::{HeaderMap, RANGE};
use hyper::{Method, Response, StatusCode};

use super::answer::{Answer, empty, set};
use crate::repository::Repository;

/// The directories that are served, by the beginning of their paths.
pub(super) struct Files {
    roots: [(&'static str, PathBuf); 2],
}

impl Files {
    pub(super) fn new(repository: &Repository) -> Self {
        let roots = [
            ("/metadata/", repository.metadata()),
            ("/targets/", repository.targets()),
        ];
        Self { roots }
    }

    /// Answers a GET or HEAD.
    pub(super) fn respond(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Response<Answer> {
        let Some(file) = self.open(path) else {
            return empty(StatusCode::NOT_FOUND);
        };
        let Ok(metadata) = file.metadata() else {
            return empty(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let length = metadata.len();
        let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
        let (status, first, end) = match range.map(|range| parse_range(range, length)) {
            None | Some(Range::Ignored) => (StatusCode::OK, 0, length),
            Some(Range::Part(first, end)) => (StatusCode::PARTIAL_CONTENT, first, end),
            Some(Range::Beyond) => {
                let mut refused = empty(StatusCode::RANGE_NOT_SATISFIABLE);
                set(&mut refused, CONTENT_RANGE, &format!("bytes */{length}"));
                return refused;
            }
        };
        let body = match *method {
            Method::HEAD => Answer::Nothing,
            _ => Answer::Part {
                file,
                at: first,
                end,
            },
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        set(&mut response, CONTENT_LENGTH, &(end - first).to_string());
        set(&mut response, ACCEPT_RANGES, "bytes");
        let kind = match path.ends_with(".json") {
            true => "application/json",
            false => "application/octet-stream",
        };
        set(&mut response, CONTENT_TYPE, kind);
        // All other names are never written twice.
        let caching = match path {
            "/metadata/timestamp.json" => "no-cache",
            _ => "public, max-age=31536000, immutable",
        };
        set(&mut response, CACHE_CONTROL, caching);
        if status == StatusCode::PARTIAL_CONTENT {
            let part = format!("bytes {first}-{}/{length}", end - 1);
            set(&mut response, CONTENT_RANGE, &part);
        }
        response
    }

    /// Only plain names, so that nothing outside the published directories can be asked for. Names
    /// that begin with a dot are files that are being written.
    fn open(&self, path: &str) -> Option<File> {
        let (rest, root) = self
            .roots
            .iter()
            .find_map(|(prefix, root)| Some((path.strip_prefix(prefix)?, root)))?;
        let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('%');
        if !rest.split('/').all(plain) {
            return None;
        }
        let file = File::open(root.join(rest)).ok()?;
        file.metadata().ok()?.is_file().then_some(file)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Half open.
    Part(u64, u64),
    Beyond,
    /// Several ranges, or a form unknown here: all is sent, as the standard allows.
    Ignored,
}

fn parse_range(text: &str, length: u64) -> Range {
    let parse = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        Some(match (first, last) {
            ("", suffix) => (length.saturating_sub(suffix.parse().ok()?), length),
            (first, "") => (first.parse().ok()?, length),
            (first, last) => {
                let last: u64 = last.parse().ok()?;
                (first.parse().ok()?, last.checked_add(1)?.min(length))
            }
        })
    };
    match parse() {
        None => Range::Ignored,
        Some((first, end)) if first < end => Range::Part(first, end),
        Some(_) => Range::Beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood_and_others_are_ignored() {
        for (text, expected) in [
            ("bytes=0-9", Range::Part(0, 10)),
            ("bytes=90-", Range::Part(90, 100)),
            ("bytes=-10", Range::Part(90, 100)),
            ("bytes=-1000", Range::Part(0, 100)),
            ("bytes=50-1000", Range::Part(50, 100)),
            ("bytes=100-", Range::Beyond),
            ("bytes=9-5", Range::Beyond),
            ("bytes=0-9,20-29", Range::Ignored),
            ("bytes=0-18446744073709551615", Range::Ignored),
            ("lines=0-9", Range::Ignored),
        ] {
            assert_eq!(parse_range(text, 100), expected, "{text}");
        }
    }
}

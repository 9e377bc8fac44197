//! Where a repository's files come from: one method, and two ways to do it.
//!
//! A transport delivers bytes and believes nothing; whoever asks says how many bytes are too many.
//! Retries and resumption are the business of the transport that needs them.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;

pub mod backoff;
pub mod file;
pub mod http;
pub mod refresh;

/// One file, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Below the transport's base, with `/` between names.
    pub path: String,
    /// Without a range the whole file, whatever its length within `limit`.
    pub range: Option<Range<u64>>,
    /// More bytes than this are an error.
    pub limit: u64,
}

/// Takes the bytes in order. An error ends the fetch.
pub type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// A place that files are fetched from.
pub trait Transport: Sync {
    /// Hands the bytes to `sink`: all of the range, or all of the file.
    fn fetch(
        &self,
        request: &Request,
        sink: &mut Sink<'_>,
    ) -> impl Future<Output = Result<(), FetchError>> + Send;
}

/// A file that could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("fetching {url}")]
pub struct FetchError {
    pub url: String,
    #[source]
    pub failure: Failure,
}

/// Why it could not.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("there is no such file")]
    NotFound,
    #[error("the path is not plain")]
    Path,
    #[error("it is longer than the {limit} bytes allowed")]
    TooLong { limit: u64 },
    #[error("it ended after {found} of {expected} bytes")]
    Short { found: u64, expected: u64 },
    #[error("the server answered {0}")]
    Status(u16),
    #[error("the server answered {status} and asks to be left alone for {seconds} s")]
    Later { status: u16, seconds: u64 },
    #[error("the server sent another range than asked for")]
    Range,
    #[error("fewer than {bytes} bytes came in {seconds} s")]
    Slow { bytes: u64, seconds: u64 },
    #[error("the connection failed")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("reading the file")]
    Read(#[source] io::Error),
    #[error("the bytes could not be used")]
    Sink(#[source] io::Error),
}

impl Request {
    pub fn whole(path: impl Into<String>, limit: u64) -> Self {
        Self {
            path: path.into(),
            range: None,
            limit,
        }
    }

    pub fn part(path: impl Into<String>, range: Range<u64>) -> Self {
        let limit = range.end.saturating_sub(range.start);
        Self {
            path: path.into(),
            range: Some(range),
            limit,
        }
    }
}

impl FetchError {
    pub fn is_not_found(&self) -> bool {
        matches!(self.failure, Failure::NotFound)
    }
}

/// Names that lead nowhere else than below the base.
fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+~".contains(&byte);
    path.split('/')
        .all(|name| !name.is_empty() && name != "." && name != ".." && name.bytes().all(plain))
}

/// All bytes of a request at once.
pub async fn bytes<T: Transport>(transport: &T, request: &Request) -> Result<Vec<u8>, FetchError> {
    let mut collected = Vec::new();
    let mut sink = |piece: &[u8]| {
        collected.extend_from_slice(piece);
        Ok(())
    };
    transport.fetch(request, &mut sink).await?;
    Ok(collected)
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_nowhere_else() {
        for path in ["a", "metadata/1.root.json", "pool/ab-c+1~2_3"] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "", "/a", "a//b", "../a", "a/..", "a/./b", "a b", "a?b", "http://x", "a%2e",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }
}

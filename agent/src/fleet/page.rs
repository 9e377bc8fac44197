//! fleet's pages: a token is the base64 of two little-endian 16-bit numbers, limit and page.
//!
//! Other than fleet's, the last page has no token even when it is full.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::answer::{Refusal, bad};

pub(super) const LIMIT: u16 = 100;

/// The entries of a page, and the token of the next one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub(super) entries: Vec<T>,
    pub(super) next: Option<String>,
}

pub(super) fn page<T>(
    all: impl IntoIterator<Item = T>,
    token: Option<&str>,
) -> Result<Page<T>, Refusal> {
    let number = match token {
        Some(token) => read(token).ok_or_else(|| bad("nextPageToken is none of this server's"))?,
        None => 1,
    };
    let skip = usize::from(number - 1) * usize::from(LIMIT);
    let mut rest = all.into_iter().skip(skip);
    let entries: Vec<T> = rest.by_ref().take(LIMIT.into()).collect();
    let next = match (rest.next(), number.checked_add(1)) {
        (Some(_), Some(next)) => Some(token_of(next)),
        _ => None,
    };
    Ok(Page { entries, next })
}

fn token_of(page: u16) -> String {
    let [a, b] = LIMIT.to_le_bytes();
    let [c, d] = page.to_le_bytes();
    BASE64_STANDARD.encode([a, b, c, d])
}

fn read(token: &str) -> Option<u16> {
    let bytes = BASE64_STANDARD.decode(token).ok()?;
    let [a, b, c, d] = *bytes.as_slice() else {
        return None;
    };
    let (limit, page) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    (limit == LIMIT && page > 0).then_some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(count: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut token = None;
        loop {
            let found = page(0..count, token.as_deref()).expect("a page");
            sizes.push(found.entries.len());
            match found.next {
                Some(next) => token = Some(next),
                None => return sizes,
            }
        }
    }

    #[test]
    fn pages_hold_a_hundred_each_and_all_together() {
        assert_eq!(pages(0), [0]);
        assert_eq!(pages(99), [99]);
        assert_eq!(pages(100), [100]);
        assert_eq!(pages(250), [100, 100, 50]);
    }

    #[test]
    fn a_token_is_fleets_and_another_is_refused() {
        assert_eq!(token_of(2), "ZAACAA==");
        for wrong in ["", "x", "ZAAAAA==", "AQACAA==", "ZAACAAA="] {
            assert!(page(0..5, Some(wrong)).is_err(), "{wrong:?}");
        }
    }
}

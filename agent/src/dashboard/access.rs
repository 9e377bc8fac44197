//! Who may see the page: who knows the token, and users of the cluster by their certificate.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest as _, Sha256};

const SHORTEST: usize = 16;

/// Kept as its digest: comparing digests tells nothing about the token by the time it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    pub fn new(text: &str) -> Result<Token> {
        let long = text.len() >= SHORTEST;
        ensure!(long, "the token has less than {SHORTEST} characters");
        Ok(Token(digest(text)))
    }

    pub fn is(&self, text: &str) -> bool {
        self.0 == digest(text)
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The token that a request shows: `Bearer TOKEN`, or as the password of any user, which is what
/// browsers ask for.
pub(super) fn shown(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_string()),
        "basic" => {
            let pair = STANDARD.decode(rest.trim()).ok()?;
            let pair = String::from_utf8(pair).ok()?;
            pair.split_once(':')
                .map(|(_, password)| password.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_shown_as_bearer_or_as_a_password() {
        let encoded = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let cases = [
            ("Bearer abc".to_string(), Some("abc")),
            ("bearer  abc ".to_string(), Some("abc")),
            (encoded("anybody:abc"), Some("abc")),
            (encoded(":a:b"), Some("a:b")),
            (encoded("no colon"), None),
            ("Basic !!!".to_string(), None),
            ("Digest abc".to_string(), None),
            ("abc".to_string(), None),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(
                AUTHORIZATION,
                HeaderValue::from_str(&value).expect("a value"),
            );
            assert_eq!(shown(&headers).as_deref(), expected, "{value}");
        }
        assert_eq!(shown(&HeaderMap::new()), None);
    }

    #[test]
    fn only_the_whole_token_counts() {
        let token = Token::new("0123456789abcdef").expect("long enough");
        assert!(token.is("0123456789abcdef"));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789abcdefg",
            "0123456789ABCDEF",
        ] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert!(Token::new("0123456789abcde").is_err());
    }
}

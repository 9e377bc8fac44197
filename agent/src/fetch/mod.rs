//! Fetching over HTTP and HTTPS: configs, metadata, files and keys.
//!
//! [`policy`] and [`redirect`] decide (pure), [`client`] does, [`access`] says which certificates
//! and proxies count, [`resolver`] finds addresses of names without loading libraries. Every wait
//! and every length is bounded. Refuses redirects from https to http, and bytes with another
//! digest than the one asked for.

pub mod access;
pub mod client;
pub mod pin;
pub mod policy;
pub mod redirect;
pub mod resolver;

use std::error::Error as StdError;
use std::time::Duration;

use url::Url;

pub use access::Access;
pub use client::Client;
pub use pin::Pin;
pub use policy::Policy;

/// Most bytes of a config.
pub const CONFIG_LIMIT: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(&'static str, String)>,
    /// More bytes than this are an error.
    pub limit: usize,
    pub pin: Option<Pin>,
    /// How long one try may take in all, instead of the policy's.
    pub time: Option<Duration>,
}

impl Request {
    pub fn get(url: Url, limit: usize) -> Request {
        Request {
            method: Method::Get,
            url,
            headers: Vec::new(),
            limit,
            pin: None,
            time: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Body(Vec<u8>),
    /// A status of 400 to 499: there is no such thing, or not for us.
    Refused(u16),
}

/// What could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("fetching {url}, try {tries}")]
pub struct Error {
    /// Without password and query, which may be secrets.
    pub url: String,
    pub tries: u32,
    #[source]
    pub failure: Failure,
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the server answered {0}")]
    Status(u16),
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    #[error("no answer, or no more of it, in time")]
    Slow,
    #[error("the connection failed")]
    Connection(#[source] Box<dyn StdError + Send + Sync>),
    #[error("its SHA-256 digest is {found}, not {expected}")]
    Pin { expected: Pin, found: Pin },
}

impl Error {
    pub(crate) fn new(url: &Url, tries: u32, failure: Failure) -> Error {
        Error {
            url: shown(url),
            tries,
            failure,
        }
    }
}

/// A URL as it may be shown to everybody.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both refuse only URLs that have no host, and those carry no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_urls_hold_no_secret() {
        let url = Url::parse("https://me:secret@host:8443/a/b?token=secret#c").expect("URL");
        assert_eq!(shown(&url), "https://host:8443/a/b");
    }
}

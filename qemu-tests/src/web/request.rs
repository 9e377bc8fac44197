//! The head of a request, read within limits.

use std::io::{self, BufRead};

const LONGEST_HEAD: u64 = 16 << 10;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Without a query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Request {
    pub(super) fn read(from: impl BufRead) -> io::Result<Self> {
        let mut head = from.take(LONGEST_HEAD);
        let mut next = || {
            let mut line = String::new();
            head.read_line(&mut line)?;
            if !line.ends_with('\n') {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            Ok(line.trim_end().to_owned())
        };
        let first = next()?;
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        };
        let mut request = Self {
            method: method.to_owned(),
            path: target.split('?').next().unwrap_or_default().to_owned(),
            headers: Vec::new(),
        };
        loop {
            let line = next()?;
            if line.is_empty() {
                return Ok(request);
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
            request.headers.push((name, value));
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_request_are_told_apart() {
        let text = "GET /a/b?c=d HTTP/1.1\r\nHost: x\r\nMetadata-Flavor:Google\r\n\r\nbody";
        let request = Request::read(text.as_bytes()).unwrap();
        assert_eq!((&*request.method, &*request.path), ("GET", "/a/b"));
        assert_eq!(request.header("metadata-flavor"), Some("Google"));
        assert_eq!(request.header("cookie"), None);
    }

    #[test]
    fn a_head_that_does_not_end_is_refused() {
        let endless = "GET / HTTP/1.1\r\n".to_owned() + &"X: y\r\n".repeat(4096);
        for text in ["", "GET / HTTP/1.1\r\nHost: x\r\n", "GET\r\n\r\n", &endless] {
            let start = &text[..text.len().min(20)];
            assert!(Request::read(text.as_bytes()).is_err(), "{start:?}");
        }
    }
}

//! What is answered to a request. Pure.

use std::collections::BTreeMap;

use super::Request;

const TOKEN: &str = "AQAEAL-token-of-the-lab==";
/// Longest life of a token that EC2 grants, in seconds.
const LONGEST_LIFE: u32 = 21_600;

/// How a service wants to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Custom {
    None,
    /// With a token that a PUT gives (IMDSv2); without one it answers nothing.
    Ec2,
    /// With a header that says who is meant.
    Gce,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    custom: Custom,
    /// By path, with the slash it begins with.
    texts: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: String,
}

impl Pages {
    pub fn plain() -> Self {
        Self::of(Custom::None)
    }

    pub fn ec2() -> Self {
        Self::of(Custom::Ec2)
    }

    pub fn gce() -> Self {
        Self::of(Custom::Gce)
    }

    fn of(custom: Custom) -> Self {
        Self {
            custom,
            texts: BTreeMap::new(),
        }
    }

    pub fn page(mut self, path: &str, text: &str) -> Self {
        self.texts.insert(path.to_owned(), text.to_owned());
        self
    }

    pub fn answer(&self, request: &Request) -> Reply {
        match (self.custom, &*request.method) {
            (Custom::Ec2, "PUT") => return token(request),
            (Custom::Ec2, _) if request.header("x-aws-ec2-metadata-token") != Some(TOKEN) => {
                return Reply::empty(401);
            }
            (Custom::Gce, _) if request.header("metadata-flavor") != Some("Google") => {
                return Reply::empty(403);
            }
            _ => {}
        }
        if request.method != "GET" {
            return Reply::empty(405);
        }
        let mut reply = match self.texts.get(&request.path) {
            Some(text) => Reply::body(text),
            None => Reply::empty(404),
        };
        if self.custom == Custom::Gce {
            reply.headers.push(("Metadata-Flavor", "Google"));
        }
        reply
    }
}

fn token(request: &Request) -> Reply {
    let life = request
        .header("x-aws-ec2-metadata-token-ttl-seconds")
        .and_then(|text| text.parse::<u32>().ok());
    match (&*request.path, life) {
        ("/latest/api/token", Some(1..=LONGEST_LIFE)) => Reply::body(TOKEN),
        ("/latest/api/token", _) => Reply::empty(400),
        _ => Reply::empty(405),
    }
}

impl Reply {
    fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    fn body(text: &str) -> Self {
        Self {
            body: text.to_owned(),
            ..Self::empty(200)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, header: Option<(&str, &str)>) -> Request {
        Request {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: header
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    #[track_caller]
    fn check(pages: &Pages, request: &Request, status: u16) {
        assert_eq!(pages.answer(request).status, status, "{request:?}");
    }

    #[test]
    fn ec2_answers_only_who_has_a_token() {
        let pages = Pages::ec2().page("/x", "y");
        let life = "x-aws-ec2-metadata-token-ttl-seconds";
        let owner = "x-aws-ec2-metadata-token";
        for (method, path, header, status) in [
            ("PUT", "/latest/api/token", Some((life, "600")), 200),
            ("PUT", "/latest/api/token", Some((life, "21601")), 400),
            ("PUT", "/latest/api/token", None, 400),
            ("PUT", "/x", Some((life, "600")), 405),
            ("GET", "/x", None, 401),
            ("GET", "/x", Some((owner, "another")), 401),
            ("GET", "/x", Some((owner, TOKEN)), 200),
            ("GET", "/z", Some((owner, TOKEN)), 404),
        ] {
            check(&pages, &request(method, path, header), status);
        }
    }

    #[test]
    fn gce_answers_only_who_asks_for_it() {
        let pages = Pages::gce().page("/x", "y");
        check(&pages, &request("GET", "/x", None), 403);
        let flavor = Some(("metadata-flavor", "Google"));
        let reply = pages.answer(&request("GET", "/x", flavor));
        assert_eq!((reply.status, &*reply.body), (200, "y"));
        assert_eq!(reply.headers, [("Metadata-Flavor", "Google")]);
    }

    #[test]
    fn plain_pages_want_nothing() {
        let pages = Pages::plain().page("/x", "y");
        check(&pages, &request("GET", "/x", None), 200);
        check(&pages, &request("GET", "/", None), 404);
        check(&pages, &request("DELETE", "/x", None), 405);
    }
}

//! Requests to one source, below its URL.

use url::Url;

use crate::fetch::{Answer, CONFIG_LIMIT, Client, Error, Failure, Method, Pin, Request};

/// Most bytes of one document of metadata.
const METADATA_LIMIT: usize = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct Service<'a> {
    client: &'a Client,
    base: &'a Url,
    headers: Vec<(&'static str, String)>,
}

impl<'a> Service<'a> {
    pub(super) fn new(client: &'a Client, base: &'a Url) -> Service<'a> {
        Service {
            client,
            base,
            headers: Vec::new(),
        }
    }

    /// With this header in each request.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Service<'a> {
        self.headers.push((name, value.into()));
        self
    }

    /// The base itself; that it is not there is an error, for somebody named it.
    pub(super) async fn file(&self, pin: Option<Pin>) -> Result<Vec<u8>, Error> {
        let mut request = self.request("", CONFIG_LIMIT);
        request.pin = pin;
        let answer = self.client.send(&request).await?;
        needed(&request, answer)
    }

    pub(super) async fn user_data(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        self.get(path, CONFIG_LIMIT).await
    }

    /// A document that may be missing.
    pub(super) async fn optional(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        self.get(path, METADATA_LIMIT).await
    }

    /// The document every service of this kind has: without it, this is something else.
    pub(super) async fn needed(&self, path: &str) -> Result<Vec<u8>, Error> {
        let request = self.request(path, METADATA_LIMIT);
        let answer = self.client.send(&request).await?;
        needed(&request, answer)
    }

    /// What a PUT answers; none when it is refused.
    pub(super) async fn put(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut request = self.request(path, METADATA_LIMIT);
        request.method = Method::Put;
        Ok(match self.client.send(&request).await? {
            Answer::Body(body) => Some(body),
            Answer::Refused(_) => None,
        })
    }

    async fn get(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let request = self.request(path, limit);
        match self.client.send(&request).await? {
            Answer::Body(body) => Ok(Some(body)),
            // Not being let in says nothing about what there is.
            Answer::Refused(status @ (401 | 403)) => Err(refused(&request, status)),
            Answer::Refused(_) => Ok(None),
        }
    }

    fn request(&self, path: &str, limit: usize) -> Request {
        let mut url = self.base.clone();
        if !path.is_empty() {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            url.set_path(&format!("{}{path}", self.base.path()));
            if !query.is_empty() {
                url.set_query(Some(query));
            }
        }
        let mut request = Request::get(url, limit);
        request.headers.clone_from(&self.headers);
        request
    }
}

fn needed(request: &Request, answer: Answer) -> Result<Vec<u8>, Error> {
    match answer {
        Answer::Body(body) => Ok(body),
        Answer::Refused(status) => Err(refused(request, status)),
    }
}

fn refused(request: &Request, status: u16) -> Error {
    Error::new(&request.url, 1, Failure::Status(status))
}

//! The HTTP client: one request with all its tries.

use std::time::Duration;

use reqwest::{Response, redirect};
use tokio::time::{Instant, sleep, timeout_at};

use super::policy::{Outcome, Policy, Verdict};
use super::redirect::{Scope, check};
use super::resolver::Resolver;
use super::{Access, Answer, Error, Failure, Method, Pin, Request};

/// A client's time begins when it is made and is shared by all its requests.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    policy: Policy,
    start: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
    #[error("setting up the HTTP client and its proxy")]
    Client(#[from] reqwest::Error),
}

/// How one try ended, with what it brought.
enum Tried {
    Body(Vec<u8>),
    Status(u16),
    Fault(Failure),
    Hopeless(Failure),
}

impl Client {
    /// For a cloud's own service: no proxy, no TLS roots, no other server.
    pub fn of_metadata(policy: Policy) -> Result<Client, Unusable> {
        let builder = reqwest::Client::builder().no_proxy();
        Client::build(builder, &Access::default(), Scope::Metadata, policy)
    }

    pub fn of_world(policy: Policy, access: &Access) -> Result<Client, Unusable> {
        let mut builder = reqwest::Client::builder();
        for proxy in access.proxies()? {
            builder = builder.proxy(proxy);
        }
        Client::build(builder, access, Scope::World, policy)
    }

    fn build(
        builder: reqwest::ClientBuilder,
        access: &Access,
        scope: Scope,
        policy: Policy,
    ) -> Result<Client, Unusable> {
        let follow = redirect::Policy::custom(move |attempt| {
            match check(attempt.previous(), attempt.url(), scope) {
                Ok(()) => attempt.follow(),
                Err(refused) => attempt.error(refused),
            }
        });
        let http = builder
            .tls_backend_preconfigured(access.tls()?)
            .dns_resolver(Resolver::default())
            .connect_timeout(policy.stall)
            .redirect(follow)
            .user_agent(concat!("strake/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Client {
            http,
            policy,
            start: Instant::now(),
        })
    }

    pub async fn send(&self, request: &Request) -> Result<Answer, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let tried = self.attempt(request).await;
            let (outcome, failure, body) = match tried {
                Tried::Body(body) => (Outcome::Answered(200), Failure::Slow, body),
                Tried::Status(status) => (
                    Outcome::Answered(status),
                    Failure::Status(status),
                    Vec::new(),
                ),
                Tried::Fault(failure) => (Outcome::Fault, failure, Vec::new()),
                Tried::Hopeless(failure) => (Outcome::Hopeless, failure, Vec::new()),
            };
            // Without randomness machines only lose their spread.
            let random = getrandom::u64().unwrap_or(0);
            let elapsed = self.start.elapsed();
            match (
                self.policy.verdict(outcome, tries, elapsed, random),
                failure,
            ) {
                (Verdict::Take, _) => return Ok(Answer::Body(body)),
                (Verdict::Refused, Failure::Status(status)) => return Ok(Answer::Refused(status)),
                (Verdict::Retry(wait), _) => sleep(wait).await,
                (_, failure) => return Err(Error::new(&request.url, tries, failure)),
            }
        }
    }

    async fn attempt(&self, request: &Request) -> Tried {
        let now = Instant::now();
        let time = request.time.unwrap_or(self.policy.request);
        let end = (now + time).min(self.start + self.policy.overall);
        let mut call = match request.method {
            Method::Get => self.http.get(request.url.clone()),
            Method::Put => self.http.put(request.url.clone()),
        };
        for (name, value) in &request.headers {
            call = call.header(*name, value);
        }
        let answer = timeout_at(end.min(now + self.policy.stall), call.send()).await;
        match answer {
            Err(_) => Tried::Fault(Failure::Slow),
            Ok(Err(error)) if error.is_redirect() || error.is_builder() => {
                Tried::Hopeless(Failure::Connection(error.without_url().into()))
            }
            Ok(Err(error)) => Tried::Fault(Failure::Connection(error.without_url().into())),
            Ok(Ok(response)) if !response.status().is_success() => {
                Tried::Status(response.status().as_u16())
            }
            Ok(Ok(response)) => match read(response, request.limit, end, self.policy.stall).await {
                Ok(body) => pinned(body, request.pin),
                Err(failure @ Failure::TooLong(_)) => Tried::Hopeless(failure),
                Err(failure) => Tried::Fault(failure),
            },
        }
    }
}

async fn read(
    mut response: Response,
    limit: usize,
    end: Instant,
    stall: Duration,
) -> Result<Vec<u8>, Failure> {
    let announced = response.content_length().unwrap_or(0);
    if announced > limit as u64 {
        return Err(Failure::TooLong(limit));
    }
    let mut body = Vec::new();
    loop {
        let deadline = end.min(Instant::now() + stall);
        let piece = timeout_at(deadline, response.chunk())
            .await
            .map_err(|_| Failure::Slow)?
            .map_err(|error| Failure::Connection(error.without_url().into()))?;
        let Some(piece) = piece else {
            return Ok(body);
        };
        if body.len() + piece.len() > limit {
            return Err(Failure::TooLong(limit));
        }
        body.extend_from_slice(&piece);
    }
}

fn pinned(body: Vec<u8>, pin: Option<Pin>) -> Tried {
    let Some(expected) = pin else {
        return Tried::Body(body);
    };
    let found = Pin::of(&body);
    if found == expected {
        Tried::Body(body)
    } else {
        Tried::Hopeless(Failure::Pin { expected, found })
    }
}

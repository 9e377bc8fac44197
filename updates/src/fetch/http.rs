//! A repository on a web server or in a bucket.
//!
//! Every wait is bounded: for the connection, for a stalled or trickling body, for the number of
//! tries without progress. A body that breaks off is gone on with where it broke off.

use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, HeaderMap, RANGE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::time::{Instant, sleep, timeout_at};

use super::backoff::Backoff;
use super::{Failure, FetchError, Request, Sink, Transport, is_plain};

/// How patient a client is.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For an answer to begin, and for each `pace_bytes` after that.
    pub pace: Duration,
    pub pace_bytes: u64,
    /// Tries in a row that bring less than `pace_bytes`.
    pub tries: u32,
    pub backoff: Backoff,
}

/// Files below a URL.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    base: Url,
    patience: Patience,
}

/// Why there is no client for a URL.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBase {
    #[error("{0:?} is not an http or https URL")]
    Url(String),
    #[error("setting up TLS")]
    Tls(#[source] reqwest::Error),
}

/// What one try came to.
enum Failed {
    Final(Failure),
    /// The server may have asked for a certain wait.
    Retry(Failure, Option<Duration>),
}

/// What is still to come. Tries go on where the one before ended.
struct Progress {
    start: u64,
    /// None when the length is not known.
    length: Option<u64>,
    limit: u64,
    done: u64,
}

impl Default for Patience {
    /// 30 s for each 16 KiB, five tries, 1 s to 60 s between them.
    fn default() -> Self {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        Self {
            connect: Duration::from_secs(15),
            pace: Duration::from_secs(30),
            pace_bytes: 16 << 10,
            tries: 5,
            backoff: backoff.expect("one second is less than sixty"),
        }
    }
}

impl Http {
    /// Proxies are taken from the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
    pub fn new(base: &str, patience: Patience) -> Result<Self, InvalidBase> {
        let invalid = || InvalidBase::Url(base.to_owned());
        let slash = if base.ends_with('/') { "" } else { "/" };
        let base = Url::parse(&format!("{base}{slash}")).map_err(|_| invalid())?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(invalid());
        }
        // The first provider in a process stays; an error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(patience.connect)
            .redirect(redirect::Policy::limited(5))
            .user_agent(concat!("strake/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(InvalidBase::Tls)?;
        Ok(Self {
            client,
            base,
            patience,
        })
    }

    async fn run(&self, request: &Request, sink: &mut Sink<'_>) -> Result<(), Failure> {
        if !is_plain(&request.path) {
            return Err(Failure::Path);
        }
        let url = self.base.join(&request.path).map_err(|_| Failure::Path)?;
        let length = request
            .range
            .as_ref()
            .map(|range| range.end.saturating_sub(range.start));
        if length.is_some_and(|length| length > request.limit) {
            return Err(Failure::TooLong {
                limit: request.limit,
            });
        }
        let start = request.range.as_ref().map_or(0, |range| range.start);
        let mut progress = Progress {
            start,
            length,
            limit: request.limit,
            done: 0,
        };
        let mut failures = 0;
        while progress.length.is_none_or(|length| progress.done < length) {
            let before = progress.done;
            let (failure, asked) = match self.attempt(url.clone(), &mut progress, sink).await {
                Ok(()) => return Ok(()),
                Err(Failed::Final(failure)) => return Err(failure),
                Err(Failed::Retry(failure, asked)) => (failure, asked),
            };
            let progressed = progress.done - before >= self.patience.pace_bytes;
            failures = if progressed { 1 } else { failures + 1 };
            if failures >= self.patience.tries {
                return Err(failure);
            }
            let backoff = &self.patience.backoff;
            // Longer than a wait in between: that is for whoever plans the next run.
            if let (Some(asked), Failure::Status(status)) = (asked, &failure)
                && asked > backoff.bounded(asked)
            {
                let (status, seconds) = (*status, asked.as_secs());
                return Err(Failure::Later { status, seconds });
            }
            let wait = backoff.wait(failures, random());
            sleep(asked.map_or(wait, |asked| backoff.bounded(asked).max(wait))).await;
        }
        Ok(())
    }

    async fn attempt(
        &self,
        url: Url,
        progress: &mut Progress,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failed> {
        let from = progress.start + progress.done;
        let mut call = self.client.get(url);
        match progress.length {
            Some(length) => {
                let last = progress.start + length - 1;
                call = call.header(RANGE, format!("bytes={from}-{last}"));
            }
            None if from > 0 => call = call.header(RANGE, format!("bytes={from}-")),
            None => {}
        }
        let deadline = Instant::now() + self.patience.pace;
        let response = timeout_at(deadline, call.send())
            .await
            .map_err(|_| self.slow())?;
        let response = response.map_err(connection)?;
        let skip = check_answer(&response, from)?;
        self.read(response, skip, progress, sink).await
    }

    async fn read(
        &self,
        mut response: Response,
        mut skip: u64,
        progress: &mut Progress,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failed> {
        let too_long = Failed::Final(Failure::TooLong {
            limit: progress.limit,
        });
        let announced = response.content_length();
        if progress.length.is_none()
            && announced.is_some_and(|n| progress.done + n.saturating_sub(skip) > progress.limit)
        {
            return Err(too_long);
        }
        let mut deadline = Instant::now() + self.patience.pace;
        let mut in_time = 0;
        loop {
            let piece = timeout_at(deadline, response.chunk())
                .await
                .map_err(|_| self.slow())?;
            let Some(piece) = piece.map_err(connection)? else {
                return match progress.length {
                    Some(expected) if progress.done < expected => {
                        let short = Failure::Short {
                            found: progress.done,
                            expected,
                        };
                        Err(Failed::Retry(short, None))
                    }
                    _ => Ok(()),
                };
            };
            in_time += piece.len() as u64;
            if in_time >= self.patience.pace_bytes {
                (deadline, in_time) = (Instant::now() + self.patience.pace, 0);
            }
            let cut = skip.min(piece.len() as u64);
            skip -= cut;
            let mut piece = &piece[cut as usize..];
            if let Some(length) = progress.length {
                let wanted = (length - progress.done).min(piece.len() as u64);
                piece = &piece[..wanted as usize];
            } else if progress.done + piece.len() as u64 > progress.limit {
                return Err(too_long);
            }
            sink(piece).map_err(|error| Failed::Final(Failure::Sink(error)))?;
            progress.done += piece.len() as u64;
            if progress.length == Some(progress.done) {
                return Ok(());
            }
        }
    }

    fn slow(&self) -> Failed {
        let Patience {
            pace, pace_bytes, ..
        } = self.patience;
        Failed::Retry(
            Failure::Slow {
                bytes: pace_bytes,
                seconds: pace.as_secs(),
            },
            None,
        )
    }
}

/// How many bytes of the answer's body come before the first one asked for.
fn check_answer(response: &Response, from: u64) -> Result<u64, Failed> {
    let status = response.status();
    match status {
        StatusCode::PARTIAL_CONTENT if range_start(response.headers()) == Some(from) => Ok(0),
        StatusCode::PARTIAL_CONTENT => Err(Failed::Final(Failure::Range)),
        // A server without ranges sends all from the beginning.
        StatusCode::OK => Ok(from),
        // Buckets answer 403 for what is not there when listing is not allowed.
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => {
            Err(Failed::Final(Failure::NotFound))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => Err(Failed::Final(Failure::Range)),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(Failed::Retry(
            Failure::Status(status.as_u16()),
            retry_after(response.headers()),
        )),
        status if status.is_server_error() => Err(Failed::Retry(
            Failure::Status(status.as_u16()),
            retry_after(response.headers()),
        )),
        status => Err(Failed::Final(Failure::Status(status.as_u16()))),
    }
}

fn connection(error: reqwest::Error) -> Failed {
    let loops = error.is_redirect() || error.is_builder();
    let failure = Failure::Connection(error.into());
    if loops {
        Failed::Final(failure)
    } else {
        Failed::Retry(failure, None)
    }
}

fn range_start(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    value
        .strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .parse()
        .ok()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn random() -> u64 {
    // Without randomness machines only lose their spread.
    getrandom::u64().unwrap_or(0)
}

impl Transport for Http {
    async fn fetch(&self, request: &Request, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        let outcome = self.run(request, sink).await;
        outcome.map_err(|failure| FetchError {
            url: format!("{}{}", self.base, request.path),
            failure,
        })
    }
}

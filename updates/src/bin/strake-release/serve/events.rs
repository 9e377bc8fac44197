//! Takes a report, or says why not.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use strake_updates::digest::Digest;
use strake_updates::report::{Event, Kind, LIMIT, Reporter};

use super::answer::{Answer, empty, set, text};
use super::database::Kept;
use super::rate::Buckets;
use super::warden::Warden;

/// For a body of at most a few kilobytes.
const BODY_TIME: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);
/// Reports of one address in an hour; whole sites may stand behind one.
const PER_ADDRESS: u32 = 36_000;
/// Machines of one address that are new in an hour.
const NEW_PER_ADDRESS: u32 = 1000;

pub(super) struct Desk {
    warden: Mutex<Warden>,
    token: Option<String>,
    counters: Mutex<Counters>,
    started: Instant,
}

struct Counters {
    by_machine: Buckets<Reporter>,
    by_address: Buckets<String>,
    new_by_address: Buckets<String>,
    taken: [u64; Kind::ALL.len()],
    refused: u64,
}

/// An answer that is no success.
struct Refusal {
    status: StatusCode,
    reason: String,
    wait: Option<Duration>,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            wait: None,
        }
    }

    fn later(reason: &str, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, reason)
        }
    }
}

impl Desk {
    pub(super) fn new(warden: Warden, token: Option<String>, per_hour: u32) -> Self {
        let counters = Counters {
            by_machine: Buckets::new(per_hour, HOUR),
            by_address: Buckets::new(PER_ADDRESS, HOUR),
            new_by_address: Buckets::new(NEW_PER_ADDRESS, HOUR),
            taken: Default::default(),
            refused: 0,
        };
        Self {
            warden: Mutex::new(warden),
            token,
            counters: Mutex::new(counters),
            started: Instant::now(),
        }
    }

    pub(super) fn warden(&self) -> MutexGuard<'_, Warden> {
        self.warden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports taken of each kind, and refused.
    pub(super) fn counts(&self) -> ([u64; Kind::ALL.len()], u64) {
        let counters = self.counters();
        (counters.taken, counters.refused)
    }

    pub(super) async fn take(
        &self,
        request: Request<Incoming>,
        address: IpAddr,
    ) -> Response<Answer> {
        match self.consider(request, &net(address)).await {
            Ok(kind) => {
                self.counters().taken[kind as usize] += 1;
                empty(StatusCode::NO_CONTENT)
            }
            Err(refusal) => {
                self.counters().refused += 1;
                let mut response = text(refusal.status, &refusal.reason);
                if let Some(wait) = refusal.wait {
                    let seconds = wait.as_secs() + 1;
                    set(&mut response, RETRY_AFTER, &seconds.to_string());
                }
                response
            }
        }
    }

    async fn consider(&self, request: Request<Incoming>, address: &str) -> Result<Kind, Refusal> {
        let now = self.started.elapsed();
        let told = request.headers().get(AUTHORIZATION);
        if let Some(token) = &self.token
            && told.is_none_or(|told| !is_same(told.as_bytes(), token))
        {
            let reason = "this server takes events with its token only (Authorization: Bearer)";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, reason));
        }
        let later = |reason| move |wait| Refusal::later(reason, wait);
        let may = self.counters().by_address.take(address.to_owned(), now);
        may.map_err(later("too many events from this address"))?;
        let body = tokio::time::timeout(BODY_TIME, read(request.into_body())).await;
        let slow = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long");
        let body = body.map_err(slow)??;
        let bad = |reason| Refusal::new(StatusCode::BAD_REQUEST, reason);
        let event = Event::parse(&body).map_err(|error| bad(error.to_string()))?;
        let may = self.counters().by_machine.take(event.machine, now);
        may.map_err(later("too many events from this machine"))?;

        let mut warden = self.warden();
        let failed = |error: anyhow::Error| {
            eprintln!("strake-release: {error:#}");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the event was not kept")
        };
        warden.reload().map_err(failed)?;
        check_offer(&warden, &event).map_err(bad)?;
        let known = warden.database.is_known(&event);
        if !known.map_err(|error| failed(error.into()))? {
            let may = self.counters().new_by_address.take(address.to_owned(), now);
            may.map_err(later("too many new machines from this address"))?;
        }
        match warden.keep(&event, address).map_err(failed)? {
            Kept::Yes => Ok(event.kind),
            Kept::TooManyMachines => Err(Refusal::later("too many machines", HOUR)),
        }
    }
}

/// Made-up releases and channels would fill pages and metrics.
fn check_offer(warden: &Warden, event: &Event) -> Result<(), String> {
    let (channel, release) = (&event.channel, event.release);
    let mut channels = warden.offered().channels.iter();
    if !channels.any(|(name, _)| name == channel) {
        return Err(format!("channel: the repository has no channel {channel}"));
    }
    // A machine that is current may run what is no longer offered.
    if release != event.from && warden.offered().offer(channel, release).is_none() {
        return Err(format!(
            "release: channel {channel} has no release {release}"
        ));
    }
    Ok(())
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, Refusal> {
    let too_long = || {
        let reason = format!("the body is longer than {LIMIT} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    if body.size_hint().lower() > LIMIT as u64 {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        let frame =
            frame.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > LIMIT {
                return Err(too_long());
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

/// Digests are compared, so that the time it takes says nothing of the token.
fn is_same(told: &[u8], token: &str) -> bool {
    Digest::of(told) == Digest::of(format!("Bearer {token}").as_bytes())
}

/// Whoever has an IPv6 address has a whole network of them.
fn net(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_counts_as_one_address() {
        for (address, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(net(address.parse().unwrap()), expected);
        }
    }
}

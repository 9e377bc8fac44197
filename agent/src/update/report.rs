//! Tells the repository's server what happened here. A server that takes no events, a bucket, is
//! left alone, and no update ever fails or waits because of this.

use std::time::Duration;

use reqwest::{Client, StatusCode};
pub use strake_updates::report::Kind;
use strake_updates::report::{Cause, Event, PATH, Reporter};
use strake_updates::rollout::Place;
use strake_updates::version::Version;

use super::node::{Attempt, Node};
use super::{clock, machine_id};
use crate::root::Root;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What to do with events that were offered to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It has them, or will never want them.
    Settled,
    /// It could not be reached: offer them again.
    Later,
}

/// None where there is nothing to tell by the format's rules, or no machine id.
pub fn event(
    root: &Root,
    channel: &strake_updates::channel::Channel,
    (from, release): (Version, Version),
    kind: Kind,
    cause: Option<&str>,
) -> Option<Event> {
    let machine = machine_id(root).ok()?;
    let cause = cause.and_then(Cause::of);
    let same = kind != Kind::Checked && release == from;
    let speechless = kind == Kind::FellBack && cause.is_none();
    (!same && !speechless).then(|| Event {
        machine: Reporter::of(machine),
        channel: channel.clone(),
        release,
        from,
        kind,
        place: Some(Place::draw(machine, release)),
        cause,
        time: clock(),
    })
}

pub fn about(root: &Root, attempt: &Attempt, kind: Kind, cause: Option<&str>) -> Option<Event> {
    let versions = (attempt.from, attempt.version);
    event(root, &attempt.channel, versions, kind, cause)
}

/// Offers what was not told before, then these.
pub async fn tell(root: &Root, server: &str, events: &[Event]) {
    let Ok(mut node) = Node::load(root) else {
        return;
    };
    let all = [node.untold.as_slice(), events].concat();
    if post(server, &all).await == Taken::Settled && !node.untold.is_empty() {
        node.untold.clear();
        // Told twice is better than never.
        let _ = node.save(root);
    }
}

/// Offers events in order.
async fn post(server: &str, events: &[Event]) -> Taken {
    if events.is_empty() {
        return Taken::Settled;
    }
    // The first provider in a process stays; an error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Ok(client) = Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        .build()
    else {
        return Taken::Later;
    };
    let url = format!("{}/{PATH}", server.trim_end_matches('/'));
    for event in events {
        let call = client.post(&url).header("content-type", "application/json");
        match call
            .body(event.to_bytes())
            .send()
            .await
            .map(|answer| answer.status())
        {
            Ok(StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) | Err(_) => {
                return Taken::Later;
            }
            Ok(status) if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                return Taken::Later;
            }
            Ok(_) => {}
        }
    }
    Taken::Settled
}

//! The lock over a store in memory, on a paused clock.

mod holding;
mod queue;
mod takeover;

use std::time::Duration;

use strake_updates::time::{Span, Timestamp};
use tokio::task::LocalSet;

use super::keys::Group;
use super::{Claim, Claimant, Lock};
use crate::scheduler;
use crate::store::memory::Memory;
use crate::store::{Lease, Outcome, Store, Transaction, Write};

const LIMIT: Duration = Duration::from_secs(3600);

fn claim(token: &str) -> Claim {
    Claim {
        token: token.to_string(),
        boot: format!("boot of {token}"),
        release: "1.2.0".to_string(),
        reason: "update".to_string(),
        since: Timestamp::from_unix(1_800_000_000),
        deadline: Span(600),
        registered: true,
        zone: String::new(),
    }
}

/// Who makes the claim of that name, under any machine id.
fn who(id: &str, token: &str) -> Claimant {
    Claimant {
        id: id.to_string(),
        token: token.to_string(),
        boots: vec![format!("boot of {token}")],
    }
}

fn lock(store: &Memory) -> Lock<Memory> {
    Lock::new(store.clone(), Group::default())
}

async fn put(store: &Memory, key: &str, value: &str, lease: Option<Lease>) {
    let transaction = Transaction {
        compares: Vec::new(),
        writes: vec![Write::Put {
            key: key.to_string(),
            value: value.as_bytes().to_vec(),
            lease,
        }],
    };
    let outcome = store.commit(&transaction).await.expect("answer");
    assert!(matches!(outcome, Outcome::Done(_)));
}

async fn register(store: &Memory, id: &str, ttl: Duration) -> Lease {
    let lease = store.grant(ttl).await.expect("lease");
    let id = id.parse().expect("id");
    put(store, &scheduler::keys::machine(&id), "{}", Some(lease)).await;
    lease
}

fn on_paused_clock(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(PAUSED)
        .build()
        .expect("runtime");
    let limited = async { tokio::time::timeout(LIMIT, test).await };
    let ended = LocalSet::new().block_on(&runtime, limited);
    ended.expect("the test ends in time");
}

const PAUSED: bool = true;

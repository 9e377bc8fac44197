//! Who uses a service while the cluster is at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::machine::http;
use crate::registry::GREETING;

const EVERY: Duration = Duration::from_millis(500);

/// Asks the machines in turn, as a client that knows all of them; a request fails when none of
/// them answers.
pub(super) struct Client {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Client {
    pub(super) fn start(ports: Vec<u16>) -> Client {
        let (over, asked) = (
            Arc::new(AtomicBool::default()),
            Arc::new(AtomicUsize::default()),
        );
        let failed = Arc::new(AtomicUsize::default());
        let (seen, count, none) = (over.clone(), asked.clone(), failed.clone());
        let thread = thread::spawn(move || {
            let mut next = Instant::now();
            let mut first = 0;
            while !seen.load(Ordering::Relaxed) {
                let turn = (0..ports.len()).map(|index| ports[(first + index) % ports.len()]);
                let answer = turn.into_iter().find_map(|port| http(port, "/"));
                count.fetch_add(1, Ordering::Relaxed);
                if !answer.is_some_and(|body| body.contains(GREETING)) {
                    none.fetch_add(1, Ordering::Relaxed);
                }
                first += 1;
                next += EVERY;
                thread::park_timeout(next.saturating_duration_since(Instant::now()));
            }
        });
        Client {
            over,
            asked,
            failed,
            thread,
        }
    }

    /// Requests, and those that failed.
    pub(super) fn end(self) -> Result<(usize, usize)> {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow::anyhow!("the client panicked"))?;
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Ok((count(&self.asked), count(&self.failed)))
    }
}

//! Keeps an installation within its bandwidth and its share of a processor.
//!
//! The installation blocks its thread anyway, so waiting is done where bytes arrive and where work
//! was done: the connection stops reading, and the server sends no faster. Workers of the
//! installation run between two looks only, so what all of the process used is what is counted.

use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use strake_updates::fetch::{FetchError, Request, Sink, Transport};

/// A transport that hands bytes on no faster than a rate.
#[derive(Debug)]
pub struct Paced<T> {
    pub inner: T,
    /// Bytes a second; None is no limit.
    pub rate: Option<u64>,
}

/// Bytes that may come at once after a rest, in seconds of the rate.
const BURST: f64 = 0.25;

/// How far bytes are ahead of their rate. Pure.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: f64,
    /// Seconds that the bytes so far should have taken and have not.
    ahead: f64,
}

impl Bucket {
    fn take(&mut self, bytes: usize, elapsed: Duration) -> Duration {
        self.ahead = (self.ahead - elapsed.as_secs_f64()).max(-BURST) + bytes as f64 / self.rate;
        Duration::from_secs_f64(self.ahead.max(0.0))
    }
}

impl<T: Transport> Transport for Paced<T> {
    async fn fetch(&self, request: &Request, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        let Some(rate) = self.rate else {
            return self.inner.fetch(request, sink).await;
        };
        let mut bucket = Bucket {
            rate: rate as f64,
            ahead: 0.0,
        };
        let mut last = Instant::now();
        let mut paced = |piece: &[u8]| {
            wait(bucket.take(piece.len(), last.elapsed()));
            last = Instant::now();
            sink(piece)
        };
        self.inner.fetch(request, &mut paced).await
    }
}

/// Rests so long after each piece of work that the share holds.
#[derive(Debug)]
pub struct Share {
    percent: u8,
    /// Wall clock and the process's processor time when it was last looked at.
    last: (Instant, Duration),
}

impl Share {
    /// None where there is nothing to limit.
    pub fn new(percent: Option<u8>) -> Option<Share> {
        let percent = percent.filter(|percent| (1..100).contains(percent))?;
        Some(Share {
            percent,
            last: (Instant::now(), processor_time()),
        })
    }

    pub fn rest(&mut self) {
        let used = processor_time().saturating_sub(self.last.1);
        wait(rest(used, self.last.0.elapsed(), self.percent));
        self.last = (Instant::now(), processor_time());
    }
}

/// What is missing for `used` to be no more than the share of all the time.
fn rest(used: Duration, elapsed: Duration, percent: u8) -> Duration {
    (used * 100 / u32::from(percent.max(1))).saturating_sub(elapsed)
}

fn processor_time() -> Duration {
    let clock = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID;
    nix::time::clock_gettime(clock)
        .map(Duration::from)
        .unwrap_or_default()
}

/// Without anything to wait for, poll is a timer.
fn wait(time: Duration) {
    if time >= Duration::from_millis(1) {
        let _ = poll(
            &mut [],
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_wait_for_their_time_and_a_rest_saves_little() {
        let mut bucket = Bucket {
            rate: 1000.0,
            ahead: 0.0,
        };
        assert_eq!(bucket.take(500, Duration::ZERO), Duration::from_millis(500));
        assert_eq!(
            bucket.take(500, Duration::from_millis(500)),
            Duration::from_millis(500)
        );
        let after_a_day = bucket.take(1000, Duration::from_secs(86_400));
        assert_eq!(after_a_day, Duration::from_millis(750));
    }

    #[test]
    fn work_rests_until_its_share_is_kept() {
        let ms = Duration::from_millis;
        assert_eq!(rest(ms(100), ms(100), 50), ms(100));
        assert_eq!(rest(ms(100), ms(100), 100), ms(0));
        assert_eq!(rest(ms(100), ms(900), 10), ms(100));
        assert_eq!(rest(ms(10), ms(500), 10), ms(0));
        assert!(Share::new(Some(100)).is_none() && Share::new(None).is_none());
    }
}

//! Work over all blocks of a slot, spread over the processors.
//!
//! It goes in rounds: between two of them no worker runs, so that what rests there, rests wholly.

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

/// Blocks that a worker takes in one round: 8 MiB.
const PART: u64 = 2048;
/// More workers than this wait for memory and disk, not for each other.
const WORKERS: usize = 4;

/// Does `work` for all of `0..total` in parts; `done` is told each round's results in their order.
pub(super) fn in_rounds<T: Send, E: Send>(
    total: u64,
    work: impl Fn(Range<u64>) -> Result<T, E> + Sync,
    mut done: impl FnMut(Vec<T>, u64),
) -> Result<(), E> {
    let workers = thread::available_parallelism().map_or(1, |found| found.get().min(WORKERS));
    let mut at = 0;
    while at < total {
        let parts: Vec<_> = (0..workers as u64)
            .map(|number| (at + number * PART).min(total)..(at + (number + 1) * PART).min(total))
            .filter(|part| !part.is_empty())
            .collect();
        at += parts.iter().map(|part| part.end - part.start).sum::<u64>();
        done(round(parts, &work)?, at);
    }
    Ok(())
}

fn round<T: Send, E: Send>(
    parts: Vec<Range<u64>>,
    work: &(impl Fn(Range<u64>) -> Result<T, E> + Sync),
) -> Result<Vec<T>, E> {
    if parts.len() == 1 {
        return parts.into_iter().map(work).collect();
    }
    thread::scope(|scope| {
        let spawned: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || work(part)))
            .collect();
        spawned
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|cause| resume_unwind(cause)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_worked_on_once_and_told_in_order() {
        for total in [0, 1, PART - 1, PART, PART + 1, 5 * PART + 7] {
            let (mut seen, mut last) = (Vec::new(), 0);
            let work = |part: Range<u64>| Ok::<_, ()>(part.collect::<Vec<_>>());
            let outcome = in_rounds(total, work, |found, at| {
                seen.extend(found.into_iter().flatten());
                last = at;
            });
            assert_eq!((outcome, last), (Ok(()), total));
            assert!(seen.into_iter().eq(0..total), "{total} blocks");
        }
    }

    #[test]
    fn the_first_failure_ends_the_work() {
        let work = |part: Range<u64>| {
            if part.contains(&5000) {
                Err(5000)
            } else {
                Ok(())
            }
        };
        let mut told = 0;
        let outcome = in_rounds(1 << 20, work, |_, at| told = at);
        assert_eq!(outcome, Err(5000));
        assert!(told <= 5000, "told of {told} blocks");
    }
}

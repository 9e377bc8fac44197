//! Places that are spread over a range.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Adds to what is chosen, within the range, until there are as many; halves first.
pub(super) fn evenly(
    chosen: BTreeSet<usize>,
    range: RangeInclusive<usize>,
    count: usize,
) -> Vec<usize> {
    let (first, last) = (*range.start(), *range.end());
    let mut chosen: BTreeSet<usize> = chosen.into_iter().filter(|at| range.contains(at)).collect();
    let count = count.min(last - first + 1);
    let mut parts = 1;
    while chosen.len() < count {
        chosen.extend((0..=parts).map(|part| first + (last - first) * part / parts));
        parts += 1;
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_wanted_are_chosen_within_the_range() {
        let check = |chosen: &[usize], range: RangeInclusive<usize>, count: usize| {
            let found = evenly(chosen.iter().copied().collect(), range.clone(), count);
            let room = range.end() - range.start() + 1;
            assert!(found.len() >= count.min(room), "{found:?}");
            assert!(found.iter().all(|at| range.contains(at)), "{found:?}");
            let kept = chosen.iter().filter(|at| range.contains(at));
            assert!(kept.clone().all(|at| found.contains(at)), "{found:?}");
        };
        check(&[99, 100, 500, 501, 502], 100..=900, 20);
        check(&[5, 6, 7], 100..=110, 20);
        check(&[], 0..=0, 20);
        check(&[300, 301, 302, 303, 304], 100..=1000, 3);
    }
}

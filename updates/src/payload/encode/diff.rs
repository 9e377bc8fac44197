//! Finds the steps of a [`diff`](super::super::diff): Colin Percival's method, in which a match
//! may go on over bytes that differ as long as most are equal.

use super::super::diff::Step;

/// Matches are compared so far; longer ones are found in several steps, at bounded cost.
const LONGEST_MATCH: usize = 4096;

/// A part of the old file with its suffixes sorted.
struct Sorted<'a> {
    old: &'a [u8],
    order: Vec<i32>,
}

/// Where a step begins in both parts.
#[derive(Clone, Copy, Default)]
struct Place {
    new: usize,
    old: usize,
}

/// Steps, bytes to add and bytes to insert that make `new` of `old`.
pub(super) fn steps(old: &[u8], new: &[u8]) -> (Vec<Step>, Vec<u8>, Vec<u8>) {
    let sorted = Sorted::new(old);
    let (mut steps, mut add, mut insert) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = Place::default();
    let mut at = Place::default();
    let mut length = 0;
    while at.new < new.len() {
        let known;
        (at, length, known) = sorted.next(new, at.new + length, last);
        if length == known && at.new < new.len() {
            continue;
        }
        let (forward, backward) = border(old, new, last, at);
        let start = Place {
            new: at.new - backward,
            old: at.old - backward,
        };
        let pairs = new[last.new..].iter().zip(&old[last.old..]);
        add.extend(pairs.take(forward).map(|(new, old)| new.wrapping_sub(*old)));
        insert.extend(&new[last.new + forward..start.new]);
        steps.push(Step {
            add: forward,
            insert: start.new - last.new - forward,
            seek: start.old as i64 - (last.old + forward) as i64,
        });
        last = start;
    }
    (steps, add, insert)
}

impl<'a> Sorted<'a> {
    fn new(old: &'a [u8]) -> Self {
        let order = divsufsort::sort(old).into_parts().1;
        Self { old, order }
    }

    /// The next match worth a step: its place, its length, and how many of its bytes are equal
    /// without a step as well.
    fn next(&self, new: &[u8], from: usize, last: Place) -> (Place, usize, usize) {
        let goes_on = |at: usize| {
            let old = (at + last.old).checked_sub(last.new);
            old.and_then(|old| self.old.get(old)) == Some(&new[at])
        };
        let (mut at, mut counted, mut known) = (from, from, 0);
        let (mut old, mut length) = (0, 0);
        while at < new.len() {
            (old, length) = self.longest(&new[at..]);
            while counted < at + length {
                known += usize::from(goes_on(counted));
                counted += 1;
            }
            if (length == known && length != 0) || length > known + 8 {
                break;
            }
            known -= usize::from(counted > at && goes_on(at));
            at += 1;
            counted = counted.max(at);
        }
        if at >= new.len() {
            (old, length) = (0, 0);
        }
        (Place { new: at, old }, length, known)
    }

    /// The longest match of the beginning of `wanted`.
    fn longest(&self, wanted: &[u8]) -> (usize, usize) {
        let wanted = &wanted[..wanted.len().min(LONGEST_MATCH)];
        let suffix = |number: usize| &self.old[self.order[number] as usize..];
        let after = partition(self.order.len(), |number| {
            let suffix = suffix(number);
            &suffix[..suffix.len().min(LONGEST_MATCH)] < wanted
        });
        let candidates = [after.checked_sub(1), Some(after)].into_iter().flatten();
        candidates
            .filter(|number| *number < self.order.len())
            .map(|number| (self.order[number] as usize, common(suffix(number), wanted)))
            .max_by_key(|(_, length)| *length)
            .unwrap_or_default()
    }
}

/// How far the step before goes on, and how far the match reaches back, where most bytes are equal.
fn border(old: &[u8], new: &[u8], last: Place, at: Place) -> (usize, usize) {
    let room = (at.new - last.new).min(old.len() - last.old);
    let mut forward = best((0..room).map(|n| new[last.new + n] == old[last.old + n]));
    let room = (at.new - last.new).min(at.old);
    let room = if at.new < new.len() { room } else { 0 };
    let mut backward = best((1..=room).map(|n| new[at.new - n] == old[at.old - n]));
    if let Some(overlap) = (last.new + forward).checked_sub(at.new - backward) {
        let (mut score, mut most, mut kept) = (0i64, 0, 0);
        for n in 0..overlap {
            let ahead = forward - overlap + n;
            let behind = backward - n;
            score += i64::from(new[last.new + ahead] == old[last.old + ahead]);
            score -= i64::from(new[at.new - behind] == old[at.old - behind]);
            if score > most {
                (most, kept) = (score, n + 1);
            }
        }
        forward = forward - overlap + kept;
        backward -= kept;
    }
    (forward, backward)
}

/// How many to take so that equal ones outnumber the others the most.
fn best(equal: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut most, mut taken) = (0i64, 0, 0);
    for (number, equal) in equal.enumerate() {
        score += if equal { 1 } else { -1 };
        if score > most {
            (most, taken) = (score, number + 1);
        }
    }
    taken
}

fn partition(length: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::diff::{apply, to_content};
    use super::*;

    fn check(old: &[u8], new: &[u8]) -> usize {
        let (steps, add, insert) = steps(old, new);
        let content = to_content(&steps, &add, &insert);
        assert!(apply(&content, old, new.len()).unwrap() == new);
        insert.len()
    }

    #[test]
    fn bytes_that_differ_here_and_there_are_sums() {
        let old: Vec<u8> = (0..40_000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        let mut new = old.clone();
        (0..new.len()).step_by(97).for_each(|at| new[at] ^= 0x55);
        new.splice(70_000..70_000, *b"inserted here");
        assert!(check(&old, &new) < 100);
        assert_eq!(check(&[], b"new"), 3);
        assert_eq!(check(b"old", &[]), 0);
        check(&[0; 30_000], &[0; 50_000]);
    }

    proptest! {
        #[test]
        fn whatever_the_parts_are_the_steps_make_the_new_one(
            old in prop::collection::vec(0u8..4, 0..300),
            new in prop::collection::vec(0u8..4, 0..300),
            cut in 0usize..300,
        ) {
            check(&old, &new);
            let mixed = [&new[..cut.min(new.len())], &old[..], &new[..]].concat();
            check(&old, &mixed);
        }
    }
}

//! Which parts of two files belong together, from the digests of their blocks.
//!
//! Equal blocks are copied. What lies between two copies is made of what lies between their old
//! places: files keep their order from release to release. Equal blocks among changed ones stay
//! with those, and show where in the old file one is.

use std::collections::HashMap;
use std::ops::Range;

use super::super::BLOCK;
use super::super::patch::REFERENCE;
use super::{PIECE, split};
use crate::digest::Digest;

/// Fewer equal blocks than these between changed ones are no copy of their own.
const SHORTEST_COPY: usize = 16;
/// Equal blocks further than this from where they should be are there by chance.
const DRIFT: usize = 1024;
/// Old bytes given on each side of where a piece's old form should lie: so many times the piece,
/// within these bounds.
const MARGIN_FACTOR: u64 = 4;
const MARGIN: (u64, u64) = (256 << 10, 4 << 20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Copied,
    Changed,
}

/// Two parts of the files that belong together, in bytes.
#[derive(Debug)]
pub(super) struct Piece {
    pub kind: Kind,
    pub new: Range<u64>,
    pub old: Range<u64>,
}

/// Blocks that go on as the first does.
#[derive(Clone, Copy)]
struct Run {
    at: usize,
    length: usize,
    place: Option<usize>,
}

/// Covers the new file without a gap.
pub(super) fn pieces(old: &[Digest], new: &[Digest]) -> Vec<Piece> {
    let runs = runs(&matches(old, new));
    let mut pieces = Vec::new();
    let mut next = 0;
    let mut before = 0;
    while let Some(run) = runs.get(next) {
        if let Some(place) = run.place {
            copy(run.at, place, run.length, &mut pieces);
            before = place + run.length;
            next += 1;
            continue;
        }
        let (count, anchors) = together(&runs[next..], before);
        let last = runs[next + count - 1];
        next += count;
        let after = runs.get(next).and_then(|run| run.place);
        let end = last.at + last.length;
        let guess = anchors.last().map_or(before, |anchor| anchor.1);
        let after = after.filter(|after| (guess..=guess + (end - run.at) + DRIFT).contains(after));
        let after = after.unwrap_or(guess + end - anchors.last().map_or(run.at, |a| a.0));
        let route = [vec![(run.at, before)], anchors, vec![(end, after)]].concat();
        changed(&route, old.len(), &mut pieces);
        before = after;
    }
    pieces
}

/// For each new block an old one like it, if possible the one after the match before it.
fn matches(old: &[Digest], new: &[Digest]) -> Vec<Option<usize>> {
    let mut places = HashMap::new();
    for (number, digest) in old.iter().enumerate() {
        places.entry(digest).or_insert(number);
    }
    // A last block that is shorter can only be copied onto its like; digests tell them apart.
    let mut matched: Vec<Option<usize>> = Vec::with_capacity(new.len());
    for digest in new {
        let follows = matched.last().copied().flatten().map(|last| last + 1);
        let follows = follows.filter(|next| old.get(*next) == Some(digest));
        matched.push(follows.or_else(|| places.get(digest).copied()));
    }
    matched
}

fn runs(matched: &[Option<usize>]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, place) in matched.iter().enumerate() {
        if let Some(run) = runs.last_mut()
            && run.place.map(|place| place + run.length) == *place
        {
            run.length += 1;
            continue;
        }
        runs.push(Run {
            at,
            length: 1,
            place: *place,
        });
    }
    runs
}

/// How many runs from a changed one on are one piece of work, and the blocks known among them.
fn together(runs: &[Run], before: usize) -> (usize, Vec<(usize, usize)>) {
    let (mut count, mut anchors) = (1, Vec::new());
    let mut expected = before + runs[0].length;
    for (number, run) in runs.iter().enumerate().skip(1) {
        match run.place {
            None => count = number + 1,
            Some(_) if run.length >= SHORTEST_COPY => break,
            Some(place) if place.abs_diff(expected) <= DRIFT => {
                anchors.push((run.at, place));
                expected = place;
            }
            Some(_) => {}
        }
        expected += run.length;
    }
    // Equal blocks at the end are a copy after all.
    let end = runs[count - 1].at;
    anchors.retain(|anchor| anchor.0 < end);
    anchors.sort_unstable();
    let mut highest = before;
    anchors.retain(|anchor| {
        let rises = anchor.1 >= highest;
        highest = highest.max(anchor.1);
        rises
    });
    (count, anchors)
}

fn copy(at: usize, place: usize, run: usize, pieces: &mut Vec<Piece>) {
    let old_start = place as u64 * BLOCK;
    for new in split(bytes(at..at + run), PIECE) {
        let start = old_start + (new.start - at as u64 * BLOCK);
        let old = start..start + (new.end - new.start);
        pieces.push(Piece {
            kind: Kind::Copied,
            new,
            old,
        });
    }
}

/// `route` has pairs of new and old block, rising, from the beginning to the end.
fn changed(route: &[(usize, usize)], old_blocks: usize, pieces: &mut Vec<Piece>) {
    let (first, last) = (route[0], route[route.len() - 1]);
    let end = old_blocks as u64 * BLOCK;
    for new in split(bytes(first.0..last.0), PIECE) {
        let length = new.end - new.start;
        let margin = (length * MARGIN_FACTOR).clamp(MARGIN.0, MARGIN.1);
        let from = along(route, new.start).saturating_sub(margin).min(end);
        let to = along(route, new.end) + margin;
        let old = from..to.min(end).min(from + REFERENCE).max(from);
        pieces.push(Piece {
            kind: Kind::Changed,
            new,
            old,
        });
    }
}

/// The old place of a new byte, in proportion between the two known ones around it.
fn along(route: &[(usize, usize)], new: u64) -> u64 {
    let after = route.partition_point(|known| known.0 as u64 * BLOCK <= new);
    let after = after.clamp(1, route.len() - 1);
    let (from, to) = (route[after - 1], route[after]);
    let passed = new - (from.0 as u64 * BLOCK).min(new);
    let (width, old_width) = ((to.0 - from.0) as u64, (to.1 - from.1) as u64);
    from.1 as u64 * BLOCK + passed * old_width / width.max(1)
}

fn bytes(blocks: Range<usize>) -> Range<u64> {
    blocks.start as u64 * BLOCK..blocks.end as u64 * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(blocks: impl IntoIterator<Item = u32>) -> Vec<Digest> {
        let digest = |block: u32| Digest::of(&block.to_le_bytes());
        blocks.into_iter().map(digest).collect()
    }

    fn summary(old: &[Digest], new: &[Digest]) -> Vec<(Kind, u64, u64)> {
        let mut end = 0;
        let pieces = pieces(old, new);
        let summary = pieces.iter().map(|piece| {
            assert_eq!(piece.new.start, end);
            end = piece.new.end;
            (piece.kind, piece.new.end / BLOCK, piece.old.start / BLOCK)
        });
        summary.collect()
    }

    #[test]
    fn a_few_equal_blocks_among_changed_ones_stay_with_them() {
        let old = digests(0..400);
        let changed = |block: u32| {
            if block.is_multiple_of(5) {
                block
            } else {
                block + 1000
            }
        };
        let new = digests((0..100).chain((100..200).map(changed)).chain(200..400));
        assert_eq!(
            summary(&old, &new),
            [
                (Kind::Copied, 101, 0),
                (Kind::Changed, 200, 0),
                (Kind::Copied, 400, 200)
            ]
        );
    }

    #[test]
    fn the_reference_lies_where_the_neighbours_lie() {
        let old = digests(0..4000);
        let new = digests((1000..2000).chain(9000..9001).chain(2001..3000));
        assert_eq!(
            summary(&old, &new),
            [
                (Kind::Copied, 1000, 1000),
                (Kind::Changed, 1001, 2000 - 64),
                (Kind::Copied, 2000, 2001)
            ]
        );
    }
}

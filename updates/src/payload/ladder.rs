//! Which blocks must be fetched, and by which way that takes the fewest bytes.

use std::collections::HashMap;
use std::fmt;

use super::BLOCK;
use super::frames::Index;
use super::patch::Table;
use super::tree::Tree;

/// Where a block of the new slot comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is in the slot already: an earlier run was interrupted, or nothing changed there.
    Present,
    /// The active slot has the same block, at this number.
    Active(u64),
    Fetch,
}

/// A way to fetch blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// From the release that runs here, with its blocks as reference.
    Patch,
    /// Compressed frames of the new release, without those whose blocks are here already.
    Frames,
}

/// A way and what it will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub rung: Rung,
    /// Bytes to be fetched.
    pub bytes: u64,
}

/// One source per block. `present` says which blocks were found in the slot already.
pub fn sources(new: &Tree, active: Option<&Tree>, present: &[bool]) -> Vec<Source> {
    let usable = active.filter(|active| active.shape().salt == new.shape().salt);
    let mut known = HashMap::new();
    for (number, leaf) in usable.iter().flat_map(|tree| tree.leaves()).enumerate() {
        known.entry(leaf).or_insert(number as u64);
    }
    let source = |(number, leaf)| match known.get(&leaf) {
        _ if present.get(number) == Some(&true) => Source::Present,
        Some(block) => Source::Active(*block),
        None => Source::Fetch,
    };
    new.leaves().enumerate().map(source).collect()
}

/// The blocks that are to be fetched.
pub fn missing(sources: &[Source]) -> impl Iterator<Item = u64> {
    let fetched = sources
        .iter()
        .enumerate()
        .filter(|(_, source)| **source == Source::Fetch);
    fetched.map(|(number, _)| number as u64)
}

/// The ways there are, the cheapest first. When one fails, the next takes what is still missing.
pub fn steps(missing: &[u64], patch: Option<&Table>, index: &Index) -> Vec<Step> {
    let frames = index.holding(missing.iter().copied());
    let bytes = frames
        .iter()
        .map(|frame| u64::from(index.frames[*frame].length))
        .sum();
    let mut steps = vec![Step {
        rung: Rung::Frames,
        bytes,
    }];
    if let Some(patch) = patch {
        let extents = patch.making(missing.iter().copied(), BLOCK);
        let bodies = extents.iter().map(|extent| &patch.extents[*extent].body);
        let bytes = bodies.map(|body| body.end - body.start).sum();
        steps.push(Step {
            rung: Rung::Patch,
            bytes,
        });
    }
    steps.sort_by_key(|step| (step.bytes, step.rung));
    steps
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rung::Patch => "patch",
            Rung::Frames => "frames",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::patch::{Extent, Kind};
    use super::*;
    use crate::digest::Digest;

    fn tree(leaves: &[&str], salt: &[u8]) -> Tree {
        let leaves: Vec<_> = leaves
            .iter()
            .map(|leaf| Digest::of(leaf.as_bytes()))
            .collect();
        Tree::build(&leaves, salt, [0; 16]).unwrap()
    }

    #[test]
    fn equal_leaves_are_never_fetched() {
        let new = tree(&["a", "b", "c", "d", "a"], b"s");
        let old = tree(&["x", "c", "a"], b"s");
        let present = [false, true, false, false, false];
        let expected = [
            Source::Active(2),
            Source::Present,
            Source::Active(1),
            Source::Fetch,
            Source::Active(2),
        ];
        let sources_found = sources(&new, Some(&old), &present);
        assert_eq!(sources_found, expected);
        assert_eq!(missing(&sources_found).collect::<Vec<_>>(), [3]);
        let other_salt = tree(&["a", "b"], b"t");
        assert_eq!(sources(&new, Some(&other_salt), &[])[0], Source::Fetch);
        assert_eq!(sources(&new, None, &[])[0], Source::Fetch);
    }

    #[test]
    fn the_cheaper_way_goes_first() {
        let lengths = [(1000, 8192), (10, 8192)];
        let file = Index::to_table(&lengths);
        let index = Index::parse(&file, 1010 + file.len() as u64, 16_384).unwrap();
        let extent = |new, body| Extent {
            kind: Kind::Zstd,
            new,
            old: 0..0,
            body,
        };
        let patch = Table {
            new_size: 16_384,
            old_size: 0,
            extents: vec![extent(0..8192, 80..180), extent(8192..16_384, 180..280)],
        };
        let steps = |blocks: &[u64], patch| steps(blocks, patch, &index);
        let (by_patch, by_frames) = (Rung::Patch, Rung::Frames);
        assert_eq!(
            steps(&[0], Some(&patch)),
            [
                Step {
                    rung: by_patch,
                    bytes: 100
                },
                Step {
                    rung: by_frames,
                    bytes: 1000
                }
            ]
        );
        assert_eq!(
            steps(&[3], Some(&patch))[0],
            Step {
                rung: by_frames,
                bytes: 10
            }
        );
        assert_eq!(
            steps(&[0, 3], None),
            [Step {
                rung: by_frames,
                bytes: 1010
            }]
        );
        assert_eq!(steps(&[], Some(&patch))[0].bytes, 0);
    }
}

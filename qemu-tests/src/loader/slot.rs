//! What the two slots hold, kept up to date block by block: which blocks of tree and data are those
//! of each known release. A release that has no wrong block in a slot is whole there.

use std::io;

use super::tree::{BLOCK, Hash, Tree};
use super::{Part, Reader};

/// The places of a slot's data and tree on the disk.
#[derive(Debug, Clone)]
pub(super) struct Place {
    data: Part,
    tree: Part,
}

/// One release in one slot.
#[derive(Debug)]
struct Holding {
    slot: usize,
    release: usize,
    wrong_tree: Vec<bool>,
    wrong_data: Vec<bool>,
    wrong: u64,
}

#[derive(Debug)]
pub struct Slots {
    places: Vec<Place>,
    trees: Vec<Tree>,
    holdings: Vec<Holding>,
}

/// Where a byte of the disk belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Block {
    Tree(usize, u64),
    Data(usize, u64),
}

impl Slots {
    /// Reads both slots whole.
    pub fn read(places: [Part; 4], trees: Vec<Tree>, disk: &impl Reader) -> io::Result<Self> {
        let [data_a, tree_a, data_b, tree_b] = places;
        let slot = |data, tree| Place { data, tree };
        let places = vec![slot(data_a, tree_a), slot(data_b, tree_b)];
        let pairs = (0..places.len()).flat_map(|slot| (0..trees.len()).map(move |one| (slot, one)));
        let holdings =
            pairs.map(|(slot, release)| Holding::unknown(slot, release, &trees[release]));
        let mut slots = Self {
            holdings: holdings.collect(),
            places,
            trees,
        };
        for slot in 0..slots.places.len() {
            let blocks = |count: fn(&Tree) -> u64| slots.trees.iter().map(count).max().unwrap_or(0);
            let (tree, data) = (blocks(Tree::blocks), blocks(|tree| tree.data_blocks));
            let all = (0..tree).map(|block| Block::Tree(slot, block));
            let all: Vec<Block> = all
                .chain((0..data).map(|block| Block::Data(slot, block)))
                .collect();
            slots.look(disk, &all)?;
        }
        Ok(slots)
    }

    /// Takes in that sectors were written.
    pub fn update(
        &mut self,
        disk: &impl Reader,
        sectors: impl Iterator<Item = u64>,
    ) -> io::Result<()> {
        let mut blocks: Vec<Block> = sectors
            .filter_map(|sector| self.block_of(sector * crate::blocklog::SECTOR))
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        self.look(disk, &blocks)
    }

    /// The slot, 0 or 1, in which the release is whole.
    pub fn whole(&self, release: usize) -> Option<usize> {
        let holding = |one: &&Holding| one.release == release && one.wrong == 0;
        self.holdings
            .iter()
            .find(holding)
            .map(|holding| holding.slot)
    }

    /// Blocks that keep the release from being whole in the slot where it is nearest.
    pub fn missing(&self, release: usize) -> u64 {
        let of = self
            .holdings
            .iter()
            .filter(|holding| holding.release == release);
        of.map(|holding| holding.wrong).min().unwrap_or(u64::MAX)
    }

    fn block_of(&self, offset: u64) -> Option<Block> {
        self.places.iter().enumerate().find_map(|(slot, place)| {
            let number = |part: &Part| {
                part.contains(&offset)
                    .then(|| (offset - part.start) / BLOCK)
            };
            let data = number(&place.data).map(|block| Block::Data(slot, block));
            data.or_else(|| number(&place.tree).map(|block| Block::Tree(slot, block)))
        })
    }

    fn look(&mut self, disk: &impl Reader, blocks: &[Block]) -> io::Result<()> {
        let mut content = vec![0; usize::try_from(BLOCK).expect("a block fits into memory")];
        for block in blocks {
            let (slot, number, part) = match block {
                Block::Tree(slot, number) => (*slot, *number, &self.places[*slot].tree),
                Block::Data(slot, number) => (*slot, *number, &self.places[*slot].data),
            };
            disk.read_at(part.start + number * BLOCK, &mut content)?;
            // Releases have one salt, and hashing is what takes the time.
            let mut hashed: Option<(&[u8], Hash)> = None;
            for holding in self
                .holdings
                .iter_mut()
                .filter(|holding| holding.slot == slot)
            {
                let tree = &self.trees[holding.release];
                let index = usize::try_from(number).unwrap_or(usize::MAX);
                let (flags, right) = match block {
                    Block::Tree(..) if number < tree.blocks() => {
                        (&mut holding.wrong_tree, tree.block(number) == content)
                    }
                    Block::Data(..) if number < tree.data_blocks => {
                        let hash = match hashed {
                            Some((salt, hash)) if salt == tree.salt() => hash,
                            _ => tree.hash(&content),
                        };
                        hashed = Some((tree.salt(), hash));
                        (&mut holding.wrong_data, tree.is_leaf(number, &hash))
                    }
                    // Behind the end of this release.
                    _ => continue,
                };
                let was_wrong = std::mem::replace(&mut flags[index], !right);
                holding.wrong = holding.wrong + u64::from(!right) - u64::from(was_wrong);
            }
        }
        Ok(())
    }
}

impl Holding {
    fn unknown(slot: usize, release: usize, tree: &Tree) -> Self {
        let flags = |count: u64| vec![true; usize::try_from(count).unwrap_or_default()];
        Self {
            slot,
            release,
            wrong_tree: flags(tree.blocks()),
            wrong_data: flags(tree.data_blocks),
            wrong: tree.blocks() + tree.data_blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::tree::tests::{block, tree_over};

    const PARTS: [Part; 4] = [0..16384, 16384..24576, 24576..40960, 40960..49152];

    fn release(first: u32) -> (Vec<u8>, Tree) {
        let data: Vec<Vec<u8>> = [first, 8, 9].map(block).into();
        let (bytes, root) = tree_over(&data);
        (data.concat(), Tree::parse(bytes, &root).unwrap())
    }

    fn put(disk: &mut [u8], part: &Part, bytes: &[u8]) -> Vec<u64> {
        let start = usize::try_from(part.start).unwrap();
        disk[start..start + bytes.len()].copy_from_slice(bytes);
        (part.start / 512..(part.start + bytes.len() as u64) / 512).collect()
    }

    #[test]
    fn a_release_is_whole_where_all_its_blocks_are() {
        let ((old_data, old), (new_data, new)) = (release(1), release(2));
        let mut disk = vec![0; 49152];
        put(&mut disk, &PARTS[0], &old_data);
        put(&mut disk, &PARTS[1], &old.bytes);
        let mut slots = Slots::read(PARTS, vec![old, new.clone()], &disk).unwrap();
        assert_eq!((slots.whole(0), slots.whole(1)), (Some(0), None));
        assert_eq!(slots.missing(1), 2);

        for (bytes, part, whole) in [
            (&new_data, &PARTS[2], None),
            (&new.bytes, &PARTS[3], Some(1)),
        ] {
            let sectors = put(&mut disk, part, bytes);
            slots.update(&disk, sectors.into_iter()).unwrap();
            assert_eq!((slots.whole(0), slots.whole(1)), (Some(0), whole));
        }

        let sectors = put(&mut disk, &(4096..4608), &[5; 512]);
        slots.update(&disk, sectors.into_iter()).unwrap();
        assert_eq!((slots.whole(0), slots.whole(1)), (None, Some(1)));
        assert_eq!(slots.missing(0), 1);
    }
}

//! Fetches the blocks of a release that the machine does not have, by the ladder's steps.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::fill::Fill;
use super::partitions::device;
use super::{Active, InstallError, Progress};
use crate::fetch::Transport;
use crate::offer::Delta;
use crate::payload::BLOCK;
use crate::payload::frames::{self, Index};
use crate::payload::ladder::{Rung, Step, steps};
use crate::payload::patch::{self, Extent, InvalidPatch, Table};

/// Bytes asked for in one request at most.
const REQUEST: u64 = 16 << 20;

impl<T: Transport> Fill<'_, '_, T> {
    /// Tries the ways in order of what they take; each goes on with what the one before left.
    pub(super) async fn fetch(
        &mut self,
        mut left: Vec<u64>,
        base: Option<(&Active, &Delta)>,
    ) -> Result<(), InstallError> {
        if left.is_empty() {
            return Ok(());
        }
        let index = self.index().await?;
        let patch = match base {
            Some((_, delta)) => self.patch_table(delta).await,
            None => None,
        };
        let ways = steps(&left, patch.as_ref(), &index);
        let last = ways.len() - 1;
        for (number, Step { rung, bytes }) in ways.into_iter().enumerate() {
            let outcome = match (rung, base.zip(patch.as_ref())) {
                (Rung::Patch, Some(((active, delta), table))) => {
                    self.by_patch(&mut left, active, delta, table, bytes).await
                }
                _ => self.by_frames(&mut left, &index, bytes).await,
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) if number == last => return Err(error),
                Err(error) => self.report.given_up.push((rung, error.to_text())),
            }
        }
        Ok(())
    }

    async fn index(&mut self) -> Result<Index, InstallError> {
        let usr = &self.offer.usr;
        let length = self.remote.target(&usr.blocks)?.length;
        let start = length.saturating_sub(usr.index.length);
        let table = self.remote.part(&usr.blocks, start, usr.index).await?;
        self.report.fetched_bytes += table.len() as u64;
        Index::parse(&table, length, usr.size).map_err(|source| InstallError::Frames {
            target: usr.blocks.clone(),
            source,
        })
    }

    /// A patch whose table cannot be had is as good as none.
    async fn patch_table(&mut self, delta: &Delta) -> Option<Table> {
        let name = &delta.usr.target;
        let read = async || -> Result<Table, InstallError> {
            let length = self.remote.target(name)?.length;
            let bytes = self.remote.part(name, 0, delta.usr.table).await?;
            let invalid = |source| InstallError::Patch {
                target: name.clone(),
                source,
            };
            let table = Table::parse(&bytes, length).map_err(invalid)?;
            let whole_blocks = table
                .extents
                .iter()
                .all(|extent| extent.new.start.is_multiple_of(BLOCK));
            if table.new_size != self.offer.usr.size || !whole_blocks {
                return Err(invalid(InvalidPatch::Head));
            }
            Ok(table)
        };
        let table = read().await;
        self.report.fetched_bytes += delta.usr.table.length;
        match table {
            Ok(table) => Some(table),
            Err(error) => {
                self.report.given_up.push((Rung::Patch, error.to_text()));
                None
            }
        }
    }

    async fn by_patch(
        &mut self,
        left: &mut Vec<u64>,
        active: &Active,
        delta: &Delta,
        table: &Table,
        total: u64,
    ) -> Result<(), InstallError> {
        let name = &delta.usr.target;
        let extents: Vec<&Extent> = table
            .making(left.iter().copied(), BLOCK)
            .iter()
            .map(|n| &table.extents[*n])
            .collect();
        let ranges: Vec<_> = extents.iter().map(|extent| extent.body.clone()).collect();
        let make = |number: usize, body: &[u8]| {
            let extent = extents[number];
            let mut old = vec![0; (extent.old.end - extent.old.start) as usize];
            let read = active.data.read_exact_at(&mut old, extent.old.start);
            read.map_err(device("reading the active slot"))?;
            let made = patch::decode(extent, &old, body).map_err(|source| InstallError::Patch {
                target: name.clone(),
                source,
            })?;
            Ok((extent.new.start, made))
        };
        self.by_pieces(left, name, &ranges, total, make).await
    }

    async fn by_frames(
        &mut self,
        left: &mut Vec<u64>,
        index: &Index,
        total: u64,
    ) -> Result<(), InstallError> {
        let name = &self.offer.usr.blocks;
        let needed: Vec<_> = index
            .holding(left.iter().copied())
            .iter()
            .map(|n| &index.frames[*n])
            .collect();
        let ranges: Vec<_> = needed
            .iter()
            .map(|f| f.offset..f.offset + u64::from(f.length))
            .collect();
        let make = |number: usize, bytes: &[u8]| {
            let made =
                frames::decode(needed[number], bytes).map_err(|source| InstallError::Frames {
                    target: name.clone(),
                    source,
                })?;
            Ok((needed[number].start, made))
        };
        self.by_pieces(left, name, &ranges, total, make).await
    }

    /// Fetches ranges of a target, neighbours together. `make` turns the bytes of one range into
    /// content and the place of the slot it belongs to; blocks that are wanted there are checked
    /// and written.
    async fn by_pieces(
        &mut self,
        left: &mut Vec<u64>,
        name: &str,
        ranges: &[Range<u64>],
        total: u64,
        make: impl Fn(usize, &[u8]) -> Result<(u64, Vec<u8>), InstallError> + Sync,
    ) -> Result<(), InstallError> {
        let (tree, passive) = (self.tree, self.passive);
        let write = |number: usize, bytes: &[u8], left: &mut Vec<u64>| {
            let (start, content) = make(number, bytes)?;
            let first = start / BLOCK;
            let from = left.partition_point(|block| *block < first);
            let blocks = content.chunks(BLOCK as usize).count() as u64;
            let to = left.partition_point(|block| *block < first + blocks);
            for block in &left[from..to] {
                let content = &content[((block - first) * BLOCK) as usize..];
                let content = &content[..content.len().min(BLOCK as usize)];
                if !tree.holds(*block, content) {
                    return Err(InstallError::Block {
                        target: name.to_owned(),
                        block: *block,
                    });
                }
                passive.write_blocks(*block, content)?;
            }
            left.drain(from..to);
            Ok(())
        };
        let before = left.len();
        let mut fetched = 0;
        let mut next = 0;
        let mut outcome = Ok(());
        while next < ranges.len() && outcome.is_ok() {
            let batch = batch(ranges, next);
            let mut pending = Vec::new();
            let mut failed = None;
            let mut sink = |piece: &[u8]| {
                pending.extend_from_slice(piece);
                fetched += piece.len() as u64;
                (self.watch)(Progress::Fetched {
                    done: fetched,
                    total,
                });
                let mut used = 0;
                while next < batch.end {
                    let length = (ranges[next].end - ranges[next].start) as usize;
                    let Some(bytes) = pending.get(used..used + length) else {
                        break;
                    };
                    if let Err(error) = write(next, bytes, left) {
                        failed = Some(error);
                        return Err(io::Error::other("a piece could not be used"));
                    }
                    used += length;
                    next += 1;
                }
                pending.drain(..used);
                Ok(())
            };
            let wanted = ranges[batch.start].start..ranges[batch.end - 1].end;
            outcome = if wanted.is_empty() {
                sink(&[]).map_err(device("copying"))
            } else {
                self.remote.range(name, wanted, &mut sink).await
            };
            if let Some(error) = failed {
                outcome = Err(error);
            }
        }
        self.report.fetched_bytes += fetched;
        self.report.fetched_blocks += (before - left.len()) as u64;
        outcome
    }
}

/// Ranges from `first` on that follow each other without a gap.
fn batch(ranges: &[Range<u64>], first: usize) -> Range<usize> {
    let start = ranges[first].start;
    let follow = ranges[first..].windows(2);
    let more =
        follow.take_while(|pair| pair[0].end == pair[1].start && pair[1].end - start <= REQUEST);
    first..first + 1 + more.count()
}

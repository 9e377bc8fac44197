//! Makes compressed frames and patches. The publisher's side: it reads and writes files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

use super::BLOCK;
use super::frames::{FRAME, Index};
use super::patch::{Extent, Kind, REFERENCE, Table};
use crate::digest::Digest;

/// Largest piece that is compressed at once; below the decoder's limit, to keep it small.
const PIECE: u64 = 2 << 20;
/// Old content given as reference on each side of where a piece's old form should lie.
const MARGIN: u64 = 2 << 20;

/// Writes `content` as frames with their table, whose bytes are returned.
pub fn frames(
    content: &File,
    level: i32,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Vec<u8>> {
    let size = content.metadata()?.len();
    let pieces: Vec<_> = split(0..size, FRAME).collect();
    let mut lengths = Vec::with_capacity(pieces.len());
    let compress_piece = |piece: &Range<u64>| zstd::bulk::compress(&read(content, piece)?, level);
    in_parallel(&pieces, compress_piece, |piece, frame| {
        out.write_all(&frame)?;
        lengths.push((frame.len() as u32, (piece.end - piece.start) as u32));
        progress(piece.end);
        Ok(())
    })?;
    let table = Index::to_table(&lengths);
    out.write_all(&table)?;
    Ok(table)
}

/// Writes the patch that makes `new` of `old`; the bytes of its table are returned.
pub fn patch(
    old: &File,
    new: &File,
    level: i32,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Vec<u8>> {
    let pieces = pair(&block_digests(old)?, &block_digests(new)?);
    let new_size = new.metadata()?.len();
    let old_size = old.metadata()?.len();
    let clip = |range: &Range<u64>, size: u64| range.start.min(size)..range.end.min(size);
    let mut extents = Vec::new();
    let mut bodies = Vec::new();
    let encode = |piece: &Piece| match piece.kind {
        Kind::Copy => Ok(Vec::new()),
        Kind::Zstd => {
            let reference = read(old, &clip(&piece.old, old_size))?;
            compress_with(&reference, &read(new, &clip(&piece.new, new_size))?, level)
        }
    };
    in_parallel(&pieces, encode, |piece, body| {
        let start = bodies.len() as u64;
        bodies.extend(body);
        let (new, old) = (clip(&piece.new, new_size), clip(&piece.old, old_size));
        progress(new.end);
        extents.push(Extent {
            kind: piece.kind,
            new,
            old,
            body: start..bodies.len() as u64,
        });
        Ok(())
    })?;
    let table = Table {
        new_size,
        old_size,
        extents,
    }
    .to_bytes();
    out.write_all(&table)?;
    out.write_all(&bodies)?;
    Ok(table)
}

/// Two parts of the files that belong together.
struct Piece {
    kind: Kind,
    new: Range<u64>,
    old: Range<u64>,
}

/// Equal blocks are copied. What lies between two copies is compressed against what lies between
/// their old places: files keep their order from release to release.
fn pair(old: &[Digest], new: &[Digest]) -> Vec<Piece> {
    let mut places = HashMap::new();
    for (number, digest) in old.iter().enumerate() {
        places.entry(digest).or_insert(number);
    }
    // A last block that is shorter can only be copied onto its like; digests tell them apart.
    let mut matched = Vec::with_capacity(new.len());
    for digest in new {
        let follows = matched
            .last()
            .copied()
            .flatten()
            .map(|last: usize| last + 1);
        let follows = follows.filter(|next| old.get(*next) == Some(digest));
        matched.push(follows.or_else(|| places.get(digest).copied()));
    }
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < new.len() {
        let run = run_length(&matched[at..]);
        match matched[at] {
            Some(place) => copy(at, place, run, &mut pieces),
            None => {
                let before = matched[..at]
                    .last()
                    .copied()
                    .flatten()
                    .map_or(0, |last| last + 1);
                let after = matched[at + run..]
                    .first()
                    .copied()
                    .flatten()
                    .unwrap_or(old.len());
                between(at..at + run, before..after, old.len(), &mut pieces);
            }
        }
        at += run;
    }
    pieces
}

/// Blocks that go on as the first does: copied one after the other, or not copied.
fn run_length(matched: &[Option<usize>]) -> usize {
    let goes_on = |(offset, place): (usize, &Option<usize>)| match (matched[0], place) {
        (Some(first), Some(place)) => *place == first + offset,
        (None, None) => true,
        _ => false,
    };
    matched
        .iter()
        .enumerate()
        .take_while(|item| goes_on(*item))
        .count()
}

fn bytes(blocks: Range<usize>) -> Range<u64> {
    blocks.start as u64 * BLOCK..blocks.end as u64 * BLOCK
}

fn copy(at: usize, place: usize, run: usize, pieces: &mut Vec<Piece>) {
    let old_start = place as u64 * BLOCK;
    for new in split(bytes(at..at + run), PIECE) {
        let start = old_start + (new.start - at as u64 * BLOCK);
        let old = start..start + (new.end - new.start);
        pieces.push(Piece {
            kind: Kind::Copy,
            new,
            old,
        });
    }
}

fn between(new: Range<usize>, gap: Range<usize>, old_len: usize, pieces: &mut Vec<Piece>) {
    let (new, end) = (bytes(new), old_len as u64 * BLOCK);
    // Without a gap the copies changed places; where the first one lay is as good a guess as any.
    let gap = bytes(gap.start..gap.end.max(gap.start));
    let (new_length, gap_length) = (new.end - new.start, gap.end - gap.start);
    let scale = |offset: u64| {
        gap.start + (u128::from(offset) * u128::from(gap_length) / u128::from(new_length)) as u64
    };
    for piece in split(new.clone(), PIECE) {
        let (from, to) = (scale(piece.start - new.start), scale(piece.end - new.start));
        let from = from.saturating_sub(MARGIN);
        let old = from..(to + MARGIN).min(end).min(from + REFERENCE).max(from);
        pieces.push(Piece {
            kind: Kind::Zstd,
            new: piece,
            old,
        });
    }
}

fn split(range: Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range
        .step_by(step as usize)
        .map(move |start| start..(start + step).min(end))
}

fn compress_with(reference: &[u8], content: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let failed = |code| io::Error::other(zstd::zstd_safe::get_error_name(code));
    let mut context = CCtx::create();
    let window = (reference.len() + content.len())
        .next_power_of_two()
        .ilog2()
        .clamp(10, 27);
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(window),
        CParameter::EnableLongDistanceMatching(true),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    context.ref_prefix(reference).map_err(failed)?;
    let mut out = Vec::with_capacity(compress_bound(content.len()));
    context.compress2(&mut out, content).map_err(failed)?;
    Ok(out)
}

fn read(file: &File, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let mut content = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut content, range.start)?;
    Ok(content)
}

fn block_digests(file: &File) -> io::Result<Vec<Digest>> {
    let size = file.metadata()?.len();
    let mut digests = Vec::with_capacity(size.div_ceil(BLOCK) as usize);
    for piece in split(0..size, FRAME) {
        let content = read(file, &piece)?;
        digests.extend(content.chunks(BLOCK as usize).map(Digest::of));
    }
    Ok(digests)
}

/// Works on several pieces at once and hands the results on in order.
fn in_parallel<P: Sync, R: Send>(
    pieces: &[P],
    work: impl Fn(&P) -> io::Result<R> + Sync,
    mut done: impl FnMut(&P, R) -> io::Result<()>,
) -> io::Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get().min(8));
    for batch in pieces.chunks(workers * 8) {
        let work = &work;
        let results = std::thread::scope(|scope| {
            let shares: Vec<_> = (0..workers)
                .map(|first| {
                    let share = batch.iter().skip(first).step_by(workers);
                    scope.spawn(move || share.map(work).collect::<Vec<_>>().into_iter())
                })
                .collect();
            let joined = shares.into_iter().map(|share| share.join());
            joined.collect::<Result<Vec<_>, _>>()
        });
        let mut shares = results.map_err(|_| io::Error::other("a compressing thread panicked"))?;
        for (number, piece) in batch.iter().enumerate() {
            let result = shares[number % workers].next();
            done(piece, result.expect("one result per piece")?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

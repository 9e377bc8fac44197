//! Makes compressed frames and patches. The publisher's side: it reads and writes files.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

use self::pair::Piece;
use super::BLOCK;
use super::frames::{FRAME, Index};
use super::patch::{Extent, Kind, Table};
use crate::digest::Digest;

mod diff;
mod pair;

/// Raw bytes of a piece; below the decoder's limit, to keep it small.
const PIECE: u64 = 4 << 20;

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
    let pieces = pair::pieces(&block_digests(old)?, &block_digests(new)?);
    let new_size = new.metadata()?.len();
    let old_size = old.metadata()?.len();
    let clip = |range: &Range<u64>, size: u64| range.start.min(size)..range.end.min(size);
    let mut extents = Vec::new();
    let mut bodies = Vec::new();
    let encode = |piece: &Piece| match piece.kind {
        pair::Kind::Copied => Ok((Kind::Copy, Vec::new())),
        pair::Kind::Changed => {
            let reference = read(old, &clip(&piece.old, old_size))?;
            change(&reference, &read(new, &clip(&piece.new, new_size))?, level)
        }
    };
    in_parallel(&pieces, encode, |piece, (kind, body)| {
        let start = bodies.len() as u64;
        bodies.extend(body);
        let (new, old) = (clip(&piece.new, new_size), clip(&piece.old, old_size));
        progress(new.end);
        extents.push(Extent {
            kind,
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

/// The shorter of the two ways to say what changed.
fn change(reference: &[u8], content: &[u8], level: i32) -> io::Result<(Kind, Vec<u8>)> {
    let zstd = compress_with(reference, content, level)?;
    // What was compressed before has no sums worth looking for.
    if zstd.len() / 9 > content.len() / 10 {
        return Ok((Kind::Zstd, zstd));
    }
    let (steps, add, insert) = diff::steps(reference, content);
    let sums = super::diff::to_content(&steps, &add, &insert);
    let sums_fit = sums.len() <= super::diff::longest(content.len());
    let sums = zstd::bulk::compress(&sums, level.max(19))?;
    if sums_fit && sums.len() < zstd.len() {
        return Ok((Kind::Diff, sums));
    }
    Ok((Kind::Zstd, zstd))
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

use std::io::Read as _;

use proptest::prelude::*;

use super::super::{frames as decode_frames, patch as decode_patch};
use super::*;

fn file(content: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(content, 0).unwrap();
    file
}

fn noise(seed: u64, blocks: usize) -> Vec<u8> {
    let bytes = (0..blocks as u64 * 128)
        .flat_map(|n| Digest::of(&(seed, n).0.wrapping_add(n << 20).to_le_bytes()).0);
    bytes.collect()
}

fn make_patch(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let table = patch(&file(old), &file(new), 3, &mut out, &mut |_| {}).unwrap();
    assert!(out.starts_with(&table));
    out
}

fn apply(patch: &[u8], table_length: usize, old: &[u8]) -> Vec<u8> {
    let table = Table::parse(&patch[..table_length], patch.len() as u64).unwrap();
    let part =
        |bytes: &[u8], range: &Range<u64>| bytes[range.start as usize..range.end as usize].to_vec();
    let extents = table.extents.iter();
    extents
        .flat_map(|e| decode_patch::decode(e, &part(old, &e.old), &part(patch, &e.body)).unwrap())
        .collect()
}

fn table_length(patch: &[u8]) -> usize {
    32 + 24 * u32::from_le_bytes(patch[24..28].try_into().unwrap()) as usize
}

#[test]
fn frames_unpack_one_by_one_and_as_a_whole() {
    let content = noise(1, 200);
    let mut packed = Vec::new();
    let mut last = 0;
    let table = frames(&file(&content), 3, &mut packed, &mut |done| last = done).unwrap();
    let size = content.len() as u64;
    assert_eq!(last, size);
    let index = Index::parse(&table, packed.len() as u64, size).unwrap();
    for frame in &index.frames {
        let at = frame.offset as usize;
        let raw = decode_frames::decode(frame, &packed[at..at + frame.length as usize]).unwrap();
        assert_eq!(raw, content[frame.start as usize..][..raw.len()]);
    }
    let mut whole = Vec::new();
    zstd::Decoder::new(packed.as_slice())
        .unwrap()
        .read_to_end(&mut whole)
        .unwrap();
    assert!(whole == content);
}

#[test]
fn moved_and_changed_blocks_cost_little() {
    let old = noise(2, 600);
    let mut new = old[100 * 4096..].to_vec();
    new.extend(&old[..100 * 4096]);
    for at in [5000, 900_000, 1_500_000] {
        new[at] ^= 1;
    }
    let patch = make_patch(&old, &new);
    assert!(apply(&patch, table_length(&patch), &old) == new);
    assert!(patch.len() < 2048, "{} bytes", patch.len());
}

#[test]
fn files_of_any_length_are_patched() {
    let old = noise(3, 3);
    for new in [
        &old[..10_000],
        &[],
        &old[..1],
        &[old.as_slice(), b"tail"].concat(),
    ] {
        for old in [old.as_slice(), &[], &old[..5]] {
            let patch = make_patch(old, new);
            assert!(apply(&patch, table_length(&patch), old) == new);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_patch_makes_the_new_file(
        old in prop::collection::vec(0u8..4, 0..40),
        new in prop::collection::vec(0u8..6, 0..40),
        tail in 0usize..4096,
    ) {
        let file = |kinds: &[u8]| -> Vec<u8> { kinds.iter().flat_map(|k| vec![*k; 4096]).collect() };
        let (old, mut new) = (file(&old), file(&new));
        new.extend(vec![9; tail]);
        let patch = make_patch(&old, &new);
        prop_assert!(apply(&patch, table_length(&patch), &old) == new);
    }
}

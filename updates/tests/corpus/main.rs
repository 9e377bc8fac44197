//! Replays the fuzz targets' corpus. `UPDATE_GOLDEN=1` writes its seeds anew.

#[path = "../../fuzz/checks.rs"]
mod checks;
mod seeds;

use std::fs;
use std::path::PathBuf;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

#[track_caller]
fn replay(target: &str, check: fn(&[u8]), seeds: Vec<(&str, Vec<u8>)>) {
    let dir = corpus(target);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in &seeds {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in seeds {
        let found = fs::read(dir.join(name)).unwrap();
        assert!(
            found == bytes,
            "{target}/{name} is not what the code makes today"
        );
    }
    for entry in fs::read_dir(&dir).unwrap() {
        let input = fs::read(entry.unwrap().path()).unwrap();
        check(&input);
        // Near misses are where parsers break.
        for at in 0..input.len().min(400) {
            let mut changed = input.clone();
            changed[at] ^= 0x10;
            check(&changed);
            check(&input[..at]);
        }
    }
}

#[test]
fn metadata_of_any_kind_is_read_or_refused() {
    replay("metadata", checks::metadata, seeds::metadata());
}

#[test]
fn reports_are_taken_or_refused() {
    replay("event", checks::event, seeds::event());
}

#[test]
fn patches_are_applied_or_refused() {
    replay("patch", checks::patch, seeds::patch());
}

#[test]
fn frames_are_unpacked_or_refused() {
    replay("frames", checks::frames, seeds::frames());
}

#[test]
fn trees_are_read_or_refused() {
    replay("tree", checks::tree, seeds::tree());
}

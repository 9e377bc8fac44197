//! The library does no I/O: what it would need for that is not named in its sources.

use std::fs;
use std::path::Path;

const FORBIDDEN: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "std::time::Instant",
    "SystemTime",
    "println!",
];

fn visit(directory: &Path, check: &mut dyn FnMut(&Path, &str)) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            visit(&path, check);
        } else {
            check(&path, &fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn no_source_of_the_library_does_io() {
    let mut files = 0;
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut |path, text| {
            files += 1;
            for word in FORBIDDEN {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
        },
    );
    assert!(files > 40, "{files} files");
}

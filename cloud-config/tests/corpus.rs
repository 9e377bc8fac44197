//! Replays the corpus of the fuzz targets, so that what was once found stays found.

use std::fs;
use std::path::Path;

use strake_cloud_config::install::{Place, links};
use strake_cloud_config::unit_name::UnitName;
use strake_cloud_config::{Context, check, plan};

fn replay(target: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(directory).expect("the corpus");
    let count =
        entries.map(|entry| run(&fs::read(entry.expect("an entry").path()).expect("a file")));
    assert!(count.count() >= 3, "{target}");
}

fn run(head: &[u8], bytes: &[u8]) {
    let context = Context::default();
    let checked = check(&[head, bytes].concat(), &context);
    if let Some(config) = checked.config {
        let _ = format!("{:#}", plan(&config, &context));
    }
}

#[test]
fn the_corpus_of_the_parser_is_harmless() {
    replay("parser", |bytes| run(b"#cloud-config\n", bytes));
}

#[test]
fn the_corpus_of_multipart_is_harmless() {
    replay("multipart", |bytes| {
        run(b"Content-Type: multipart/mixed; boundary=B\n\n", bytes)
    });
}

#[test]
fn the_corpus_of_gzip_is_harmless() {
    replay("gzip", |bytes| run(b"\x1f\x8b", bytes));
}

#[test]
fn the_corpus_of_unit_files_is_harmless() {
    replay("unit_file", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        for name in ["a.service", "a@.service", "a@b.service"] {
            let name = UnitName::parse(name).expect("a unit name");
            for link in links(
                &name,
                &text,
                &Place {
                    links: "/l",
                    unit: "/u",
                },
            ) {
                assert!(link.path.starts_with("/l/") && !link.path.contains("/../"));
            }
        }
    });
}

//! Rules of the whole repository that no other tool checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const MOST_LINES: usize = 500;
const TEXT: [&str; 8] = ["rs", "md", "toml", "yaml", "yml", "txt", "service", "conf"];
/// Bytes that a test compares, and generated documents.
const DATA: [&str; 4] = ["/golden/", "/data/", "/fixtures/", "/corpus/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Path and text of every file that somebody wrote and is kept or about to be.
fn written_files() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let is_written = |path: &str| {
        let extension = Path::new(path).extension().and_then(|text| text.to_str());
        extension.is_some_and(|text| TEXT.contains(&text))
            && !DATA.iter().any(|directory| path.contains(directory))
    };
    String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .filter(|path| is_written(path))
        .filter_map(|path| Some((path.to_owned(), fs::read_to_string(root().join(path)).ok()?)))
        .collect()
}

#[track_caller]
fn check(what: &str, is_wrong: impl Fn(&str, &str) -> bool) {
    let files = written_files();
    assert!(files.len() > 20, "git lists {} files", files.len());
    let wrong: Vec<String> = files
        .into_iter()
        .filter(|(path, text)| is_wrong(path, text))
        .map(|(path, _)| path)
        .collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
}

#[test]
fn no_source_file_is_longer_than_500_lines() {
    check("too long", |path, text| {
        path.ends_with(".rs") && text.lines().count() > MOST_LINES
    });
}

#[test]
fn nothing_is_left_to_do() {
    // In two pieces, so that this file may be checked as well.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("#[ig", "nore]"),
    ];
    check("unfinished", |_, text| {
        marks.iter().any(|mark| text.contains(mark))
    });
}

#[test]
fn lines_end_where_their_text_ends() {
    check("trailing whitespace", |_, text| {
        text.lines().any(|line| line.ends_with([' ', '\t', '\r']))
    });
    check("no newline at the end", |_, text| {
        !text.is_empty() && !text.ends_with('\n')
    });
}

#[test]
fn every_command_of_the_lab_in_the_documents_exists() {
    let help = Command::new(env!("CARGO_BIN_EXE_strake-lab"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let known: BTreeSet<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .collect();
    assert!(known.contains("up"), "{help}");
    for (path, text) in written_files()
        .iter()
        .filter(|(path, _)| path.ends_with(".md"))
    {
        for (place, mark) in text.match_indices("cargo lab ") {
            let rest = &text[place + mark.len()..];
            let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            let exists = word.is_empty() || known.contains(word.as_str());
            assert!(exists, "{path} speaks of `cargo lab {word}`");
        }
    }
}

//! The reference page and the JSON Schema are those of the table the checker uses.
//! `UPDATE_GOLDEN=1` writes them anew.

use std::fs;
use std::path::Path;

use strake_cloud_config::{Context, check, json_schema, reference_markdown};

#[track_caller]
fn is_current(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(path, text).expect("the page can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/{name} is out of date: run this test with UPDATE_GOLDEN=1"
    );
}

#[test]
fn the_reference_page_is_current() {
    is_current("cloud-config.md", &reference_markdown());
}

#[test]
fn the_json_schema_is_current() {
    is_current(
        "cloud-config.schema.json",
        &format!("{:#}\n", json_schema()),
    );
}

#[test]
fn the_examples_of_the_page_are_accepted_without_a_word() {
    let page = reference_markdown();
    let examples: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        let checked = check(example.as_bytes(), &Context::default());
        assert_eq!(checked.problems, [], "{example}");
    }
}

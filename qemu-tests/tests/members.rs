//! Which member of the workspace may use which, by `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Member and the members it may depend on, in any way. Nobody uses the harness.
const MAY_USE: [(&str, &[&str]); 5] = [
    ("strake-cloud-config", &[]),
    ("strake-updates", &[]),
    ("strake-agent", &["strake-cloud-config", "strake-updates"]),
    (
        "strake-image-builder",
        &["strake-cloud-config", "strake-updates"],
    ),
    ("strake-qemu-tests", &[]),
];

fn members() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let local = dependencies
                .iter()
                .filter(|dependency| !dependency["path"].is_null());
            (name(package), local.map(name).collect())
        })
        .collect()
}

#[test]
fn members_use_only_what_they_may() {
    let members = members();
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(member, _)| *member).collect();
    let found: BTreeSet<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(found, known);
    for (member, allowed) in MAY_USE {
        let forbidden: Vec<&String> = members[member]
            .iter()
            .filter(|used| !allowed.contains(&used.as_str()))
            .collect();
        assert!(forbidden.is_empty(), "{member} uses {forbidden:?}");
    }
}

//! Bad input: one clear error that says what to do, and the exit code for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::site::{Site, success, text};

#[track_caller]
fn refused(command: &mut Command, code: i32, parts: &[&str]) {
    let output = command.output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    for part in parts {
        assert!(errors.contains(part), "{part:?} is not in:\n{errors}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_options_are_refused_before_anything_is_made() {
    require_tools!();
    let site = Site::new();
    refused(
        site.build("a").args(["--version", "1_2"]),
        2,
        &["1_2", "no version"],
    );
    refused(
        site.build("a").args(["--package", "no such;"]),
        2,
        &["no such;"],
    );
    refused(
        site.build("a").args(["--overlay-dir", "/nowhere"]),
        2,
        &["/nowhere"],
    );
    refused(
        site.build("a").args(["--update-root", "/dev/null"]),
        2,
        &["--update-root /dev/null"],
    );
    refused(
        site.build("a").args(["--recipe", "/nowhere"]),
        2,
        &["/nowhere"],
    );
    refused(
        site.build("a").args(["--format", "iso"]),
        2,
        &["iso", "qcow2"],
    );
    refused(
        site.command().args(["build", "--agent=/nowhere"]),
        2,
        &["/nowhere", "--agent"],
    );
    refused(
        site.command().args(["inspect", "/dev/null"]),
        2,
        &["partition table"],
    );
    refused(
        site.command().args(["lock", "--recipe", "/nowhere"]),
        2,
        &["packages.txt"],
    );
    assert!(!site.path("images").exists());
}

/// A recipe that no cached stage and no lock answers for, so that the mirror is asked.
fn recipe(site: &Site) -> std::path::PathBuf {
    let recipe = site.path("recipe");
    fs::create_dir(&recipe).unwrap();
    fs::write(recipe.join("packages.txt"), "hostname\n").unwrap();
    recipe
}

#[test]
fn a_missing_mirror_is_named_with_what_to_do() {
    require_tools!();
    let site = Site::new();
    let recipe = recipe(&site);
    // Nothing listens on the discard port of this machine.
    let mirror = "http://127.0.0.1:9/debian";
    refused(
        site.build("a")
            .args(["--mirror", mirror, "--recipe"])
            .arg(&recipe),
        1,
        &[mirror, "--mirror URL", "Connection refused"],
    );
    refused(
        site.build("a")
            .args(["--mirror", "x", "--recipe"])
            .arg(&recipe),
        2,
        &["\"x\""],
    );
}

#[test]
fn a_build_without_a_lock_is_refused_when_one_is_required() {
    require_tools!();
    let site = Site::new();
    let recipe = recipe(&site);
    let mut command = site.build("a");
    command.arg("--locked").arg("--recipe").arg(recipe);
    refused(&mut command, 2, &["packages.lock", "strake-image lock"]);
}

#[test]
fn a_full_disk_is_named_and_the_next_build_is_not_poisoned() {
    require_tools!();
    let small = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (site, directory) = (Site::new(), small.path().to_str().unwrap());
    let in_tmpfs = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-euc"]);
        command.arg(format!(
            "mount -t tmpfs -o size=48M none {directory}; {script}"
        ));
        command
    };
    if !in_tmpfs("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("SKIPPED: this user may not mount a tmpfs");
        return;
    }
    let build = |before: &str| {
        let original = site.build("a");
        let words: Vec<&str> = original
            .get_args()
            .map(|word| word.to_str().unwrap())
            .collect();
        let words = words[2..].join(" ");
        let program = crate::site::program();
        let shared = site.path("tools").parent().unwrap().to_owned();
        in_tmpfs(&format!(
            "cp -P {0}/tools {0}/packages {directory}; {before}; {1} --dir {directory} {words}",
            shared.display(),
            program.display()
        ))
    };
    refused(&mut build("true"), 1, &["MB free", "--dir"]);
    // With a cache from before, the build starts and runs into the end of the disk.
    let begun = format!("mkdir -p {directory}/cache/usr");
    refused(&mut build(&begun), 1, &["disk is full", "free some space"]);
    success(&mut in_tmpfs("true"));
    assert!(!Path::new(directory).join("cache").exists());
}

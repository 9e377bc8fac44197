//! The program without machines: exit codes and refusals.

use std::process::{Command, Output};

fn lab(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_strake-lab"))
        .args(arguments)
        .env("STRAKE_DIR", directory.path())
        .env_remove("RUST_BACKTRACE")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

#[track_caller]
fn check(arguments: &[&str], code: i32, expected: &str) {
    let output = lab(arguments);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(expected), "{arguments:?}: {said}");
}

#[test]
fn a_lab_that_is_not_there_is_nothing_to_do() {
    check(&["down"], 3, "there is no such lab");
    check(&["status"], 3, "`cargo lab up` makes some");
    check(&["status", "-o", "json"], 3, "[]");
}

#[test]
fn a_machine_that_is_not_there_is_named() {
    for arguments in [
        &["ssh", "2"],
        &["logs", "2"],
        &["kill", "2"],
        &["console", "2"],
    ] {
        check(arguments, 1, "there is no node2");
    }
    check(&["heal"], 1, "the lab's switch does not run");
}

#[test]
fn bad_input_is_told_apart_from_failure() {
    for (arguments, expected) in [
        (&["--name", "a/b", "status"][..], "letters, digits"),
        (&["partition", "1:1"], "machine 1 is on both sides"),
        (&["up", "--nodes", "x"], "invalid value 'x'"),
        (
            &["up", "--nodes", "40"],
            "machines is 40; it must be 1 to 32",
        ),
        (&["bench", "boot", "--runs", "2"], "3 runs or more"),
        (&["test", "--fast", "--full"], "cannot be used with"),
        (&["fly"], "unrecognized subcommand"),
    ] {
        check(arguments, 2, expected);
    }
}

#[test]
fn a_measured_command_is_waited_for_and_must_succeed() {
    let output = lab(&[
        "measure",
        "--",
        "sh",
        "-c",
        "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done",
    ]);
    let cost: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |key: &str| cost[key].as_f64().unwrap();
    assert!(
        figure("cpu_ms") > 1.0 && figure("wall_ms") >= figure("cpu_ms") / 2.0,
        "{cost}"
    );
    assert!((0.5..200.0).contains(&figure("peak_mb")), "{cost}");
    check(
        &["measure", "--", "false"],
        1,
        "false ended with exit status: 1",
    );
    check(
        &["measure", "--", "/no/such/program"],
        1,
        "running /no/such/program",
    );
}

#[test]
fn outside_a_checkout_the_error_says_so() {
    let elsewhere = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_strake-lab"))
        .arg("status")
        .current_dir(elsewhere.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("strake-lab: no Strake checkout at or above"),
        "{said}"
    );
}

//! Commands that are killed at every call that changes a file: the repository stays one that
//! machines believe, and the same command goes on.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workshop::{VERIFY, Workshop, files, small};

/// Compiles what kills; cargo needs a C linker on every machine that runs this.
fn fault(dir: &Path) -> PathBuf {
    let library = dir.join("fault.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/release/fault.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(compiled.unwrap().success());
    library
}

fn copy(from: &Workshop) -> Workshop {
    let to = Workshop::empty();
    for (path, content) in files(from.dir.path()) {
        let path = to.path(
            path.strip_prefix(from.dir.path())
                .unwrap()
                .to_str()
                .unwrap(),
        );
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        if path.extension().is_some_and(|extension| extension == "key") {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    to
}

/// Kills the command at its first step, at its second, and so on until it is through; the number
/// of kills is returned.
fn kill_everywhere(before: &Workshop, command: &str, check: impl Fn(&Workshop, &str)) -> u32 {
    let library = fault(before.dir.path());
    for step in 1.. {
        let workshop = copy(before);
        let mut run = workshop.command(command);
        run.env("LD_PRELOAD", &library)
            .env("FAULT_AT", step.to_string());
        let output = run.output().unwrap();
        if output.status.signal() != Some(9) {
            assert!(output.status.success(), "{command}: {output:?}");
            return step - 1;
        }
        let said = format!("{command}, killed at step {step}");
        check(&workshop, &said);
        let again = workshop.run(command);
        // It may have been through but for its last words.
        let text = String::from_utf8_lossy(&again.stderr).into_owned();
        let done = matches!(again.status.code(), Some(0 | 3)) || text.contains("already");
        assert!(done, "{said}, again: {again:?}");
        // Looking at everything again takes most of the time.
        if step % 4 == 0 {
            check(&workshop, &said);
        }
    }
    unreachable!("a command has an end")
}

fn verifies(workshop: &Workshop, said: &str) {
    let output = workshop.run(VERIFY);
    assert!(output.status.success(), "{said}: {output:?}");
}

#[test]
fn a_command_killed_at_any_step_leaves_a_repository_that_machines_believe() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "stable", "");
    workshop.ok("sign");
    workshop.write_release("1.1.0", &small(2));
    let mut kills = Vec::new();
    for command in [
        "add 1.1.0 --channel stable --level 3",
        "sign",
        "promote 1.1.0 stable alpha",
        "rotate timestamp",
        "rotate root",
        "rotate stable",
        "sign",
        "refresh",
        "hold 1.1.0 --channel stable",
        "gc --grace 0s",
    ] {
        kills.push((command, kill_everywhere(&workshop, command, verifies)));
        workshop.ok(command);
    }
    println!("killed at so many steps: {kills:?}");
    assert!(kills.iter().all(|(_, steps)| *steps >= 2), "{kills:?}");
}

#[test]
fn a_killed_init_is_done_again() {
    let workshop = Workshop::empty();
    let steps = kill_everywhere(&workshop, "init --channel stable", |workshop, said| {
        if workshop.repo().join("metadata/timestamp.json").exists() {
            verifies(workshop, said);
        }
    });
    assert!(steps > 20, "{steps} steps");
}

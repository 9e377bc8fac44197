//! Whole builds: the same inputs give the same bytes, what did not change is not made again, and
//! a killed build leaves nothing behind that matters.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::site::{Site, release, success, text};
use serde_json::Value;

const MB: u64 = 1_000_000;

fn sizes(release: &Value) -> BTreeMap<String, u64> {
    let artifacts = release["artifacts"].as_array().unwrap();
    let pair = |artifact: &Value| {
        let kind = artifact["kind"].as_str().unwrap().to_owned();
        (kind, artifact["size"].as_u64().unwrap())
    };
    artifacts.iter().map(pair).collect()
}

#[test]
fn two_builds_of_the_same_inputs_are_byte_identical() {
    require_tools!();
    let (one, other) = (Site::warm(), Site::new());
    let first = release(&mut one.build("agent"));
    let second = release(&mut other.build("agent"));
    assert_eq!(first, second, "sizes and digests of every artifact");
    let sizes = sizes(&first);
    assert_eq!(sizes.len(), 8);
    for (kind, limit) in [("disk-zst", 200), ("usr", 700), ("uki", 22)] {
        assert!(sizes[kind] < limit * MB, "{kind} has {} bytes", sizes[kind]);
    }

    // What is downloaded is the raw image.
    let out = one.path("images/latest");
    let file = |suffix: &str| {
        format!(
            "{}/strake_{}{suffix}",
            out.display(),
            env!("CARGO_PKG_VERSION")
        )
    };
    one.tool(
        "qemu-img",
        &["compare", "-q", &file(".raw"), &file(".qcow2")],
    );
    let raw = file(".raw");
    one.tool(
        "sh",
        &[
            "-euc",
            "zstd -dc \"$1\" | cmp - \"$2\"",
            "sh",
            &file(".raw.zst"),
            &raw,
        ],
    );
}

#[test]
fn a_changed_program_makes_only_what_it_is_in_again() {
    require_tools!();
    let site = Site::warm();
    let first = release(site.build("one").args(["--format", "raw"]));
    let output = success(site.build("two").args(["--format", "raw"]));
    let second: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(first["root_hash"], second["root_hash"]);
    let stages: BTreeMap<String, bool> = text(&output.stderr)
        .lines()
        .filter_map(|line| line.strip_prefix("stage "))
        .map(|line| {
            let name = line.split_whitespace().next().unwrap().to_owned();
            (name, line.ends_with("(cached)"))
        })
        .collect();
    for (stage, cached) in [
        ("packages", true),
        ("modules", true),
        ("accounts", true),
        ("initrd", true),
        ("filesystems", true),
        ("usr", false),
        ("boot", false),
    ] {
        assert_eq!(stages[stage], cached, "{stage}");
    }
}

#[test]
fn a_killed_build_does_not_poison_the_next() {
    require_tools!();
    let (site, untouched) = (Site::new(), Site::warm());
    for stage in ["packages", "initrd", "usr"] {
        let mut build = site.build("agent");
        build
            .args(["--format", "raw"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = build.spawn().unwrap();
        let directory = site.path("cache").join(stage);
        // The stage's directory appears as the stage begins; the end of the build is too late.
        while !directory.exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said: Vec<String> = lines.map_while(Result::ok).collect();
        assert!(
            !child.wait().unwrap().success(),
            "killed in {stage}: {said:?}"
        );
    }
    let after = release(site.build("agent").args(["--format", "raw"]));
    let expected = release(untouched.build("agent").args(["--format", "raw"]));
    assert_eq!(after, expected);
}

#[test]
fn packages_files_and_kernel_options_are_added_to_the_recipe() {
    require_tools!();
    let site = Site::new();
    let overlay = site.path("overlay");
    fs::create_dir_all(overlay.join("etc")).unwrap();
    fs::create_dir_all(overlay.join("usr/bin")).unwrap();
    fs::write(overlay.join("etc/overlaid"), "from the overlay\n").unwrap();
    fs::write(overlay.join("usr/bin/overlaid"), "x").unwrap();
    let root = site.path("root.json");
    fs::write(&root, r#"{"signed":{"_type":"root"}}"#).unwrap();
    let mut build = site.build("agent");
    build.args([
        "--format",
        "raw",
        "--version",
        "7.1",
        "--package",
        "netcat-openbsd",
    ]);
    build
        .arg("--overlay-dir")
        .arg(&overlay)
        .args(["--cmdline", "site.option=1"])
        .arg("--update-root")
        .arg(&root)
        .arg("--out")
        .arg(site.path("out"));
    let output = build.output().unwrap();
    if !output.status.success() && text(&output.stderr).contains("--mirror URL") {
        println!("SKIPPED: no mirror answers");
        return;
    }
    let release: Value = serde_json::from_slice(&success(&mut build).stdout).unwrap();
    assert_eq!(release["version"], "7.1");
    let usr = site.path("out/usr.erofs");
    let cat = |path: &str| {
        site.tool(
            "dump.erofs",
            &["--cat", &format!("--path={path}"), usr.to_str().unwrap()],
        )
    };
    assert_eq!(cat("/share/strake/etc/overlaid"), "from the overlay\n");
    assert_eq!(cat("/bin/overlaid"), "x");
    assert!(cat("/share/strake/update/root.json").contains("\"root\""));
    assert!(cat("/lib/os-release").contains("VERSION_ID=7.1"));
    assert!(cat("/share/strake/packages.json").contains("\"netcat-openbsd\""));
    assert_eq!(cat("/bin/strake"), "agent");
    let uki = fs::read(site.path("out/strake_7.1.efi")).unwrap();
    let option = b" site.option=1";
    assert!(uki.windows(option.len()).any(|window| window == option));

    let out = site.path("no-disk");
    let mut build = site.build("agent");
    build.args([
        "--no-disk",
        "--version",
        "7.1",
        "--package",
        "netcat-openbsd",
    ]);
    build.arg("--overlay").arg(&overlay).arg("--out").arg(&out);
    let artifacts = self::release(&mut build)["artifacts"].clone();
    let kinds = artifacts
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap());
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        ["packages", "sbom", "uki", "usr", "usr-verity"]
    );
    assert!(!out.join("strake_7.1.raw").exists());
}

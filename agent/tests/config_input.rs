//! Bad input: a list of problems, exit code 2, and nothing applied by halves.

mod machine;

use std::process::Command;

use machine::{Machine, golden, is_root, run};

/// Name, text, and what the first problem has to say.
fn bad_inputs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let text = |text: &str| format!("#cloud-config\nhostname: half\n{text}\n").into_bytes();
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_string();
    for (name, of) in "bcdefghi".chars().zip("abcdefgh".chars()) {
        let list = vec![format!("*{of}"); 10].join(",");
        bomb += &format!("{name}: &{name} [{list}]\n");
    }
    let unit = "{name: a.service, content: \"[Service]\\nExecStart=/a\"}";
    let huge = format!(
        "write_files: [{{path: /etc/a, content: \"{}\"}}]",
        "a".repeat(17 << 20)
    );
    vec![
        (
            "wrong type",
            text("users: {a: b}"),
            "incorrect type for \"users\"",
        ),
        (
            "undecodable content",
            text("write_files: [{path: /etc/a, encoding: base64, content: '%%%'}]"),
            "cannot be decoded",
        ),
        (
            "path under /usr",
            text("write_files: [{path: /usr/a, content: x}]"),
            "read-only",
        ),
        (
            "duplicate units",
            text(&format!("coreos: {{units: [{unit}, {unit}]}}")),
            "twice",
        ),
        ("alias bomb", text(&bomb), "more than"),
        ("more than the limit", text(&huge), "MiB"),
        (
            "invalid UTF-8",
            [text("").as_slice(), b"timezone: \xff\n"].concat(),
            "not valid UTF-8",
        ),
        ("broken YAML", text("users: [\n"), "not valid YAML"),
        ("no kind", b"hostname: half\n".to_vec(), "#cloud-config"),
    ]
}

#[test]
fn bad_input_is_a_list_of_problems_and_nothing_is_touched() {
    for (name, text, expected) in bad_inputs() {
        let machine = Machine::new();
        machine.put("input.yaml", &text);
        let file = machine.path("input.yaml").display().to_string();
        let before = machine.snapshot();
        let applied = machine.strake(&["config", "apply", &file]);
        assert_eq!(applied.code, 2, "{name}: {}", applied.err);
        assert!(applied.err.contains(expected), "{name}: {}", applied.err);
        assert!(
            machine.snapshot() == before,
            "{name}: something was touched"
        );
        let validated =
            run(Command::new(env!("CARGO_BIN_EXE_strake")).args(["config", "validate", &file]));
        assert_eq!(validated.code, 2, "{name}");
        assert!(
            validated.out.contains(expected),
            "{name}: {}",
            validated.out
        );
    }
}

#[test]
fn what_the_machine_cannot_take_is_found_before_anything_is_written() {
    let file = |path: &str, more: &str| format!("{{path: {path}, content: x{more}}}");
    let cases = [
        (file("/etc/passwd/below", ""), "/etc/passwd is a file"),
        (
            file("/etc/a", "}, {path: /etc/a/b, content: y"),
            "/etc/a is a file",
        ),
        (file("/etc/ssh", ""), "it is a directory"),
        (
            file("/etc/b", ", owner: 'who:root'"),
            "the user who does not exist",
        ),
        (
            file("/etc/b", ", owner: 'root:who'"),
            "the group who does not exist",
        ),
    ];
    for (files, expected) in cases {
        let machine = Machine::new();
        machine.put("etc/ssh/sshd_config", "");
        let text = format!("#cloud-config\nhostname: half\nwrite_files: [{files}]\n");
        machine.put("input.yaml", &text);
        let before = machine.snapshot();
        let path = machine.path("input.yaml").display().to_string();
        let applied = machine.strake(&["config", "apply", &path]);
        assert_eq!(applied.code, 2, "{text}: {}", applied.err);
        assert!(applied.err.contains(expected), "{text}: {}", applied.err);
        assert!(
            machine.snapshot() == before,
            "{text}: something was touched"
        );
    }
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config("#cloud-config\nhostname: x\n");
    let before = machine.snapshot();
    let run = machine.strake(&[
        "config",
        "apply",
        "--before-boot",
        "--dry-run",
        "-o",
        "json",
    ]);
    assert_eq!(run.code, 0, "{}", run.err);
    let rows: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(
        rows,
        serde_json::json!([{"path": "/etc/hostname", "difference": "missing"}])
    );
    assert!(machine.snapshot() == before);
}

#[test]
fn drift_is_shown_until_it_is_mended() {
    if !is_root() {
        return;
    }
    let machine = Machine::with_config("#cloud-config\nhostname: x\n");
    machine.boot();
    assert_eq!(machine.strake(&["config", "diff"]).code, 0);
    machine.put("etc/hostname", "other\n");
    let run = machine.strake(&["config", "diff"]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (1, "content  /etc/hostname\n")
    );
    let shown = machine.strake(&["config", "show"]);
    assert!(
        shown.out.starts_with("source   /config/user_data\n"),
        "{}",
        shown.out
    );
    machine.boot();
    assert_eq!(machine.strake(&["config", "diff"]).code, 0);
}

const PROBLEMS: &str =
    "#cloud-config\nhostnam: a\nwrite_files:\n  - path: /usr/a\n    content: x\n";

#[test]
fn problems_are_printed_for_people_programs_and_editors() {
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::write(dir.path().join("user.yaml"), PROBLEMS).expect("file");
    let strake = |format: &str| {
        let args = ["config", "validate", "user.yaml", "-o", format];
        run(Command::new(env!("CARGO_BIN_EXE_strake"))
            .args(args)
            .current_dir(dir.path()))
    };
    for (format, file) in [
        ("table", "problems.txt"),
        ("json", "problems.json"),
        ("yaml", "problems.yaml"),
        ("sarif", "problems.sarif"),
    ] {
        let run = strake(format);
        assert_eq!(run.code, 2, "{format}");
        golden(file, &run.out);
    }
}

#[test]
fn standard_input_is_read_and_a_missing_file_is_bad_input() {
    use std::process::Stdio;
    let strake = || Command::new(env!("CARGO_BIN_EXE_strake"));
    let missing = run(strake().args(["config", "validate", "/nonexistent"]));
    assert_eq!(missing.code, 2);
    assert!(
        missing
            .err
            .starts_with("strake: error: reading /nonexistent"),
        "{}",
        missing.err
    );
    let empty = run(strake().args(["config", "plan", "-"]).stdin(Stdio::null()));
    assert_eq!(empty.code, 0, "{}", empty.err);
    let usage = run(strake().args(["config", "apply"]));
    assert_eq!(usage.code, 2, "one of three ways has to be chosen");
}

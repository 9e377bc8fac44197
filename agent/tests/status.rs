//! `strake status` and `strake health status` on trees of a machine's files.

mod machine;

use machine::{Machine, golden};

const GUID: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

fn variable(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    [6, 0, 0, 0].into_iter().chain(units).collect()
}

/// A machine that booted a release for the first time, with a config that has a problem.
fn trying() -> Machine {
    let machine = Machine::new();
    let variables = "sys/firmware/efi/efivars";
    let path = variable("\\EFI\\Linux\\strake_1.2.3+2-1.efi");
    machine.put(&format!("{variables}/LoaderBootCountPath-{GUID}"), path);
    let selected = variable("strake_1.2.3.efi");
    machine.put(&format!("{variables}/LoaderEntrySelected-{GUID}"), selected);
    machine.put("efi/EFI/Linux/strake_1.2.3+2-1.efi", "");
    machine.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    machine.put("proc/sys/kernel/hostname", "node-1\n");
    machine.put("proc/uptime", "3723.45 7000.00\n");
    let init = r#"{"version":"1.2.3","root_hash":"9f86d081884c7d65","slot":"A","steps":[
        {"name":"modules","start_us":900400,"end_us":1100000},
        {"name":"verity","start_us":1100000,"end_us":1534600}]}"#;
    machine.put("run/strake/init.json", init);
    let config = r#"{"source":"last good config","outcome":"last-good",
        "digest":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "problems":[{"source":"/config/user_data","line":2,"column":11,"level":"error",
        "message":"incorrect type for \"hostname\" (want string)","hint":"write one value"}]}"#;
    machine.put("run/strake/config.json", config);
    let health = r#"{"state":"unhealthy","reason":"docker.service: failed"}"#;
    machine.put("run/strake/health.json", health);
    machine
}

#[test]
fn a_machine_tells_all_that_its_files_say() {
    let machine = trying();
    for (format, file) in [
        ("table", "status.txt"),
        ("json", "status.json"),
        ("yaml", "status.yaml"),
    ] {
        let run = machine.strake(&["status", "-o", format]);
        assert_eq!(run.code, 0, "{}", run.err);
        golden(file, &run.out);
    }
}

#[test]
fn a_blessed_entry_has_no_tries() {
    let machine = trying();
    let linux = machine.path("efi/EFI/Linux");
    let counted = linux.join("strake_1.2.3+2-1.efi");
    std::fs::rename(counted, linux.join("strake_1.2.3.efi")).expect("blessed");
    let run = machine.strake(&["status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    let expected = serde_json::json!({
        "file": "strake_1.2.3.efi", "state": "blessed", "tries_left": null, "tries_done": null
    });
    assert_eq!(status["entry"], expected);
}

#[test]
fn an_empty_tree_is_a_status_with_notes() {
    let machine = Machine::new();
    let run = machine.strake(&["status"]);
    assert_eq!(run.code, 0, "{}", run.err);
    golden("status-empty.txt", &run.out);
}

#[test]
fn health_status_exits_1_unless_healthy() {
    let machine = trying();
    let run = machine.strake(&["health", "status"]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (1, "unhealthy: docker.service: failed\n")
    );
    machine.put(
        "run/strake/health.json",
        r#"{"state":"healthy","reason":null}"#,
    );
    let run = machine.strake(&["health", "status", "-o", "json"]);
    assert_eq!(run.code, 0);
    assert!(run.out.contains("\"state\": \"healthy\""), "{}", run.out);
}

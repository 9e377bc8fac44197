//! Parts of a config that lie in the network themselves: files with a source, keys to import.

mod cloud;
mod machine;
mod web;

use std::sync::{Arc, Mutex};

use cloud::{Cloud, Network};
use machine::{Machine, is_root};
use strake_agent::fetch::Pin;
use web::{Reply, Web};

#[test]
fn files_and_keys_are_fetched_in_the_network_phase() {
    if !is_root() {
        return;
    }
    let keys = r#"[{"key": "ssh-ed25519 AAAA imported"}]"#;
    let files = [("/tool", "tool"), ("/keys", keys), ("/other", "other")];
    let cloud = Cloud::new("", &files);
    let (tool, imported, other) = (
        cloud.web.url("tool"),
        cloud.web.url("keys"),
        cloud.web.url("other"),
    );
    let (good, wrong) = (Pin::of(b"tool"), Pin::of(b"else"));
    let config = format!(
        "#cloud-config\nusers: [{{name: core, coreos_ssh_import_url: '{imported}'}}]\n\
         write_files:\n\
         - {{path: /etc/tool, permissions: '0755', source: {{url: '{tool}', sha256: {good}}}}}\n\
         - {{path: /etc/other, source: {{url: '{other}', sha256: {wrong}}}}}\n\
         - {{path: /etc/plain, content: plain}}\n"
    );
    cloud.says(Reply::text(&config));
    let machine = cloud.booted();
    let run = machine.network();
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(
        (machine.read("etc/tool"), machine.mode("etc/tool")),
        ("tool".into(), 0o755)
    );
    assert_eq!(machine.read("etc/plain"), "plain");
    assert!(!machine.path("etc/other").exists(), "another digest");
    let keys = machine.read("etc/ssh/authorized_keys.d/core");
    assert_eq!(keys, "ssh-ed25519 AAAA cloud\nssh-ed25519 AAAA imported\n");
    let problems = machine.problems();
    let told = problems
        .iter()
        .find(|text| text.contains("/etc/other: fetching"));
    assert!(told.expect("told").contains("its SHA-256 digest is"));

    assert_eq!(machine.network().code, 3);
    let asked = cloud.web.lines();
    let times = asked.iter().filter(|line| *line == "GET /tool").count();
    assert_eq!(times, 1, "the file on disk has the right digest");
}

#[test]
fn keys_that_cannot_be_fetched_are_those_of_the_last_time() {
    if !is_root() {
        return;
    }
    let served = Arc::new(Mutex::new(Reply::text(r#"[{"key": "ssh-rsa AAAA b"}]"#)));
    let answers = Arc::clone(&served);
    let web = Web::new(move |_| answers.lock().expect("not poisoned").clone());
    let url = web.url("keys");
    let config =
        format!("#cloud-config\nusers: [{{name: core, coreos_ssh_import_url: '{url}'}}]\n");
    let machine = Machine::with_config(&config);
    machine.boot();
    assert_eq!(machine.network().code, 0);
    for reply in [Reply::Status(404), Reply::Status(500), Reply::Page] {
        *served.lock().expect("not poisoned") = reply;
        machine.restart();
        machine.hasty_network();
        let keys = machine.read("etc/ssh/authorized_keys.d/core");
        assert_eq!(keys, "ssh-rsa AAAA b\n");
        let problems = machine.problems();
        let told = problems.iter().any(|text| text.contains("keys of core: "));
        assert!(told, "{problems:?}");
    }
}

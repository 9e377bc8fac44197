//! What one config wrote and the next does not have: it goes when the next is applied, not only
//! with the next boot.

mod machine;

use machine::{Machine, is_root};

const FIRST: &str = r##"#cloud-config
users: [{name: anna, groups: [sudo], ssh_authorized_keys: [ssh-ed25519 AAAA a]}]
write_files:
  - {path: /etc/stays, content: one}
  - {path: /etc/goes, content: two}
  - {path: /etc/motd, content: "more\n", append: true}
  - {path: /etc/issue, content: mine}
  - {path: /var/lib/app/untouched, content: three}
  - {path: /var/lib/app/grown, content: four}
sysctl: {vm.swappiness: 10}
coreos:
  update: {group: beta}
  units:
    - {name: docker.service, enable: true, drop_ins: [{name: x.conf, content: "[Service]\nNice=1\n"}]}
    - {name: app.service, command: start, content: "[Service]\nExecStart=/opt/app\n"}
"##;

const SECOND: &str = r##"#cloud-config
write_files:
  - {path: /etc/stays, content: one}
  - {path: /etc/motd, content: "other\n", append: true}
coreos:
  update: {server: "https://updates.example.com"}
"##;

const GONE: [&str; 10] = [
    "etc/goes",
    "etc/ssh/authorized_keys.d/anna",
    "etc/sysctl.d/20-cloudinit.conf",
    "etc/systemd/system/app.service",
    "etc/systemd/system/docker.service.d/x.conf",
    "etc/systemd/system/multi-user.target.wants/docker.service",
    "etc/tmpfiles.d/strake-users.conf",
    "run/systemd/system/multi-user.target.wants/app.service",
    "var/lib/app/untouched",
    "var/home/anna/none",
];

/// Booted with the first config, the image's own `/etc` below.
fn machine() -> Machine {
    let machine = Machine::with_config(FIRST);
    for (path, text) in [("motd", "image\n"), ("issue", "image\n")] {
        machine.put(&format!("usr/share/strake/etc/{path}"), text);
        machine.put(&format!("etc/{path}"), text);
    }
    let run = machine.boot();
    assert_eq!(run.code, 0, "{}", run.err);
    let run = machine.strake(&["config", "apply", "--after-var"]);
    assert_eq!(run.code, 0, "{}", run.err);
    machine
}

#[test]
fn what_the_new_config_does_not_have_goes_and_the_rest_is_not_touched() {
    if !is_root() {
        return;
    }
    let machine = machine();
    assert_eq!(machine.read("etc/motd"), "image\nmore\n");
    machine.put("var/lib/app/grown", "somebody's data");
    machine.put("second.yaml", SECOND);
    let file = machine.path("second.yaml");
    let file = file.to_str().expect("UTF-8");

    let dry = machine.strake(&["config", "apply", file, "--dry-run"]);
    assert!(dry.out.contains("unwanted  /etc/goes\n"), "{}", dry.out);
    assert!(machine.path("etc/goes").exists(), "nothing is done yet");

    let run = machine.strake(&["config", "apply", file]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.out, dry.out, "the dry run said so");
    for path in GONE {
        let there = std::fs::symlink_metadata(machine.path(path)).is_ok();
        assert!(!there, "{path}");
    }
    assert_eq!(machine.read("etc/stays"), "one");
    assert!(!run.out.contains("/etc/stays"), "{}", run.out);
    assert_eq!(machine.read("etc/motd"), "image\nother\n", "not both");
    assert_eq!(machine.read("etc/issue"), "image\n", "the image's is back");
    assert_eq!(machine.read("var/lib/app/grown"), "somebody's data");
    assert_eq!(
        machine.read("etc/coreos/update.conf"),
        "SERVER=https://updates.example.com\n"
    );
    for table in ["passwd", "shadow", "group", "gshadow"] {
        let text = machine.read(&format!("etc/{table}"));
        assert!(!text.contains("anna"), "{table}: {text}");
        assert!(text.contains("core"), "{table}: {text}");
    }

    let again = machine.strake(&["config", "apply", file]);
    assert_eq!((again.code, again.out.as_str()), (3, ""), "{}", again.err);
}

#[test]
fn what_an_applied_file_added_shows_as_drift_from_the_config_in_force() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let diff = || machine.strake(&["config", "diff"]);
    assert_eq!((diff().code, diff().out), (0, String::new()));
    let more = FIRST.replace("/etc/goes", "/etc/added");
    machine.put("more.yaml", more);
    let file = machine.path("more.yaml");
    let run = machine.strake(&["config", "apply", file.to_str().expect("UTF-8")]);
    assert_eq!(
        run.out, "missing   /etc/added\nunwanted  /etc/goes\n",
        "{}",
        run.err
    );
    let expected = "unwanted  /etc/added\nmissing   /etc/goes\n";
    assert_eq!((diff().code, diff().out.as_str()), (1, expected));
}

#[test]
fn a_user_comes_back_with_the_same_number() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let apply = |text: &str| {
        machine.put("other.yaml", text);
        let file = machine.path("other.yaml");
        machine.strake(&["config", "apply", file.to_str().expect("UTF-8")])
    };
    let before = machine.read("etc/passwd");
    assert_eq!(apply(SECOND).code, 0);
    assert!(!machine.read("etc/passwd").contains("anna"));
    let others = FIRST.replace("users: [", "users: [{name: bert}, ");
    assert_eq!(apply(&others).code, 0);
    let anna = before.lines().find(|line| line.starts_with("anna:"));
    let after = machine.read("etc/passwd");
    assert!(after.contains(anna.expect("made")), "{after}");
}

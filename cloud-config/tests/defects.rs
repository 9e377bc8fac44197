//! What coreos-cloudinit got wrong, each once: not here.

use strake_cloud_config::plan::{Body, FileSpec, UpdateConf};
use strake_cloud_config::{Address, Addresses, Checked, Context, Plan, Rule, check, plan};

fn checked(text: &str) -> Checked {
    check(
        format!("#cloud-config\n{text}\n").as_bytes(),
        &Context::default(),
    )
}

#[track_caller]
fn planned_with(text: &str, context: &Context) -> Plan {
    let checked = check(format!("#cloud-config\n{text}\n").as_bytes(), context);
    let config = checked
        .config
        .unwrap_or_else(|| panic!("{:?}", checked.problems));
    plan(&config, context)
}

#[track_caller]
fn planned(text: &str) -> Plan {
    planned_with(text, &Context::default())
}

fn file<'p>(plan: &'p Plan, path: &str) -> &'p FileSpec {
    let found = plan.files.iter().rfind(|file| file.path == path);
    found.unwrap_or_else(|| panic!("{path} is not in the plan"))
}

fn content<'p>(plan: &'p Plan, path: &str) -> &'p str {
    match &file(plan, path).body {
        Body::Content(bytes) => std::str::from_utf8(bytes).expect("UTF-8"),
        body => panic!("{path}: {body:?}"),
    }
}

/// The error and its place.
#[track_caller]
fn refused(text: &str, line: u32, column: u32, words: &str) {
    let checked = checked(text);
    let found = checked.problems.iter().any(|problem| {
        problem.is_error()
            && (problem.line, problem.column) == (line, column)
            && problem.message.contains(words)
    });
    assert!(
        found && checked.config.is_none(),
        "{text}: {:#?}",
        checked.problems
    );
}

#[test]
fn a_list_or_nothing_under_a_key_with_a_pattern_is_a_problem_and_no_crash() {
    refused(
        "coreos: {update: {reboot-strategy: [off]}}",
        2,
        36,
        "incorrect type",
    );
    refused(
        "coreos: {units: [{name: a.service, command: [start]}]}",
        2,
        45,
        "incorrect type",
    );
    for nothing in [
        "update: {reboot_strategy: }",
        "units: [{name: a.service, command: ~}]",
    ] {
        let checked = checked(&format!("coreos: {{{nothing}}}"));
        assert!(
            !checked.has_errors() && !checked.problems.is_empty(),
            "{nothing}"
        );
    }
}

#[test]
fn packed_content_that_is_damaged_is_refused() {
    // "hello\n" packed; cut short; with another checksum.
    let whole = "H4sIAAAAAAAAA8tIzcnJ5wIAIDA6NgYAAAA=";
    let cut = "H4sIAAAAAAAAA8tIzcnJ5wIA";
    let other = "H4sIAAAAAAAAA8tIzcnJ5wIAIDA6NwYAAAA=";
    let entry = |content: &str| {
        format!("write_files: [{{path: /etc/a, encoding: gz+b64, content: \"{content}\"}}]")
    };
    assert_eq!(content(&planned(&entry(whole)), "/etc/a"), "hello\n");
    for damaged in [cut, other] {
        refused(
            &entry(damaged),
            2,
            57,
            "content cannot be decoded as \"gz+b64\"",
        );
    }
}

#[test]
fn packed_user_data_that_is_cut_short_is_refused_as_a_whole() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    let text = format!("#cloud-config\nhostname: a\n{}", "# x\n".repeat(1000));
    encoder.write_all(text.as_bytes()).expect("a vector");
    let packed = encoder.finish().expect("a vector");
    assert!(check(&packed, &Context::default()).config.is_some());
    let checked = check(&packed[..packed.len() - 40], &Context::default());
    assert!(checked.config.is_none());
    assert_eq!(checked.problems[0].rule, Rule::Undecodable);
}

#[test]
fn setuid_setgid_and_sticky_are_kept() {
    for (text, mode) in [("4755", 0o4755), ("\"02755\"", 0o2755), ("1777", 0o1777)] {
        let plan = planned(&format!(
            "write_files: [{{path: /etc/a, permissions: {text}}}]"
        ));
        assert_eq!(file(&plan, "/etc/a").mode, mode, "{text}");
    }
}

#[test]
fn values_in_environment_lines_are_escaped() {
    let plan = planned(r#"coreos: {fleet: {metadata: 'a="b",c=\d,e=100%'}}"#);
    let path = "/run/systemd/system/strake-scheduler.service.d/20-cloudinit.conf";
    let expected = "[Service]\nEnvironment=\"FLEET_METADATA=a=\\\"b\\\",c=\\\\d,e=100%%\"\n";
    assert_eq!(content(&plan, path), expected);
    refused("coreos: {fleet: {metadata: \"a\\nb\"}}", 2, 28, "");
}

#[test]
fn a_fraction_for_a_whole_number_is_refused() {
    refused("coreos: {fleet: {token_limit: 1.5}}", 2, 31, "want int");
}

#[test]
fn only_what_is_below_usr_is_read_only() {
    assert_eq!(
        content(
            &planned("write_files: [{path: /usrlocal/x, content: y}]"),
            "/usrlocal/x"
        ),
        "y"
    );
    refused("write_files: [{path: usr/bin/x}]", 2, 22, "read-only");
    refused("write_files: [{path: //usr/bin/x}]", 2, 22, "read-only");
}

#[test]
fn a_window_without_a_length_that_makes_sense_is_refused() {
    for length in ["-1h", "soon", "1", "0s", "1h-5m"] {
        let text = format!("coreos: {{locksmith: {{window_length: \"{length}\"}}}}");
        refused(&text, 2, 37, "invalid value");
    }
}

#[test]
fn problems_are_at_the_line_they_are_in() {
    // The key's name stands higher up too, in quotes, and in a flow mapping.
    let text = "write_files:\n  - path: /etc/x\n    content: hostname\n\"hostname\": [x]";
    refused(text, 5, 13, "incorrect type");
    refused(
        "coreos: {units: [],\n  update: {group: [x]}}",
        3,
        19,
        "incorrect type",
    );
    refused("a: b\n\nc: [d\ne: f\n", 5, 2, "");
}

#[test]
fn documents_of_another_shape_are_refused() {
    refused("- a\n- b", 2, 1, "");
    refused("text", 2, 1, "");
    refused("hostname: a\n---\nhostname: b", 3, 1, "");
    refused("hostname: a\nhostname: b", 3, 1, "twice");
}

#[test]
fn update_conf_of_write_files_stays_below_the_settings() {
    let plan = planned(
        "write_files: [{path: /etc/coreos/update.conf, content: \"# mine\\nGROUP=old\\nX=y\\n\"}]\n\
         coreos: {update: {group: beta}}",
    );
    let mut text = String::new();
    for file in plan
        .files
        .iter()
        .filter(|file| file.path == "/etc/coreos/update.conf")
    {
        text = match &file.body {
            Body::Content(bytes) => String::from_utf8(bytes.clone()).expect("UTF-8"),
            Body::UpdateConf(update) => UpdateConf::merge(update, &text),
            body => panic!("{body:?}"),
        };
    }
    assert_eq!(text, "# mine\nGROUP=beta\nX=y\n");
}

#[test]
fn update_conf_is_matched_by_whole_names() {
    let plan = planned("coreos: {update: {group: beta, server: \"https://u.example.com\"}}");
    let Body::UpdateConf(update) = &file(&plan, "/etc/coreos/update.conf").body else {
        panic!("merged");
    };
    assert_eq!(
        update.merge("GROUPX=a\nGROUP=b\n"),
        "GROUPX=a\nGROUP=beta\nSERVER=https://u.example.com\n"
    );
}

#[test]
fn names_that_leave_the_directory_of_units_are_refused() {
    refused(
        "coreos: {units: [{name: ../../x.service, content: a}]}",
        2,
        25,
        "invalid value",
    );
    let text = "coreos: {units: [{name: a.service, drop_ins: [{name: ../x.conf, content: a}]}]}";
    refused(text, 2, 54, "invalid value");
}

#[test]
fn yaml_that_is_valid_is_taken() {
    let plan = planned("write_files: [{path: /etc/a, content: http://x:80/y}]");
    assert_eq!(content(&plan, "/etc/a"), "http://x:80/y");
    let plan =
        planned("write_files:\n  - path: /etc/a\n    content: |\n      \tfirst\n      second\n");
    assert_eq!(content(&plan, "/etc/a"), "\tfirst\nsecond\n");
}

#[test]
fn a_variable_right_behind_another_is_replaced_and_a_longer_word_is_not() {
    let context = Context {
        addresses: Addresses {
            private_ipv4: Address::Known([10, 0, 0, 7].into()),
            ..Addresses::default()
        },
        hostname: None,
    };
    let text = "write_files: [{path: /etc/a, content: '$private_ipv4$private_ipv4 $private_ipv45 \\$private_ipv4'}]";
    let plan = planned_with(text, &context);
    assert_eq!(
        content(&plan, "/etc/a"),
        "10.0.0.710.0.0.7 $private_ipv45 $private_ipv4"
    );
}

#[test]
fn keys_of_core_and_keys_at_the_top_are_one_set() {
    let text = "ssh_authorized_keys: [ssh-rsa AAAA top]\n\
                users: [{name: core, ssh_authorized_keys: [ssh-rsa AAAA own]}]";
    let plan = planned(text);
    let core = plan
        .users
        .iter()
        .find(|user| user.name == "core")
        .expect("core");
    assert_eq!(
        core.ssh_authorized_keys,
        ["ssh-rsa AAAA top", "ssh-rsa AAAA own"]
    );
}

#[test]
fn a_comment_on_a_user_gets_no_quotes() {
    let plan = planned("users: [{name: ops, gecos: Olga Ops}]");
    assert_eq!(plan.users[0].gecos.as_deref(), Some("Olga Ops"));
}

#[test]
fn a_wrong_type_is_one_problem_and_not_the_end_of_checking() {
    let checked = checked("users: 1\nhostname: [a]\nwrite_files: [{path: /usr/x}]");
    assert_eq!(checked.problems.len(), 3, "{:?}", checked.problems);
    let again = self::checked("users: 1\nhostname: [a]\nwrite_files: [{path: /usr/x}]");
    assert_eq!(
        checked.problems, again.problems,
        "in the same order each time"
    );
}

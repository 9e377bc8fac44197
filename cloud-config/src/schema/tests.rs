use super::*;

#[test]
fn the_nearest_name_is_offered_and_a_far_one_is_not() {
    let names = ["write_files", "hostname", "users"];
    for (written, expected) in [
        ("write-file", Some("write_files")),
        ("hostnmae", Some("hostname")),
        ("Users", Some("users")),
        ("xyzzy", None),
    ] {
        assert_eq!(nearest(written, names), expected, "{written}");
    }
}

#[test]
fn hyphen_and_underscore_are_the_same_in_a_name() {
    assert!(same_name("a_b_c", "a-b_c"));
    assert!(!same_name("a_b", "a.b"));
    assert!(!same_name("ab", "a_b"));
}

#[test]
fn modes_are_octal_with_all_twelve_bits() {
    for (text, expected) in [
        ("0644", Some(0o644)),
        ("644", Some(0o644)),
        ("4755", Some(0o4755)),
        ("01777", Some(0o1777)),
        ("0o600", Some(0o600)),
        ("0888", None),
        ("64", None),
        ("006440", None),
        ("rw-r--r--", None),
    ] {
        assert_eq!(format::mode(text), expected, "{text}");
    }
}

#[test]
fn durations_are_read_as_go_reads_them() {
    for (text, millis) in [
        ("30s", Some(30_000)),
        ("1h30m", Some(5_400_000)),
        ("1.5m", Some(90_000)),
        ("250ms", Some(250)),
        ("", None),
        ("5", None),
        ("-5s", None),
        ("1y", None),
        ("1..5s", None),
        ("99999999999h", None),
    ] {
        assert_eq!(
            duration(text).map(|duration| duration.as_millis()),
            millis,
            "{text}"
        );
    }
}

#[test]
fn sizes_are_powers_of_1024() {
    for (text, bytes) in [
        ("1G", Some(1 << 30)),
        ("512 MiB", Some(512 << 20)),
        ("2048", Some(2048)),
        ("1X", None),
        ("99999999999T", None),
    ] {
        assert_eq!(size(text), bytes, "{text}");
    }
}

#[track_caller]
fn takes(format: &Format, good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(
            (format.check)(text).is_ok(),
            "{} takes {text:?}",
            format.name
        );
    }
    for text in bad {
        assert!(
            (format.check)(text).is_err(),
            "{} refuses {text:?}",
            format.name
        );
    }
}

#[test]
fn each_format_takes_the_good_and_refuses_the_bad() {
    takes(
        &format::WINDOW_START,
        &["04:00", "Thu 4:00", "friday 23:59"],
        &["24:00", "Thursdy 1:00", "4", "a b 1:00", "+4:00"],
    );
    takes(
        &format::HOSTNAME,
        &["a", "node-1.example.com"],
        &["a b", "-a", "a_b c", "a..b"],
    );
    takes(
        &format::USER_NAME,
        &["ops", "_x", "a-b"],
        &["Ops", "1a", "a/b", "../x", "a:b", "a.b.c d"],
    );
    takes(
        &format::WRITABLE_PATH,
        &["/etc/x", "/usrlocal/x", "/opt/bin/y"],
        &[
            "/usr/bin/x",
            "usr/bin/x",
            "//usr/x",
            "/./usr/x",
            "etc/x",
            "/etc/../usr/x",
            "/bin/sh",
            "/etc/x/",
            "/proc/x",
        ],
    );
    takes(
        &format::UNIT,
        &["a.service", "b@c.timer", "x.network"],
        &["a", "../a.service", "a/b.service", "a.foo"],
    );
    takes(
        &format::DROP_IN_NAME,
        &["10-a.conf"],
        &["../a.conf", "a", ".conf", "a/b.conf"],
    );
    takes(
        &format::OWNER,
        &["root", "core:core", "0:0", "500:"],
        &["", ":", "a b", "a:b:c"],
    );
    takes(
        &format::URL,
        &["https://h/p", "http://10.0.0.1:80"],
        &["h", "ftp://h", "https://", "https://a b"],
    );
    takes(
        &format::ADDRESS_SOURCE,
        &["eth0", "10.0.0.0/8", "fd00::/8"],
        &["10.0.0.0/33", "x/y", "a-very-long-interface-name"],
    );
    takes(
        &format::TIMEZONE,
        &["UTC", "Europe/Berlin", "Etc/GMT+1"],
        &["../x", "/etc/x", "a//b", ""],
    );
    takes(
        &format::REGISTRY,
        &["docker.io", "r:5000", "[::1]:5000"],
        &["http://r", "r:0", "r:70000", "a/b"],
    );
    takes(
        &format::SSH_KEY,
        &["ssh-ed25519 AAAA x", "from=\"x\" ssh-rsa AAAA"],
        &["AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----"],
    );
    takes(
        &format::SYSCTL,
        &["net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/forwarding"],
        &["x", "a b.c", "a..b"],
    );
}

/// Every table, with the path that leads to it.
fn tables() -> Vec<&'static Table> {
    fn add(table: &'static Table, tables: &mut Vec<&'static Table>) {
        tables.push(table);
        for key in table.keys {
            match &key.kind {
                Kind::Map(inner) | Kind::List(Kind::Map(inner)) => add(inner, tables),
                _ => {}
            }
        }
    }
    let mut tables = Vec::new();
    add(&ROOT, &mut tables);
    tables
}

#[test]
fn every_key_is_named_once_in_its_table_and_has_a_doc_and_an_example() {
    for table in tables() {
        for key in table.keys {
            let named = table
                .keys
                .iter()
                .filter(|other| other.name == key.name)
                .count();
            assert_eq!(named, 1, "{} {}", table.name, key.name);
            assert!(key.doc.ends_with('.'), "{} {}", table.name, key.name);
            assert!(!key.example.is_empty(), "{} {}", table.name, key.name);
            assert!(!key.name.contains('-'), "{} {}", table.name, key.name);
        }
    }
}

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
        &format::POLL_INTERVAL,
        &["1m", "24h", "1.5h"],
        &["59s", "24h1s", "0s", "2"],
    );
    takes(
        &format::WINDOW_LENGTH,
        &["1m", "168h"],
        &["30s", "169h", "-1h"],
    );
    takes(&format::RATE, &["16K", "2 MiB", "20000"], &["15K", "fast"]);
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

/// A document that gives one key, and all that its entry cannot do without.
fn document(path: &[&'static Key], leaf: Option<&'static Key>, table: &'static Table) -> String {
    let mut fields: Vec<String> = table
        .keys
        .iter()
        .filter(|key| key.required && leaf.is_none_or(|leaf| leaf.name != key.name))
        .map(|key| format!("{}: {}", key.name, key.example))
        .collect();
    fields.extend(leaf.map(|key| format!("{}: {}", key.name, key.example)));
    let mut text = format!("{{{}}}", fields.join(", "));
    for (depth, key) in path.iter().enumerate().rev() {
        let inner = match key.kind {
            Kind::List(_) => format!("[{text}]"),
            _ => text,
        };
        let outer = depth
            .checked_sub(1)
            .map_or(&ROOT, |above| inner_table(path[above]));
        let mut fields: Vec<String> = outer
            .keys
            .iter()
            .filter(|other| other.required && other.name != key.name)
            .map(|other| format!("{}: {}", other.name, other.example))
            .collect();
        fields.push(format!("{}: {inner}", key.name));
        text = format!("{{{}}}", fields.join(", "));
    }
    format!("#cloud-config\n{text}\n")
}

fn inner_table(key: &Key) -> &'static Table {
    match key.kind {
        Kind::Map(table) => table,
        Kind::List(Kind::Map(table)) => table,
        _ => panic!("{} holds no keys", key.name),
    }
}

fn each_key(visit: &mut dyn FnMut(&[&'static Key], &'static Key, &'static Table)) {
    fn go(
        path: &mut Vec<&'static Key>,
        table: &'static Table,
        visit: &mut dyn FnMut(&[&'static Key], &'static Key, &'static Table),
    ) {
        for key in table.keys {
            visit(path, key, table);
            if matches!(key.kind, Kind::Map(_) | Kind::List(Kind::Map(_))) {
                path.push(key);
                go(path, inner_table(key), visit);
                path.pop();
            }
        }
    }
    go(&mut Vec::new(), &ROOT, visit);
}

/// Keys that change what the config says but nothing on the machine, each with its reason.
const NOT_PLANNED: &[&str] = &[
    // Accepted for old configs, and says so.
    "users.no_log_init",
    // Read by the agent when it looks for addresses.
    "strake.addresses",
    "strake.addresses.public",
    "strake.addresses.private",
    // Only together with the id.
    "coreos.oem.name",
    "coreos.oem.version_id",
    "coreos.oem.home_url",
    "coreos.oem.bug_report_url",
    // Nothing passes through a proxy that is not named.
    "proxy.no_proxy",
    // The example is taken as it is only with matching content.
    "write_files.encoding",
];

#[test]
fn the_example_of_every_key_is_accepted_and_reaches_the_plan() {
    let mut count = 0;
    each_key(&mut |path, key, table| {
        let mut name: Vec<&str> = path.iter().map(|key| key.name).collect();
        name.push(key.name);
        let name = name.join(".");
        let context = crate::Context::default();
        let with = crate::check(document(path, Some(key), table).as_bytes(), &context);
        let text = document(path, Some(key), table);
        // Content and source exclude each other, and `append` of nothing is fine.
        let errors: Vec<_> = with
            .problems
            .iter()
            .filter(|problem| problem.is_error())
            .collect();
        assert!(errors.is_empty(), "{name}: {text} {errors:?}");
        let with = with.config.expect("no errors");
        if !key.required {
            let without = crate::check(document(path, None, table).as_bytes(), &context);
            let without = without.config.expect("no errors");
            let planned = crate::plan(&with, &context) != crate::plan(&without, &context);
            assert_eq!(planned, !NOT_PLANNED.contains(&&*name), "{name}: {text}");
            assert!(
                planned || with != without || name == "write_files.encoding",
                "{name}"
            );
        }
        count += 1;
    });
    assert!(count > 200, "{count} keys");
}

#[test]
fn every_key_refuses_a_value_of_a_wrong_type() {
    each_key(&mut |path, key, table| {
        let wrong = match key.kind {
            Kind::List(_) | Kind::Map(_) | Kind::Pairs(..) => "plain",
            _ => "[a, {b: c}]",
        };
        let wrong = Key {
            example: wrong,
            ..*key
        };
        let text = document(path, Some(Box::leak(Box::new(wrong))), table);
        let checked = crate::check(text.as_bytes(), &crate::Context::default());
        let found = checked
            .problems
            .iter()
            .find(|problem| problem.rule == crate::Rule::WrongType);
        let found = found.unwrap_or_else(|| panic!("{text}: {:?}", checked.problems));
        assert!(
            found.is_error() && found.key.ends_with(key.name),
            "{text}: {found}"
        );
        assert_eq!(
            found.message,
            format!(
                "incorrect type for \"{}\" (want {})",
                key.name,
                key.kind.wanted()
            )
        );
    });
}

#[test]
fn hyphens_in_every_key_mean_the_same() {
    each_key(&mut |path, key, table| {
        let context = crate::Context::default();
        let text = document(path, Some(key), table);
        let mut names: Vec<&str> = path.iter().map(|key| key.name).collect();
        names.push(key.name);
        let hyphens = names
            .iter()
            .filter(|name| name.contains('_'))
            .fold(text.clone(), |text, name| {
                text.replace(&format!("{name}:"), &format!("{}:", name.replace('_', "-")))
            });
        let same = crate::check(text.as_bytes(), &context).config;
        assert_eq!(
            crate::check(hyphens.as_bytes(), &context).config,
            same,
            "{hyphens}"
        );
    });
}

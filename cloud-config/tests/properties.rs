//! What holds for every input, tried with many.

use proptest::prelude::*;
use strake_cloud_config::install::Install;
use strake_cloud_config::report::{self, Style};
use strake_cloud_config::{Address, Addresses, Context, check, merge, plan};

fn known() -> Context {
    let addresses = Addresses {
        public_ipv4: Address::Known([192, 0, 2, 1].into()),
        private_ipv4: Address::Known([10, 0, 0, 7].into()),
        public_ipv6: Address::Known([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
        private_ipv6: Address::Absent,
    };
    Context {
        addresses,
        hostname: None,
    }
}

/// Everything the crate does with one text; the rules that hold are asserted on the way.
fn exercise(bytes: &[u8]) {
    for context in [Context::default(), known()] {
        let checked = check(bytes, &context);
        assert_eq!(checked.config.is_none(), checked.has_errors());
        assert!(
            checked
                .problems
                .iter()
                .all(|p| p.line > 0 && p.column > 0 && p.length > 0)
        );
        let _ = report::human(&checked.problems, "x", Style::Ansi);
        let _ = report::sarif(&checked.problems, "x");
        let Some(config) = checked.config else {
            continue;
        };
        let first = plan(&config, &context);
        assert_eq!(first, plan(&config, &context), "planned twice");
        assert_eq!(config, merge(vec![config.clone()]), "one layer is itself");
        let twice = merge(vec![config.clone(), config.clone()]);
        assert_eq!(merge(vec![twice.clone()]), twice);
        let _ = format!("{first:#}");
        assert!(serde_json::to_string(&first).is_ok());
    }
}

/// Pieces of configs, so that random texts get past the first check.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("hostname: a\n".to_owned()),
        Just("write_files:\n".to_owned()),
        Just("  - path: /etc/x\n".to_owned()),
        Just("    content: |\n      $private_ipv4 \\$public_ipv6\n".to_owned()),
        Just("    encoding: gz+b64\n".to_owned()),
        Just("coreos:\n  units:\n    - name: a.service\n".to_owned()),
        Just("      content: |\n        [Service]\n        ExecStart=/x\n".to_owned()),
        Just("      enable: true\n".to_owned()),
        Just("users: &a\n  - name: b\n".to_owned()),
        Just("x: *a\n<<: *a\n".to_owned()),
        Just("strake: {cluster: {seeds: [10.0.0.1]}}\n".to_owned()),
        "[ -~\n]{0,20}",
        "\\PC{0,10}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }

    #[test]
    fn no_text_below_the_header_makes_it_panic(pieces in proptest::collection::vec(piece(), 0..12)) {
        exercise(format!("#cloud-config\n{}", pieces.concat()).as_bytes());
    }

    #[test]
    fn no_multipart_makes_it_panic(pieces in proptest::collection::vec(
        prop_oneof![
            Just("--B\n".to_owned()),
            Just("--B--\n".to_owned()),
            Just("Content-Type: text/cloud-config\n".to_owned()),
            Just("Content-Type: multipart/mixed; boundary=\"B\"\n".to_owned()),
            Just("Content-Transfer-Encoding: base64\n\n".to_owned()),
            Just("Content-Transfer-Encoding: quoted-printable\n\n=\n".to_owned()),
            Just("\n#cloud-config\n".to_owned()),
            "[ -~\n]{0,20}",
        ], 0..20)) {
        let head = "Content-Type: multipart/mixed; boundary=B\n\n";
        exercise(format!("{head}{}", pieces.concat()).as_bytes());
    }

    #[test]
    fn a_users_text_without_variables_comes_through_unchanged(text in "[a-zA-Z0-9 .,:#-]{0,40}") {
        let config = format!(
            "#cloud-config\nwrite_files:\n  - path: /etc/x\n    content: {}\n",
            serde_json::Value::from(text.as_str())
        );
        let config = check(config.as_bytes(), &known()).config.expect("it is valid");
        let found = plan(&config, &known());
        let body = found.files.iter().find(|file| file.path == "/etc/x").map(|file| file.body.clone());
        prop_assert_eq!(body, Some(strake_cloud_config::plan::Body::Content(text.into_bytes())));
    }

    #[test]
    fn once_all_addresses_are_settled_nothing_waits_for_one(pieces in proptest::collection::vec(piece(), 0..12)) {
        let context = Context { addresses: known().addresses.settled(), hostname: None };
        let text = format!("#cloud-config\n{}", pieces.concat());
        if let Some(config) = check(text.as_bytes(), &context).config {
            let plan = plan(&config, &context);
            let waiting = plan.files.iter().find(|file| file.phase == strake_cloud_config::plan::Phase::Network);
            prop_assert!(waiting.is_none(), "{:?}", waiting);
        }
    }

    #[test]
    fn any_unit_text_can_be_read(text in "(\\[?(Install|Unit|x)\\]?|WantedBy=|Alias=|a@?b?\\.(service|target)|%[a-z%]|\\\\|\"| |\n|;|#){0,20}") {
        let name = strake_cloud_config::unit_name::UnitName::parse("a@b.service").expect("valid");
        let place = strake_cloud_config::install::Place { links: "/l", unit: "/u" };
        for link in Install::parse(&text).links(&name, &place) {
            prop_assert!(link.path.starts_with("/l/") && !link.path.contains(".."), "{:?}", link);
        }
    }

    #[test]
    fn no_metadata_makes_it_panic_or_write_a_line_of_its_own(text in "(iface|auto|eth0|inet|static|dhcp|address|10.0.0.1|/8|\\[|\\]|\\{|\\}|:|,|\"|links|networks|version: 2|ethernets| |\n|-|[ -~]){0,40}") {
        use strake_cloud_config::{metadata, network};
        let bytes = text.as_bytes();
        let mut units = network::render(&network::debian::parse(&text));
        units.extend(network::openstack::parse(bytes).iter().flat_map(|links| network::render(links)));
        units.extend(network::nocloud::parse(&text).iter().flat_map(|links| network::render(links)));
        for read in [metadata::gce, metadata::azure, metadata::digitalocean, metadata::nocloud] {
            units.extend(read(bytes).into_iter().flat_map(|found| found.network));
        }
        let _ = metadata::openstack(bytes);
        for unit in units {
            prop_assert!(strake_cloud_config::unit_name::UnitName::parse(&unit.name).is_ok());
            for line in unit.content.unwrap_or_default().lines() {
                prop_assert!(line.is_empty() || line.starts_with('[') || line.contains('='), "{line}");
            }
        }
    }
}

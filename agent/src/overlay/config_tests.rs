use super::*;

#[track_caller]
fn read(text: &str) -> Config {
    Config::parse(text.as_bytes()).expect(text)
}

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    Config::parse(text.as_bytes()).expect_err(text).0
}

/// Network, first and last subnet.
fn v4(text: &str) -> [String; 3] {
    let ranges = read(text).v4.expect("IPv4");
    [ranges.network, ranges.first, ranges.last].map(|range| range.to_string())
}

#[test]
fn subnets_have_flannels_usual_sizes_and_ends() {
    let cases = [
        (
            r#"{"Network":"10.5.0.0/16"}"#,
            ["10.5.0.0/16", "10.5.1.0/24", "10.5.255.0/24"],
        ),
        (
            r#"{"Network":"10.5.0.0/22"}"#,
            ["10.5.0.0/22", "10.5.1.0/24", "10.5.3.0/24"],
        ),
        (
            r#"{"Network":"10.5.0.0/23"}"#,
            ["10.5.0.0/23", "10.5.0.128/25", "10.5.1.128/25"],
        ),
        (
            r#"{"Network":"10.5.0.0/28"}"#,
            ["10.5.0.0/28", "10.5.0.4/30", "10.5.0.12/30"],
        ),
        (
            r#"{"Network":"10.5.0.0/16","SubnetLen":26,"SubnetMin":"10.5.16.64","SubnetMax":"10.5.17.0"}"#,
            ["10.5.0.0/16", "10.5.16.64/26", "10.5.17.0/26"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(v4(text), expected, "{text}");
    }
    let dual = read(r#"{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/56"}"#);
    let v6 = dual.v6.expect("IPv6");
    assert_eq!(v6.first.to_string(), "fd00:5:0:1::/64");
    assert_eq!(v6.last.to_string(), "fd00:5:0:ff::/64");
    assert_eq!(v6.most(), 254);
    let only = r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:5::/124"}"#;
    assert_eq!(read(only).v4, None);
    assert_eq!(read(only).v6.expect("IPv6").length(), 126);
}

#[test]
fn a_missing_backend_is_vxlan_and_says_so() {
    let config = read(r#"{"Network":"10.5.0.0/16"}"#);
    assert_eq!(config.backend, Backend::Vxlan(Vxlan::default()));
    let note = "no Backend is named: taking vxlan (flannel would take udp)";
    assert_eq!(config.notes, [note]);
}

#[test]
fn every_key_of_vxlan_counts() {
    let text = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":7,"Port":4789,
        "GBP":true,"Learning":true,"DirectRouting":true,"MTU":1400}}"#;
    let config = read(text);
    let expected = Vxlan {
        vni: 7,
        port: 4789,
        gbp: true,
        learning: true,
        direct_routing: true,
        mtu: Some(1400),
    };
    assert_eq!(config.backend, Backend::Vxlan(expected));
    assert_eq!(config.notes, Vec::<String>::new());
    let zeros = r#"{"network":"10.5.0.0/16","backend":{"type":"vxlan","port":0,"mtu":0}}"#;
    assert_eq!(read(zeros).backend, Backend::Vxlan(Vxlan::default()));
    let gateway = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}"#;
    assert_eq!(read(gateway).backend, Backend::HostGw);
}

#[test]
fn every_key_of_wireguard_and_ipip_counts() {
    let text = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard","ListenPort":7000,
        "PSK":"IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=","ListenPortV6":7001,"MTU":1400,
        "Mode":"auto","PersistentKeepaliveInterval":25}}"#;
    let config = read(text);
    let expected = Wireguard {
        preshared: "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=".parse().ok(),
        port: 7000,
        port_v6: 7001,
        mtu: Some(1400),
        mode: Mode::Auto,
        keepalive: 25,
    };
    assert_eq!(config.backend, Backend::Wireguard(expected));
    assert_eq!(config.notes, Vec::<String>::new());
    let usual = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard","PSK":"","Mode":""}}"#;
    assert_eq!(
        read(usual).backend,
        Backend::Wireguard(Wireguard::default())
    );
    let ipip = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"ipip","DirectRouting":true}}"#;
    let direct_routing = true;
    assert_eq!(read(ipip).backend, Backend::Ipip(Ipip { direct_routing }));
}

#[test]
fn unknown_keys_are_notes() {
    let text = r#"{"Network":"10.5.0.0/16","Netwrok":1,"Backend":{"Type":"vxlan","Color":2}}"#;
    let notes = ["Netwrok is not known", "Backend.Color is not known"];
    assert_eq!(read(text).notes, notes);
}

#[test]
fn all_problems_are_told_at_once() {
    let text = r#"{"Network":"10.5.0.0/16","SubnetLen":"24","EnableNFTables":1,
        "Backend":{"Type":"vxlan","VNI":16777216,"Port":70000,"GBP":"yes"}}"#;
    let expected = [
        "EnableNFTables is 1, not true or false",
        r#"SubnetLen is "24", not a whole number from 18 to 30"#,
        r#"GBP is "yes", not true or false"#,
        "Backend.VNI is 16777216, not a whole number from 1 to 16777215",
        "Backend.Port is 70000, not a whole number from 0 to 65535 (0: the kernel's, 8472)",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn each_wrong_value_is_told_plainly() {
    let cases = [
        (
            "",
            "it is not JSON: EOF while parsing a value at line 1 column 0",
        ),
        ("[]", "it is not a JSON object"),
        ("{}", "Network is missing"),
        (
            r#"{"Network":7}"#,
            r#"Network is 7, not a text such as "10.5.0.0/16""#,
        ),
        (
            r#"{"Network":"10.5.1.0/16"}"#,
            "Network: 10.5.1.0/16 does not begin at its own first address, 10.5.0.0 (meant 10.5.0.0/16?)",
        ),
        (
            r#"{"Network":"fd00::/48"}"#,
            "Network fd00::/48 is not IPv4",
        ),
        (
            r#"{"Network":"10.5.0.0/29"}"#,
            "Network 10.5.0.0/29 is too small: it may be /28 at most",
        ),
        (
            r#"{"Network":"10.5.0.0/16","SubnetLen":17}"#,
            "SubnetLen is 17, not a whole number from 18 to 30",
        ),
        (
            r#"{"Network":"10.5.0.0/16","SubnetMin":"10.6.0.0"}"#,
            "SubnetMin 10.6.0.0 is not within 10.5.0.0/16",
        ),
        (
            r#"{"Network":"10.5.0.0/16","SubnetMax":"10.5.9.1"}"#,
            "SubnetMax: 10.5.9.1/24 does not begin at its own first address, 10.5.9.0",
        ),
        (
            r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.9.0","SubnetMax":"10.5.8.0"}"#,
            "SubnetMin 10.5.9.0 comes after SubnetMax 10.5.8.0",
        ),
        (
            r#"{"EnableIPv4":false}"#,
            "neither EnableIPv4 nor EnableIPv6 is on",
        ),
        (
            r#"{"EnableIPv6":true,"Network":"10.5.0.0/16"}"#,
            "IPv6Network is missing",
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":"vxlan"}"#,
            r#"Backend is "vxlan", not an object with a Type"#,
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{}}"#,
            "Backend has no Type; vxlan is the usual one",
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"udp"}}"#,
            r#"Backend "udp" is not one of those here: vxlan, host-gw, wireguard and ipip"#,
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","Port":70000}}"#,
            "Backend.Port is 70000, not a whole number from 0 to 65535 (0: the kernel's, 8472)",
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","MTU":500}}"#,
            "Backend.MTU 500 is less than 1280",
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard","PSK":"secret"}}"#,
            "Backend.PSK is not a key of wireguard: 32 bytes in base64, as `wg genpsk` makes them",
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard","Mode":"both"}}"#,
            r#"Backend.Mode is "both", not separate, auto, ipv4 or ipv6"#,
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard","PersistentKeepaliveInterval":"25s"}}"#,
            r#"Backend.PersistentKeepaliveInterval is "25s", not a whole number from 0 to 65535 (seconds; 0: none)"#,
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard","ListenPort":51821}}"#,
            "Backend.ListenPort and Backend.ListenPortV6 are both 51821: in the mode separate each family has a device and a port of its own",
        ),
        (
            r#"{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48","Backend":{"Type":"ipip"}}"#,
            "Backend ipip carries IPv4 only: EnableIPv6 cannot be on",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn only_subnets_between_the_ends_are_given() {
    let text = r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.2.0","SubnetMax":"10.5.4.0"}"#;
    let ranges = read(text).v4.expect("IPv4");
    assert_eq!(ranges.most(), 2);
    let given = |text: &str| ranges.may_give(&text.parse().expect(text));
    for text in ["10.5.2.0/24", "10.5.4.0/24"] {
        assert!(given(text), "{text}");
    }
    for text in [
        "10.5.1.0/24",
        "10.5.5.0/24",
        "10.5.2.0/25",
        "10.6.2.0/24",
        "fd00::/64",
    ] {
        assert!(!given(text), "{text}");
    }
}

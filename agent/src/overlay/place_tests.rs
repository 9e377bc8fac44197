use super::*;

fn config(text: &str) -> Config {
    Config::parse(text.as_bytes()).expect(text)
}

fn uplink(addresses: &[&str]) -> Uplink {
    let address = |text: &&str| {
        let (address, length) = text.split_once('/').expect("address/length");
        let address: IpAddr = address.parse().expect("address");
        (
            address,
            Cidr::around(address, length.parse().expect("length")).expect(text),
        )
    };
    Uplink {
        index: 3,
        name: "eth0".to_string(),
        mtu: 1500,
        addresses: addresses.iter().map(address).collect(),
    }
}

const V4: &str = r#"{"Network":"10.5.0.0/16"}"#;
const DUAL: &str = r#"{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48"}"#;
const NONE: Subnets = Subnets { v4: None, v6: None };

#[test]
fn packets_fit_the_uplink_with_the_outer_header_of_the_longer_family() {
    let eth = uplink(&["192.168.0.1/24"]);
    let cases = [
        (V4, 1450),
        (DUAL, 1430),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","MTU":1400}}"#,
            1350,
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}"#,
            1500,
        ),
        (
            r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:5::/48"}"#,
            1430,
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard"}}"#,
            1420,
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard","MTU":1400}}"#,
            1320,
        ),
        (
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"ipip"}}"#,
            1480,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(mtu(&config(text), &eth), expected, "{text}");
    }
}

#[test]
fn no_subnet_is_taken_where_the_machines_own_link_is() {
    let cases: [(&str, &[&str]); 4] = [
        ("192.168.0.1/24", &[]),
        ("10.5.3.7/24", &["10.5.3.0/24"]),
        ("10.5.3.7/28", &["10.5.3.0/28"]),
        // All of the network is on the link: only the machine's own address is in the way.
        ("10.5.3.7/8", &["10.5.3.7/32"]),
    ];
    for (address, expected) in cases {
        let found = avoided(&config(V4), &uplink(&[address]));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{address}");
    }
}

#[test]
fn checks_are_answered_in_the_tunnel_and_without_one_at_the_uplink() {
    let eth = uplink(&["192.168.0.1/24", "fd01::1/64"]);
    let gateway = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}"#;
    let before = Subnets {
        v4: "10.5.3.0/24".parse().ok(),
        v6: "fd00:5:0:3::/64".parse().ok(),
    };
    let public = "203.0.113.7".parse().ok();
    let cases: [(&str, &[&str], &[&str]); 3] = [
        (V4, &["10.5.3.0"], &["10.5.3.0"]),
        (
            DUAL,
            &["10.5.3.0", "fd00:5:0:3::"],
            &["10.5.3.0", "fd00:5:0:3::"],
        ),
        (gateway, &["192.168.0.1"], &["203.0.113.7"]),
    ];
    for (text, here, there) in cases {
        let config = config(text);
        let lease = offer(&config, Identity { public, ..M1 }, &eth, before).expect("offer");
        let parsed = |all: &[&str]| -> Vec<IpAddr> {
            all.iter().map(|one| one.parse().expect(one)).collect()
        };
        assert_eq!(doors(&config, &lease, &eth), parsed(here), "{text}");
        let found: Vec<IpAddr> = doors_of(&config, &lease).collect();
        assert_eq!(found, parsed(there), "{text}");
    }
}

const M1: Identity<'static> = Identity {
    machine: "m1",
    public: None,
    key: None,
};

#[test]
fn a_machine_offers_its_address_and_the_same_end_at_each_start() {
    let eth = uplink(&["192.168.0.1/24", "192.168.0.2/24"]);
    let one = offer(&config(V4), M1, &eth, NONE).expect("offer");
    assert_eq!(one.public_v4, "192.168.0.1".parse().ok());
    let public = "203.0.113.7".parse().ok();
    let behind = offer(&config(V4), Identity { public, ..M1 }, &eth, NONE).expect("offer");
    assert_eq!(behind.public_v4, "203.0.113.7".parse().ok());
    assert_eq!(one.v4, behind.v4);
    let error = offer(&config(DUAL), M1, &eth, NONE).expect_err("no IPv6");
    let text = "eth0 has no IPv6 address, which the network needs";
    assert_eq!(error.to_string(), text);
}

#[test]
fn each_family_has_its_device_at_the_uplinks_own_address() {
    let eth = uplink(&["192.168.0.1/24", "fd01::1/64"]);
    let dual = config(DUAL);
    let before = Subnets {
        v4: "10.5.3.0/24".parse().ok(),
        v6: "fd00:5:0:3::/64".parse().ok(),
    };
    let public = "203.0.113.7".parse().ok();
    let lease = offer(&dual, Identity { public, ..M1 }, &eth, before).expect("offer");
    let told: Vec<String> = tunnels(&dual, &lease, &eth, None)
        .iter()
        .map(|one| match one.device {
            Device::Vxlan { local, .. } => format!("{} {local} {:?}", one.name, one.addresses),
            _ => one.name.clone(),
        })
        .collect();
    assert_eq!(
        told,
        [
            "flannel.1 192.168.0.1 [10.5.3.0]",
            "flannel-v6.1 fd01::1 [fd00:5:0:3::]",
        ]
    );
}

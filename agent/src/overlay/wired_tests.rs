use std::collections::BTreeMap;

use super::super::config::Backend;
use super::super::desired::{Own, Verdict, desired};
use super::super::kernel::{Device, Uplink};
use super::super::place::{Identity, offer, tunnels};
use super::super::state::{State, changes};
use super::super::wire::Secret;
use super::*;

fn config(mode: &str, more: &str) -> Config {
    let text = format!(
        r#"{{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48",
        "Backend":{{"Type":"wireguard","Mode":"{mode}"{more}}}}}"#
    );
    Config::parse(text.as_bytes()).expect("config")
}

fn secret(fill: u8) -> Secret {
    Secret::known([fill; 32]).expect("a key")
}

fn uplink(nth: u8, addresses: &[&str]) -> Uplink {
    let given = addresses.iter().map(|text| {
        let address: IpAddr = text
            .replace('N', &nth.to_string())
            .parse()
            .expect("address");
        (address, super::super::cidr::Cidr::single(address))
    });
    Uplink {
        index: 2,
        name: "eth0".to_string(),
        mtu: 1500,
        addresses: given.collect(),
    }
}

const BOTH: [&str; 2] = ["192.168.0.N", "fd01::N"];

fn lease(config: &Config, nth: u8, addresses: &[&str]) -> Lease {
    let before = Subnets {
        v4: format!("10.5.{nth}.0/24").parse().ok(),
        v6: format!("fd00:5:0:{nth}::/64").parse().ok(),
    };
    let name = format!("m{nth}");
    let identity = Identity {
        machine: &name,
        public: None,
        key: Some(secret(nth)),
    };
    offer(config, identity, &uplink(nth, addresses), before).expect("offer")
}

/// What the first machine is told of the second one.
fn told(config: &Config, addresses: &[&str]) -> Vec<String> {
    let own = Own {
        lease: lease(config, 1, addresses),
        links: Vec::new(),
    };
    let second = lease(config, 2, addresses);
    let peers = BTreeMap::from([(second.subnets.to_key(), second)]);
    let wanted = desired(config, &own, &peers);
    let key = secret(2).public().to_string();
    let all = changes(&State::default(), &wanted.state);
    let all = all
        .iter()
        .map(|change| change.to_string().replace(&key, "KEY"));
    all.collect()
}

#[test]
fn each_mode_has_its_devices_and_endpoints() {
    let routes = [
        "put route 10.5.2.0/24 in the tunnel",
        "put route fd00:5:0:2::/64 in the tunnel",
    ];
    let one = |to: &str| {
        vec![format!(
            "put peer KEY for 10.5.2.0/24 and fd00:5:0:2::/64 at {to}"
        )]
    };
    let separate = vec![
        "put peer KEY for 10.5.2.0/24 at 192.168.0.2:51820".to_string(),
        "put peer KEY for fd00:5:0:2::/64 at [fd01::2]:51821".to_string(),
    ];
    let public = ["198.51.100.N", "fd01::N"];
    let public_v6 = ["192.168.0.N", "2001:db8::N"];
    let cases = [
        ("separate", BOTH, separate),
        ("ipv4", BOTH, one("192.168.0.2:51820")),
        ("ipv6", BOTH, one("[fd01::2]:51820")),
        // Nothing public: IPv4.
        ("auto", BOTH, one("192.168.0.2:51820")),
        ("auto", public, one("198.51.100.2:51820")),
        ("auto", public_v6, one("[2001:db8::2]:51820")),
    ];
    for (mode, addresses, mut expected) in cases {
        expected.extend(routes.map(str::to_string));
        assert_eq!(
            told(&config(mode, ""), &addresses),
            expected,
            "{mode} {addresses:?}"
        );
    }
}

#[test]
fn one_address_is_enough_for_auto_and_each_mode_says_what_it_lacks() {
    let auto = config("auto", "");
    let only = told(&auto, &["fd01::N"]);
    assert!(only[0].ends_with("at [fd01::2]:51820"), "{only:?}");
    let missing = |mode, addresses: &[&str]| {
        let identity = Identity {
            machine: "m1",
            public: None,
            key: Some(secret(1)),
        };
        let none = Subnets { v4: None, v6: None };
        let offered = offer(&config(mode, ""), identity, &uplink(1, addresses), none);
        offered.expect_err(mode).to_string()
    };
    let without = |family| format!("eth0 has no {family} address, which the network needs");
    assert_eq!(missing("separate", &["192.168.0.N"]), without("IPv6"));
    assert_eq!(missing("ipv6", &["192.168.0.N"]), without("IPv6"));
    assert_eq!(missing("ipv4", &["fd01::N"]), without("IPv4"));
    assert_eq!(missing("auto", &[]), without("IPv4"));
}

#[test]
fn devices_have_flannels_names_and_ports_and_this_machines_key() {
    let devices = |config: &Config| {
        let own = lease(config, 1, &BOTH);
        let all = tunnels(config, &own, &uplink(1, &BOTH), Some(secret(1)));
        let all = all.into_iter().map(|one| {
            let Device::Wireguard { key, port } = one.device else {
                panic!("{one:?}");
            };
            assert_eq!((key, one.mtu), (secret(1), 1420));
            (one.name, port, one.addresses.len())
        });
        all.collect::<Vec<_>>()
    };
    let expected = [
        ("flannel-wg".to_string(), 51820, 1),
        ("flannel-wg-v6".to_string(), 51821, 1),
    ];
    assert_eq!(devices(&config("separate", "")), expected);
    let other = config("auto", r#","ListenPort":7000"#);
    assert_eq!(devices(&other), [("flannel-wg".to_string(), 7000, 2)]);
}

#[test]
fn the_shared_key_and_the_keepalive_reach_every_peer() {
    let psk = "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=";
    let more = format!(r#","PSK":"{psk}","PersistentKeepaliveInterval":25"#);
    let config = config("ipv4", &more);
    let (own, other) = (lease(&config, 1, &BOTH), lease(&config, 2, &BOTH));
    let Backend::Wireguard(wireguard) = &config.backend else {
        panic!("{config:?}");
    };
    let peer = peer(wireguard, &config, &own, &other, Family::V6).expect("a peer");
    assert_eq!((peer.keepalive, peer.preshared), (25, psk.parse().ok()));
    assert_eq!(peer.device, Family::V4, "one device for both");
    assert!(
        !format!("{config:?}").contains(psk),
        "a secret is not shown"
    );
}

/// What is done to a lease, and why it is not served then.
type Case = (fn(&mut Lease), &'static str);

#[test]
fn a_lease_without_a_key_or_with_that_of_another_is_not_served() {
    let config = config("separate", "");
    let own = Own {
        lease: lease(&config, 1, &BOTH),
        links: Vec::new(),
    };
    let verdict = |change: fn(&mut Lease)| {
        let mut other = lease(&config, 2, &BOTH);
        change(&mut other);
        let wanted = desired(&config, &own, &BTreeMap::from([("k".to_string(), other)]));
        assert_eq!(wanted.state, State::default());
        match &wanted.verdicts["k"] {
            Verdict::Ignored(reason) => reason.to_string(),
            routed => panic!("{routed:?}"),
        }
    };
    let cases: [Case; 4] = [
        (
            |one| one.v4.key = None,
            "it has no key of wireguard for IPv4",
        ),
        (
            |one| one.v6.key = None,
            "it has no key of wireguard for IPv6",
        ),
        (
            |one| one.v4.key = Some(secret(1).public()),
            "it has the key of this machine's",
        ),
        (
            |one| one.public_v6 = None,
            "it has no IPv6 address to send to",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(verdict(change), expected);
    }
}

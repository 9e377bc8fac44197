use proptest::prelude::*;

use super::super::state::{self, Change};
use super::*;
use crate::overlay::lease::Subnets;
use crate::overlay::mac::Mac;

fn config(text: &str) -> Config {
    Config::parse(text.as_bytes()).expect(text)
}

const VXLAN: &str = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":1}}"#;

fn lease(nth: u8, public: u8, mac: u8) -> Lease {
    let value = format!(
        r#"{{"PublicIP":"192.168.0.{public}","PublicIPv6":null,"BackendType":"vxlan",
        "BackendData":{{"VNI":1,"VtepMAC":"02:00:00:00:00:{mac:02x}"}}}}"#
    );
    Lease::parse(&format!("10.5.{nth}.0-24"), value.as_bytes()).expect("lease")
}

fn own() -> Own {
    Own {
        lease: lease(1, 1, 1),
        links: vec!["192.168.0.0/28".parse().expect("link")],
    }
}

fn peers(leases: &[Lease]) -> BTreeMap<String, Lease> {
    let named = leases.iter().map(|one| (one.subnets.to_key(), one.clone()));
    named.collect()
}

#[track_caller]
fn why(config_text: &str, lease: Lease) -> String {
    let wanted = desired(&config(config_text), &own(), &peers(&[lease]));
    assert_eq!(wanted.state, State::default());
    match wanted.verdicts.into_values().next() {
        Some(Verdict::Ignored(reason)) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_peer_is_reached_through_the_tunnel() {
    let wanted = desired(&config(VXLAN), &own(), &peers(&[lease(2, 2, 2)]));
    let told: Vec<String> = state::changes(&State::default(), &wanted.state)
        .iter()
        .map(Change::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "put neighbour 10.5.2.0 02:00:00:00:00:02",
            "put forwarding 02:00:00:00:00:02 to 192.168.0.2",
            "put route 10.5.2.0/24 via 10.5.2.0 in the tunnel",
        ]
    );
}

#[test]
fn direct_routing_and_host_gw_use_the_link_where_there_is_one() {
    let direct = VXLAN.replace("\"VNI\":1", "\"VNI\":1,\"DirectRouting\":true");
    let wanted = desired(
        &config(&direct),
        &own(),
        &peers(&[lease(2, 2, 2), lease(3, 99, 3)]),
    );
    assert_eq!(wanted.verdicts["10.5.2.0-24"], Verdict::Routed(Way::Uplink));
    assert_eq!(wanted.verdicts["10.5.3.0-24"], Verdict::Routed(Way::Tunnel));
    assert_eq!(wanted.state.neighbours.len(), 1);
    let gateway = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}"#);
    let of = |nth, public| Lease {
        backend: "host-gw".to_string(),
        v4: Default::default(),
        ..lease(nth, public, nth)
    };
    let wanted = desired(&gateway, &own(), &peers(&[of(2, 2), of(3, 99)]));
    assert_eq!(wanted.verdicts["10.5.2.0-24"], Verdict::Routed(Way::Uplink));
    let far = Reason::NotOnLink(IpAddr::from([192, 168, 0, 99]));
    assert_eq!(wanted.verdicts["10.5.3.0-24"], Verdict::Ignored(far));
}

#[test]
fn ipip_needs_a_route_to_the_peers_address_and_nothing_else() {
    let ipip = |direct: bool| {
        config(&format!(
            r#"{{"Network":"10.5.0.0/16","Backend":{{"Type":"ipip","DirectRouting":{direct}}}}}"#
        ))
    };
    let of = |nth, public| Lease {
        backend: "ipip".to_string(),
        v4: Default::default(),
        ..lease(nth, public, nth)
    };
    let told = |config: &Config| -> Vec<String> {
        let wanted = desired(config, &own(), &peers(&[of(2, 2), of(3, 99)]));
        let all = state::changes(&State::default(), &wanted.state);
        all.iter().map(Change::to_string).collect()
    };
    let far = "put route 10.5.3.0/24 via 192.168.0.99 in the tunnel";
    let tunnelled = "put route 10.5.2.0/24 via 192.168.0.2 in the tunnel";
    let direct = "put route 10.5.2.0/24 via 192.168.0.2 on the uplink";
    assert_eq!(told(&ipip(false)), [tunnelled, far]);
    assert_eq!(told(&ipip(true)), [direct, far]);
}

#[test]
fn what_cannot_be_served_says_why() {
    let foreign = Lease {
        backend: "udp".to_string(),
        ..lease(2, 2, 2)
    };
    assert_eq!(
        why(VXLAN, foreign),
        "its backend is udp, the network's is vxlan"
    );
    let other = VXLAN.replace("\"VNI\":1", "\"VNI\":2");
    assert_eq!(
        why(&other, lease(2, 2, 2)),
        "its VNI is 1, the network's is 2"
    );
    assert_eq!(
        why(VXLAN, lease(2, 1, 2)),
        "it has this machine's public address"
    );
    assert_eq!(
        why(VXLAN, lease(2, 2, 1)),
        "it has the hardware address of this machine's"
    );
    assert_eq!(why(VXLAN, lease(1, 2, 2)), "it overlaps this machine's");
    let elsewhere = Lease {
        subnets: Subnets {
            v4: "10.6.2.0/24".parse().ok(),
            v6: None,
        },
        ..lease(2, 2, 2)
    };
    assert_eq!(
        why(VXLAN, elsewhere),
        "10.6.2.0/24 is not a subnet of the network's"
    );
    let without = Lease {
        v4: Default::default(),
        ..lease(2, 2, 2)
    };
    assert_eq!(why(VXLAN, without), "it has no hardware address for IPv4");
    let nowhere = Lease {
        public_v4: None,
        ..lease(2, 2, 2)
    };
    assert_eq!(why(VXLAN, nowhere), "it has no IPv4 address to send to");
}

#[test]
fn a_lease_in_the_way_of_another_is_left_out_and_the_other_served() {
    let wide = Lease {
        subnets: Subnets {
            v4: "10.5.2.0/23".parse().ok(),
            v6: None,
        },
        ..lease(2, 9, 9)
    };
    let three = lease(3, 3, 3);
    let wanted = desired(&config(VXLAN), &own(), &peers(&[wide, three]));
    let ignored = Verdict::Ignored(Reason::Overlaps("10.5.2.0-23".to_string()));
    assert_eq!(wanted.verdicts["10.5.3.0-24"], ignored);
    assert_eq!(wanted.verdicts["10.5.2.0-23"], Verdict::Routed(Way::Tunnel));
}

#[test]
fn a_subnet_that_would_take_the_machines_own_link_is_left_out() {
    let text = r#"{"Network":"192.168.0.0/16"}"#;
    let mut own = own();
    own.links = vec!["192.168.0.0/24".parse().expect("link")];
    let mut held = lease(7, 2, 2);
    held.subnets.v4 = "192.168.0.0/24".parse().ok();
    let mut around_itself = lease(8, 9, 3);
    around_itself.public_v4 = "192.168.9.9".parse().ok();
    around_itself.subnets.v4 = "192.168.9.0/24".parse().ok();
    let mut served = lease(9, 4, 4);
    served.subnets.v4 = "192.168.4.0/24".parse().ok();
    let wanted = desired(&config(text), &own, &peers(&[held, around_itself, served]));
    let told: Vec<String> = wanted
        .verdicts
        .values()
        .map(|verdict| match verdict {
            Verdict::Ignored(reason) => reason.to_string(),
            Verdict::Routed(_) => "served".to_string(),
        })
        .collect();
    let expected = [
        "its subnet 192.168.0.0/24 holds 192.168.0.0/24, to which the way would be lost",
        "served",
        "its subnet 192.168.9.0/24 holds 192.168.9.9/32, to which the way would be lost",
    ];
    assert_eq!(told, expected);
}

#[test]
fn both_families_have_devices_and_addresses_of_their_own() {
    let text = r#"{"EnableIPv6":true,"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48"}"#;
    let value = r#"{"PublicIP":"192.168.0.2","PublicIPv6":"fd01::2","BackendType":"vxlan",
        "BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:02"},
        "BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:06:02"}}"#;
    let key = "10.5.2.0-24&fd00:5:0:2::-64";
    let peer = Lease::parse(key, value.as_bytes()).expect("lease");
    let wanted = desired(&config(text), &own(), &peers(&[peer]));
    assert_eq!(wanted.state.routes.len(), 2);
    let six = Forwarding {
        mac: "02:00:00:00:06:02".parse::<Mac>().expect("mac"),
        to: "fd01::2".parse().expect("address"),
    };
    assert!(wanted.state.forwardings.contains(&six));
}

#[test]
fn overlaps_with_the_hosts_routes_are_found() {
    let cidr = |text: &str| text.parse::<Cidr>().expect(text);
    let host = ["0.0.0.0/0", "10.5.9.0/24", "192.168.0.0/24"].map(cidr);
    let found = overlapping(&[cidr("10.5.0.0/16")], &host.into());
    assert_eq!(found, [(cidr("10.5.0.0/16"), cidr("10.5.9.0/24"))]);
}

#[derive(Debug, Clone)]
enum Event {
    Put {
        nth: u8,
        public: u8,
        mac: u8,
    },
    Removed(u8),
    /// The daemon was down: the kernel's state is what it was.
    Missed(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (2u8..8, 1u8..8, 1u8..8).prop_map(|(nth, public, mac)| Event::Put { nth, public, mac }),
        (2u8..8).prop_map(Event::Removed),
        (2u8..8).prop_map(Event::Missed),
    ]
}

proptest! {
    #[test]
    fn any_sequence_of_lease_events_ends_in_exactly_the_right_state(
        events in prop::collection::vec(event(), 0..40),
    ) {
        let config = config(VXLAN);
        let mut leases = BTreeMap::new();
        let mut kernel = state::tests::Model::default();
        for event in events {
            let key = |nth: u8| format!("10.5.{nth}.0-24");
            let seen = match event {
                Event::Put { nth, public, mac } => {
                    leases.insert(key(nth), lease(nth, public, mac));
                    true
                }
                Event::Removed(nth) => leases.remove(&key(nth)).is_some(),
                Event::Missed(nth) => {
                    leases.remove(&key(nth));
                    false
                }
            };
            if seen {
                let wanted = desired(&config, &own(), &leases);
                for change in state::changes(&kernel.observe(), &wanted.state) {
                    kernel.apply(&change);
                }
            }
        }
        let wanted = desired(&config, &own(), &leases);
        for change in state::changes(&kernel.observe(), &wanted.state) {
            kernel.apply(&change);
        }
        prop_assert_eq!(kernel.observe(), wanted.state.clone());
        // Right by another way of counting: each routed peer has one route, to itself.
        let routed = wanted.verdicts.values().filter(|one| matches!(one, Verdict::Routed(_)));
        prop_assert_eq!(routed.count(), wanted.state.routes.len());
        for route in &wanted.state.routes {
            let peer = &leases[&route.destination.to_key()];
            let neighbour = wanted.state.neighbours.iter().find(|one| one.address == route.gateway);
            let mac = neighbour.map(|one| one.mac);
            prop_assert_eq!(mac, peer.v4.mac);
            let end = wanted.state.forwardings.iter().find(|one| Some(one.mac) == mac);
            prop_assert_eq!(end.map(|one| one.to), peer.public_v4.map(IpAddr::V4));
        }
    }
}

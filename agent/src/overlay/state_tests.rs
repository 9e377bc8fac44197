use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A kernel that does as told. Like the real one it may hold several routes to one destination, and
/// refuses a further one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) routes: Vec<Route>,
    pub(crate) neighbours: BTreeMap<IpAddr, Mac>,
    pub(crate) forwardings: BTreeMap<(Mac, Family), IpAddr>,
    pub(crate) peers: BTreeMap<(Family, PublicKey), Peer>,
}

impl Model {
    pub(crate) fn observe(&self) -> State {
        let neighbours = self.neighbours.iter();
        let forwardings = self.forwardings.iter();
        State {
            routes: self.routes.iter().copied().collect(),
            neighbours: neighbours
                .map(|(address, mac)| Neighbour {
                    address: *address,
                    mac: *mac,
                })
                .collect(),
            forwardings: forwardings
                .map(|((mac, _), to)| Forwarding { mac: *mac, to: *to })
                .collect(),
            peers: self.peers.values().copied().collect(),
        }
    }

    /// Like the real one: what a peer is allowed, no other of its device is.
    fn put_peer(&mut self, one: &Peer) {
        for other in self.peers.values_mut() {
            if other.device == one.device {
                let lost = |own: &mut Option<Cidr>, taken: Option<Cidr>| {
                    *own = own.filter(|own| Some(*own) != taken);
                };
                lost(&mut other.allowed.v4, one.allowed.v4);
                lost(&mut other.allowed.v6, one.allowed.v6);
            }
        }
        self.peers.insert((one.device, one.key), *one);
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::PutPeer(one) => self.put_peer(one),
            Change::RemovePeer(one) => {
                self.peers.remove(&(one.device, one.key));
            }
            Change::PutNeighbour(one) => {
                self.neighbours.insert(one.address, one.mac);
            }
            Change::RemoveNeighbour(one) => {
                self.neighbours.remove(&one.address);
            }
            Change::PutForwarding(one) => {
                let key = (one.mac, Family::of(one.to));
                self.forwardings.insert(key, one.to);
            }
            Change::RemoveForwarding(one) => {
                self.forwardings.remove(&(one.mac, Family::of(one.to)));
            }
            Change::PutRoute(one) => {
                let mut there = self.routes.iter();
                if !there.any(|route| route.destination == one.destination) {
                    self.routes.push(*one);
                }
            }
            Change::RemoveRoute(one) => self.routes.retain(|route| route != one),
        }
    }
}

fn cidr(nth: u8) -> Cidr {
    format!("10.5.{nth}.0/24").parse().expect("subnet")
}

fn mac(nth: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, nth])
}

fn ip(nth: u8) -> IpAddr {
    IpAddr::from([192, 168, 0, nth])
}

fn route(to: u8, via: u8) -> Route {
    Route {
        destination: cidr(to),
        gateway: ip(via),
        way: Way::Tunnel,
    }
}

fn peer(key: u8, at: u8, allowed: u8) -> Peer {
    Peer {
        device: Family::V4,
        key: PublicKey([key; 32]),
        endpoint: Some((ip(at), 51820).into()),
        allowed: Subnets {
            v4: Some(cidr(allowed)),
            v6: None,
        },
        surplus: usize::from(at == 5),
        keepalive: 0,
        preshared: None,
    }
}

fn any_peers() -> impl Strategy<Value = BTreeSet<Peer>> {
    let all = prop::collection::btree_map(0u8..6, (0u8..6, 0u8..6), 0..6);
    all.prop_map(|all| {
        let mut seen = BTreeSet::new();
        let peers = all
            .into_iter()
            .map(|(key, (at, allowed))| peer(key, at, allowed));
        // No two of a device are allowed one subnet, whoever asks for it.
        peers.filter(|peer| seen.insert(peer.allowed)).collect()
    })
}

fn any_state() -> impl Strategy<Value = State> {
    let neighbours = prop::collection::btree_map(0u8..6, 0u8..6, 0..6);
    let forwardings = prop::collection::btree_map(0u8..6, 0u8..6, 0..6);
    let routes = prop::collection::btree_set((0u8..5, 0u8..4), 0..8);
    let all = (neighbours, forwardings, routes, any_peers());
    all.prop_map(|(neighbours, forwardings, routes, peers)| State {
        peers,
        neighbours: neighbours
            .into_iter()
            .map(|(address, to)| Neighbour {
                address: ip(address),
                mac: mac(to),
            })
            .collect(),
        forwardings: forwardings
            .into_iter()
            .map(|(from, to)| Forwarding {
                mac: mac(from),
                to: ip(to),
            })
            .collect(),
        routes: routes.into_iter().map(|(to, via)| route(to, via)).collect(),
    })
}

/// As leases make it: one route to each destination.
fn one_route_each(mut state: State) -> State {
    let mut seen = BTreeSet::new();
    state.routes.retain(|route| seen.insert(route.destination));
    state
}

fn model_of(state: &State) -> Model {
    let neighbours = state.neighbours.iter();
    let forwardings = state.forwardings.iter();
    Model {
        routes: state.routes.iter().copied().collect(),
        neighbours: neighbours.map(|one| (one.address, one.mac)).collect(),
        forwardings: forwardings
            .map(|one| ((one.mac, Family::of(one.to)), one.to))
            .collect(),
        peers: state
            .peers
            .iter()
            .map(|one| ((one.device, one.key), *one))
            .collect(),
    }
}

#[test]
fn a_peer_is_known_before_its_route_and_forgotten_after_it() {
    let peer = State {
        routes: [route(1, 1)].into(),
        neighbours: [Neighbour {
            address: ip(1),
            mac: mac(1),
        }]
        .into(),
        forwardings: [Forwarding {
            mac: mac(1),
            to: ip(9),
        }]
        .into(),
        peers: BTreeSet::new(),
    };
    let told = |from: &State, to: &State| -> Vec<String> {
        changes(from, to).iter().map(Change::to_string).collect()
    };
    let nothing = State::default();
    assert_eq!(
        told(&nothing, &peer),
        [
            "put neighbour 192.168.0.1 02:00:00:00:00:01",
            "put forwarding 02:00:00:00:00:01 to 192.168.0.9",
            "put route 10.5.1.0/24 via 192.168.0.1 in the tunnel",
        ]
    );
    assert_eq!(
        told(&peer, &nothing),
        [
            "remove route 10.5.1.0/24 via 192.168.0.1 in the tunnel",
            "remove forwarding 02:00:00:00:00:01 to 192.168.0.9",
            "remove neighbour 192.168.0.1 02:00:00:00:00:01",
        ]
    );
    assert_eq!(told(&peer, &peer), Vec::<String>::new());
}

#[test]
fn a_key_that_changes_hands_its_subnet_over_without_a_gap() {
    let of = |key| State {
        routes: [Route {
            gateway: IpAddr::from([0; 4]),
            ..route(1, 1)
        }]
        .into(),
        peers: [peer(key, 1, 1)].into(),
        ..State::default()
    };
    let told: Vec<String> = changes(&of(1), &of(2))
        .iter()
        .map(Change::to_string)
        .collect();
    let name = |key| PublicKey([key; 32]).to_string();
    let expected = [
        format!("put peer {} for 10.5.1.0/24 at 192.168.0.1:51820", name(2)),
        format!(
            "remove peer {} for 10.5.1.0/24 at 192.168.0.1:51820",
            name(1)
        ),
    ];
    assert_eq!(told, expected);
    let first = &changes(&State::default(), &of(1))[..];
    assert!(
        matches!(first, [Change::PutPeer(_), Change::PutRoute(_)]),
        "{first:?}"
    );
}

#[test]
fn another_address_replaces_in_place_and_removes_nothing() {
    let at = |to: u8| State {
        forwardings: [Forwarding {
            mac: mac(1),
            to: ip(to),
        }]
        .into(),
        ..State::default()
    };
    let put = Change::PutForwarding(Forwarding {
        mac: mac(1),
        to: ip(2),
    });
    assert_eq!(changes(&at(1), &at(2)), [put]);
}

proptest! {
    #[test]
    fn from_every_state_the_changes_lead_to_exactly_the_wanted_one(
        observed in any_state(), desired in any_state(),
    ) {
        let desired = one_route_each(desired);
        let mut model = model_of(&observed);
        for change in changes(&observed, &desired) {
            model.apply(&change);
        }
        prop_assert_eq!(model.observe(), desired.clone());
        prop_assert!(changes(&model.observe(), &desired).is_empty());
    }

    /// A failed request leaves an entry as it was: the next round mends it.
    #[test]
    fn whatever_fails_is_mended_by_the_next_round(
        observed in any_state(), desired in any_state(), fails in prop::collection::vec(any::<bool>(), 40),
    ) {
        let desired = one_route_each(desired);
        let mut model = model_of(&observed);
        let first = changes(&observed, &desired);
        for (change, fails) in first.iter().zip(fails) {
            if !fails {
                model.apply(change);
            }
        }
        for change in changes(&model.observe(), &desired) {
            model.apply(&change);
        }
        prop_assert_eq!(model.observe(), desired);
    }
}

//! Bytes written by hand from the kernel's `wireguard.h`, as on a machine whose lowest byte comes
//! first: this host's kernel may not have wireguard. The kernel itself is asked in QEMU.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|one| one.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|two| (two[0] * 16 + two[1]) as u8)
        .collect()
}

fn preshared() -> Secret {
    Secret::known([0x22; 32]).expect("not all zeros")
}

fn one() -> Peer {
    Peer {
        device: Family::V4,
        key: PublicKey([0x11; 32]),
        endpoint: "192.168.7.11:51820".parse().ok(),
        allowed: Subnets {
            v4: "10.5.3.0/24".parse().ok(),
            v6: None,
        },
        surplus: 0,
        keepalive: 25,
        preshared: Some(preshared()),
    }
}

/// Between the header of the list and its end.
const PEER: &str = "2400 0100 1111111111111111111111111111111111111111111111111111111111111111
    0800 0300 02000000
    2400 0200 2222222222222222222222222222222222222222222222222222222222222222
    1400 0400 0200 ca6c c0a8070b 0000000000000000
    0600 0500 1900 0000
    2000 0980 1c00 0080
      0600 0100 0200 0000
      0800 0200 0a050300
      0500 0300 18 000000";

#[test]
fn a_device_is_given_its_key_and_port() {
    let expected = "0800 0100 07000000
        2400 0300 2222222222222222222222222222222222222222222222222222222222222222
        0600 0600 6cca 0000";
    let bytes = device_attributes(7, &preshared(), 51820);
    assert_eq!(bytes, hex(expected));
}

#[test]
fn a_peer_is_put_with_all_it_has() {
    let expected = format!("0800 0100 07000000 9400 0880 9000 0080 {PEER}");
    let bytes = put_attributes(7, &one());
    assert_eq!(bytes, hex(&expected));
}

#[test]
fn a_peer_over_ipv6_without_a_shared_key_clears_it_and_has_both_subnets() {
    let peer = Peer {
        endpoint: "[fd01::2]:51821".parse().ok(),
        allowed: Subnets {
            v4: "10.5.3.0/24".parse().ok(),
            v6: "fd00:5:0:3::/64".parse().ok(),
        },
        keepalive: 0,
        preshared: None,
        ..one()
    };
    let expected = "0800 0100 07000000
        c800 0880 c400 0080
        2400 0100 1111111111111111111111111111111111111111111111111111111111111111
        0800 0300 02000000
        2400 0200 0000000000000000000000000000000000000000000000000000000000000000
        2000 0400 0a00 ca6d 00000000 fd010000000000000000000000000002 00000000
        0600 0500 0000 0000
        4800 0980
          1c00 0080 0600 0100 0200 0000 0800 0200 0a050300 0500 0300 18 000000
          2800 0080 0600 0100 0a00 0000 1400 0200 fd000005000000030000000000000000
            0500 0300 40 000000";
    assert_eq!(put_attributes(7, &peer), hex(expected));
}

#[test]
fn a_peer_is_removed_by_its_key() {
    let expected = "0800 0100 07000000 3400 0880 3000 0080
        2400 0100 1111111111111111111111111111111111111111111111111111111111111111
        0800 0300 01000000";
    assert_eq!(remove_attributes(7, &one()), hex(expected));
}

/// An answer of the kernel: index, name, both keys of the device, flags, port and mark, then peers
/// with a handshake and counters.
const ANSWER: &str = "0800 0100 07000000
    0f00 0200 666c616e6e656c2d776700 00
    0600 0600 6cca 0000
    0800 0700 00000000
    2400 0300 2222222222222222222222222222222222222222222222222222222222222222
    2400 0400 3333333333333333333333333333333333333333333333333333333333333333
    c000 0880 bc00 0080
    2400 0100 1111111111111111111111111111111111111111111111111111111111111111
    2400 0200 2222222222222222222222222222222222222222222222222222222222222222
    1400 0600 e803000000000000 0100000000000000
    0600 0500 1900 0000
    0c00 0800 0700000000000000
    0c00 0700 0900000000000000
    0800 0a00 01000000
    1400 0400 0200 ca6c c0a8070b 0000000000000000
    2000 0980 1c00 0080 0500 0300 18 000000 0600 0100 0200 0000 0800 0200 0a050300";

#[test]
fn an_answer_is_understood_also_in_parts() {
    let mut held = Held::default();
    read(&mut held, &hex(ANSWER));
    let peer = Seen {
        key: PublicKey([0x11; 32]),
        preshared: Some(preshared()),
        endpoint: "192.168.7.11:51820".parse().ok(),
        keepalive: 25,
        last_handshake: Some(1000),
        received_bytes: 9,
        sent_bytes: 7,
        allowed: vec![(IpAddr::from([10, 5, 3, 0]), 24)],
    };
    let expected = Held {
        key: Some(preshared()),
        port: 51820,
        peers: vec![peer.clone()],
    };
    assert_eq!(held, expected);
    // The rest of the peer's ranges, then another peer that was never heard of.
    let more = "7800 0880
        4800 0080
        2400 0100 1111111111111111111111111111111111111111111111111111111111111111
        2000 0980 1c00 0080 0600 0100 0200 0000 0800 0200 0a050400 0500 0300 18 000000
        2c00 0080
        2400 0100 4444444444444444444444444444444444444444444444444444444444444444
        0400 0980";
    read(&mut held, &hex(more));
    assert_eq!(held.peers[0].allowed.len(), 2);
    assert_eq!(held.peers[1].key, PublicKey([0x44; 32]));
    assert_eq!(held.peers[1].last_handshake, None);
    assert_eq!(held.peers.len(), 2);
}

#[test]
fn what_was_put_is_compared_as_equal() {
    let mut held = Held::default();
    read(&mut held, &hex(ANSWER));
    assert_eq!(compared(Family::V4, &held.peers[0], None, 5000), one());
    let mut spoilt = held.peers[0].clone();
    spoilt.allowed.push((IpAddr::from([10, 5, 4, 0]), 24));
    let spoilt = compared(Family::V4, &spoilt, None, 5000);
    assert_eq!(
        spoilt,
        Peer {
            surplus: 1,
            ..one()
        }
    );
}

#[test]
fn a_peer_that_moved_on_is_left_alone_while_it_answers() {
    let elsewhere: Option<SocketAddr> = "203.0.113.9:4242".parse().ok();
    let told = one().endpoint;
    let mut held = Held::default();
    read(&mut held, &hex(ANSWER));
    let mut seen = held.peers.remove(0);
    seen.endpoint = elsewhere;
    // The handshake was at 1000.
    let cases = [
        (told, 1000, told),
        (told, 1179, told),
        (told, 1180, elsewhere),
        (told, 999, elsewhere),
        (None, 1000, elsewhere),
    ];
    for (told, now, expected) in cases {
        let peer = compared(Family::V4, &seen, told, now);
        assert_eq!(peer.endpoint, expected, "{told:?} at {now}");
    }
}

proptest! {
    #[test]
    fn whatever_the_kernel_answers_is_read_without_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..400, to: u8,
    ) {
        let mut held = Held::default();
        read(&mut held, &bytes);
        let mut answer = hex(ANSWER);
        if let Some(byte) = answer.get_mut(at) {
            *byte = to;
        }
        read(&mut held, &answer);
    }
}

//! From the bytes of a question to what becomes of it: pure.

use std::net::IpAddr;

use super::message::{A, AAAA, ANY, Code, Extension, IN, PTR, Query, Unreadable};
use super::zone::{Found, Zone};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Silence,
    Answer(Vec<u8>),
    /// It is for the host's resolver. When that fails, this is the answer.
    Elsewhere(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Datagram,
    Stream,
}

/// Each turn another address comes first, so that all of them have work.
pub fn reply(bytes: &[u8], zone: &Zone, way: Way, turn: usize) -> Reply {
    let query = match Query::parse(bytes) {
        Ok(query) => query,
        Err(Unreadable::Silence) => return Reply::Silence,
        Err(Unreadable::Refused(answer)) => return Reply::Answer(answer),
    };
    let found = zone.find(&query.labels);
    if found == Found::Elsewhere {
        return Reply::Elsewhere(query.refusal(Code::Failed));
    }
    Reply::Answer(match query.extension {
        Extension::Malformed => query.refusal(Code::Malformed),
        Extension::UnknownVersion => query.refusal(Code::Well),
        _ if ![IN, ANY].contains(&query.class) => query.refusal(Code::Refused),
        _ => {
            let most = match way {
                Way::Datagram => query.datagram(),
                Way::Stream => u16::MAX.into(),
            };
            let (code, addresses) = match found {
                Found::Names(names) => {
                    let asked = names.iter().filter(|_| [PTR, ANY].contains(&query.kind));
                    return Reply::Answer(query.pointing(asked, most));
                }
                Found::Addresses(addresses) => (Code::Well, Some(addresses)),
                Found::NoSuchName | Found::Elsewhere => (Code::NoSuchName, None),
            };
            let asked = |address: &&IpAddr| match address {
                IpAddr::V4(_) => [A, ANY].contains(&query.kind),
                IpAddr::V6(_) => [AAAA, ANY].contains(&query.kind),
            };
            let found = addresses.into_iter().flatten().filter(asked);
            let mut found: Vec<IpAddr> = found.copied().collect();
            if !found.is_empty() {
                let first = turn % found.len();
                found.rotate_left(first);
            }
            query.answer(code, &found, zone.depth(), most)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::place::Places;

    fn zone() -> Zone {
        let many = (1..=100)
            .map(|last| IpAddr::from([10, 5, 0, last]))
            .collect();
        let both = vec![IpAddr::from([10, 5, 1, 1]), "fd00::1".parse().expect("v6")];
        let places = Places {
            units: [
                ("many.service".parse().expect("name"), many),
                ("db.service".parse().expect("name"), both),
            ]
            .into(),
        };
        Zone::new("lab", [&places])
    }

    /// Code, answers, and whether it is cut.
    fn ask(name: &str, kind: u16, class: u16, way: Way, turn: usize) -> (u8, u16, bool, Vec<u8>) {
        let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(class.to_be_bytes());
        match reply(&bytes, &zone(), way, turn) {
            Reply::Answer(answer) => (
                answer[3] & 15,
                u16::from_be_bytes([answer[6], answer[7]]),
                answer[2] & 2 != 0,
                answer,
            ),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn codes_and_counts_are_right() {
        let cases = [
            ("DB.lab.strake", A, IN, (0, 1, false)),
            ("db.lab.strake", AAAA, IN, (0, 1, false)),
            ("db.lab.strake", ANY, IN, (0, 2, false)),
            ("db.lab.strake", 15, IN, (0, 0, false)),
            ("many.lab.strake", AAAA, IN, (0, 0, false)),
            ("no.lab.strake", A, IN, (3, 0, false)),
            ("lab.strake", A, IN, (0, 0, false)),
            ("db.lab.strake", A, 3, (5, 0, false)),
            ("1.1.5.10.in-addr.arpa", PTR, IN, (0, 1, false)),
            ("1.1.5.10.in-addr.arpa", A, IN, (0, 0, false)),
            ("many.lab.strake", A, IN, (0, 29, true)),
        ];
        for (name, kind, class, expected) in cases {
            let (code, count, is_cut, _) = ask(name, kind, class, Way::Datagram, 0);
            assert_eq!((code, count, is_cut), expected, "{name} {kind} {class}");
        }
        let (code, count, is_cut, _) = ask("many.lab.strake", A, IN, Way::Stream, 0);
        assert_eq!((code, count, is_cut), (0, 100, false));
    }

    #[test]
    fn an_address_is_answered_with_a_whole_name() {
        let (.., answer) = ask("1.1.5.10.in-addr.arpa", PTR, IN, Way::Datagram, 0);
        assert!(
            answer.ends_with(b"\x02db\x03lab\x06strake\x00"),
            "{answer:?}"
        );
    }

    #[test]
    fn another_address_comes_first_each_time() {
        let first = |turn| {
            let (.., answer) = ask("many.lab.strake", A, IN, Way::Stream, turn);
            // Behind the header, the question and the record's head of 12 bytes.
            answer[12 + 21 + 12 + 3]
        };
        assert_eq!([0, 1, 99, 100].map(first), [1, 2, 100, 1]);
    }

    #[test]
    fn what_is_not_of_the_cluster_is_for_the_hosts_resolver() {
        let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x07example\x00\x00\x01\x00\x01");
        let Reply::Elsewhere(failure) = reply(&bytes, &zone(), Way::Datagram, 0) else {
            panic!("it was answered");
        };
        assert_eq!((&failure[..2], failure[3] & 15), (&[0, 7][..], 2));
    }
}

use proptest::prelude::*;

use super::*;

/// Flags of a usual query.
const USUAL: u16 = RECURSION_DESIRED;

fn query(name: &str, kind: u16, size: Option<u16>) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd];
    for number in [USUAL, 1, 0, 0, u16::from(size.is_some())] {
        bytes.extend(number.to_be_bytes());
    }
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(IN.to_be_bytes());
    if let Some(size) = size {
        bytes.extend([0, 0, 41]);
        bytes.extend(size.to_be_bytes());
        bytes.extend([0; 6]);
    }
    bytes
}

fn v4(count: u8) -> Vec<IpAddr> {
    (0..count)
        .map(|last| IpAddr::from([10, 5, 0, last]))
        .collect()
}

#[test]
fn a_question_is_read_in_lower_case_and_given_back_as_it_was() {
    let bytes = query("WeB.lab.Strake", A, Some(4096));
    let query = Query::parse(&bytes).expect("a query");
    let labels: Vec<&[u8]> = query.labels.iter().map(Vec::as_slice).collect();
    assert_eq!(labels, [&b"web"[..], b"lab", b"strake"]);
    assert_eq!((query.kind, query.class), (A, IN));
    assert_eq!(query.datagram(), DATAGRAM);
    let answer = query.answer(Code::Well, &v4(1), 2, DATAGRAM);
    let question = &bytes[HEADER..bytes.len() - EXTENSION];
    assert_eq!(&answer[HEADER..HEADER + question.len()], question);
}

/// Written by hand after RFC 1035.
#[test]
fn an_answer_is_these_bytes() {
    let query = Query::parse(&query("a.b", A, Some(1400))).expect("a query");
    let mut wanted = vec![0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 1];
    wanted.extend([1, b'a', 1, b'b', 0, 0, 1, 0, 1]);
    wanted.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 5, 0, 0]);
    wanted.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(query.answer(Code::Well, &v4(1), 1, DATAGRAM), wanted);
}

#[test]
fn without_an_address_the_zone_says_for_how_long() {
    let query = Query::parse(&query("no.a.b", AAAA, None)).expect("a query");
    let answer = query.answer(Code::NoSuchName, &[], 2, DATAGRAM);
    assert_eq!(
        &answer[..12],
        [0xab, 0xcd, 0x85, 0x83, 0, 1, 0, 0, 0, 1, 0, 0]
    );
    // The owner is the name `a.b` within the question's, behind `no`.
    let soa = &answer[HEADER + 12..];
    assert_eq!(soa[..6], [0xc0, 15, 0, 6, 0, 1]);
    assert_eq!(answer[answer.len() - 4..], TTL.to_be_bytes());
    let length = usize::from(u16::from_be_bytes([soa[10], soa[11]]));
    assert_eq!(soa.len(), 12 + length);
}

#[test]
fn what_does_not_fit_is_said_to_be_cut() {
    let cases = [
        (None, 512, 29),
        (Some(600), 600, 34),
        (Some(9000), 1232, 74),
    ];
    for (size, most, fitting) in cases {
        let query = Query::parse(&query("a.b", A, size)).expect("a query");
        let answer = query.answer(Code::Well, &v4(200), 1, query.datagram());
        assert!(answer.len() <= most, "{size:?}: {} bytes", answer.len());
        let count = u16::from_be_bytes([answer[6], answer[7]]);
        let room = most - HEADER - 9 - query.extended();
        assert_eq!(usize::from(count), room / 16, "{size:?}");
        assert!(usize::from(count) >= fitting, "{size:?}: {count}");
        assert_eq!(answer[2] & 2, 2, "{size:?}: it says so");
        let whole = query.answer(Code::Well, &v4(200), 1, usize::from(u16::MAX));
        assert_eq!(
            (whole[2] & 2, u16::from_be_bytes([whole[6], whole[7]])),
            (0, 200)
        );
    }
}

#[test]
fn what_is_no_plain_query_is_refused_or_passed_over() {
    let good = query("a.b", A, None);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Query::parse(&bytes)
    };
    let code = |parsed: Result<Query, Unreadable>| match parsed {
        Err(Unreadable::Refused(bytes)) => {
            assert_eq!(
                (bytes.len(), &bytes[..2], bytes[2] & 0x80),
                (12, &good[..2], 0x80)
            );
            Some(bytes[3])
        }
        Err(Unreadable::Silence) => None,
        Ok(query) => panic!("{query:?}"),
    };
    assert_eq!(code(changed(2, 0x80)), None, "an answer");
    assert_eq!(code(Query::parse(&good[..11])), None, "half a header");
    assert_eq!(code(changed(2, 0x28)), Some(4), "an update");
    assert_eq!(code(changed(5, 2)), Some(1), "two questions");
    assert_eq!(code(changed(12, 0xc0)), Some(1), "a pointer");
    assert_eq!(code(changed(12, 64)), Some(1), "a label of 64 bytes");
    assert_eq!(code(Query::parse(&good[..good.len() - 1])), Some(1), "cut");
    let long = ["a"; 128].join(".");
    assert_eq!(
        code(Query::parse(&query(&long, A, None))),
        Some(1),
        "256 bytes"
    );
    let longest = ["a"; 127].join(".");
    assert!(Query::parse(&query(&longest, A, None)).is_ok());
}

#[test]
fn extensions_are_taken_once_and_in_the_version_there_is() {
    let extension = |bytes: &[u8]| Query::parse(bytes).expect("a query").extension;
    let mut bytes = query("a.b", A, Some(700));
    assert_eq!(extension(&bytes), Extension::Takes(700));
    let version = bytes.len() - 5;
    bytes[version] = 1;
    assert_eq!(extension(&bytes), Extension::UnknownVersion);
    let parsed = Query::parse(&bytes).expect("a query");
    let refusal = parsed.refusal(Code::Well);
    assert_eq!(refusal[refusal.len() - 6], 1, "the high bits of 16");
    bytes.push(0);
    assert_eq!(
        extension(&bytes),
        Extension::Malformed,
        "something behind it"
    );
    let mut twice = query("a.b", A, Some(700));
    let record = twice[twice.len() - EXTENSION..].to_vec();
    twice.extend(record);
    twice[11] = 2;
    assert_eq!(extension(&twice), Extension::Malformed);
}

proptest! {
    #[test]
    fn any_bytes_are_answered_or_passed_over(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(query) = Query::parse(&bytes) {
            let answer = query.answer(Code::Well, &v4(255), 0, query.datagram());
            prop_assert!(answer.len() <= query.datagram());
            prop_assert_eq!(&answer[..2], &bytes[..2]);
        }
    }

    /// Bytes near to a real query, so that all of the parser is reached.
    #[test]
    fn a_spoilt_query_is_answered_or_passed_over(
        labels in proptest::collection::vec("[a-z]{1,63}", 1..5),
        spoilt in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        zone in 0_usize..9,
    ) {
        let mut bytes = query(&labels.join("."), ANY, Some(1232));
        for (index, byte) in spoilt {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(query) = Query::parse(&bytes) {
            for addresses in [&v4(3)[..], &[]] {
                let answer = query.answer(Code::Well, addresses, zone, DATAGRAM);
                prop_assert!(answer.len() <= DATAGRAM);
            }
            prop_assert!(!query.refusal(Code::Failed).is_empty());
        }
    }
}

//! The whole way from a root to a channel's targets, and every way it must be refused.

use std::error::Error;

use crate::publisher::{Files, NOW, Publisher, WEEK, key, public, role, sign};
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::chain::Chain;
use strake_updates::tuf::role::Targets;
use strake_updates::tuf::workflow::{Refused, Seen};

fn now() -> Time {
    Time::from_unix(NOW)
}

fn walk(files: &Files, seen: Seen, clock: Time) -> Result<(Targets, Seen), Refused> {
    let timed = Chain::start(&files.root)?
        .close(seen, clock)?
        .timestamp(&files.timestamp)?;
    let verified = timed.snapshot(&files.snapshot)?.targets(&files.targets)?;
    let channel = verified.channel("stable", &files.channel)?;
    Ok((channel, verified.seen().clone()))
}

fn chain_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

#[track_caller]
fn check_refused(files: &Files, seen: Seen, expected: &str) {
    let error = walk(files, seen, now()).expect_err("the repository must be refused");
    let text = chain_text(&error);
    assert!(text.contains(expected), "{text}\ndoes not say\n{expected}");
}

#[test]
fn a_sound_repository_is_believed_and_remembered() {
    let (channel, seen) = walk(&Publisher::new().files(), Seen::default(), now()).unwrap();
    let names: Vec<_> = channel.targets.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["stable/1.0.0.json"],
        "targets outside the channel's paths are left out"
    );
    assert_eq!(
        (seen.timestamp, seen.snapshot, seen.roles["stable.json"]),
        (1, 1, 1)
    );
    assert_eq!(seen.clock, now());
}

#[test]
fn altered_files_are_refused_whichever_they_are() {
    let files = || Publisher::new().files();
    let change = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replacen("2030", "2031", 1).into_bytes()
    };
    type Pick = fn(&mut Files) -> &mut Vec<u8>;
    let cases: [(Pick, &str); 5] = [
        (
            |f| &mut f.root,
            "root.json is refused: too few signatures: 0 of the 2",
        ),
        (
            |f| &mut f.timestamp,
            "timestamp.json is refused: too few signatures: 0 of the 1",
        ),
        (|f| &mut f.snapshot, "1.snapshot.json is refused: sha256 is"),
        (|f| &mut f.targets, "1.targets.json is refused: sha256 is"),
        (|f| &mut f.channel, "1.stable.json is refused: sha256 is"),
    ];
    for (pick, expected) in cases {
        let mut files = files();
        let bytes = pick(&mut files);
        *bytes = change(bytes);
        check_refused(&files, Seen::default(), expected);
    }
}

#[test]
fn each_role_needs_its_own_keys() {
    let mut stolen = Publisher::new();
    stolen.offline = key(3);
    check_refused(
        &stolen.files(),
        Seen::default(),
        "1.targets.json is refused: too few",
    );
    let mut stolen = Publisher::new();
    stolen.channel_key = key(4);
    check_refused(
        &stolen.files(),
        Seen::default(),
        "1.stable.json is refused: too few",
    );
    let mut stolen = Publisher::new();
    stolen.root_signers.pop();
    check_refused(
        &stolen.files(),
        Seen::default(),
        "1 of the 2 signatures that root needs",
    );
}

#[test]
fn expired_files_are_refused_whichever_they_are() {
    type Expire = fn(&mut Publisher) -> &mut Time;
    let cases: [(Expire, &str); 5] = [
        (
            |p| &mut p.root.head.expires,
            "1.root.json is refused: expires is 2029-12-31",
        ),
        (
            |p| &mut p.timestamp.head.expires,
            "timestamp.json is refused: expires is",
        ),
        (
            |p| &mut p.snapshot.head.expires,
            "1.snapshot.json is refused: expires is",
        ),
        (
            |p| &mut p.targets.head.expires,
            "1.targets.json is refused: expires is",
        ),
        (
            |p| &mut p.channel.head.expires,
            "1.stable.json is refused: expires is",
        ),
    ];
    for (expires, expected) in cases {
        let mut publisher = Publisher::new();
        *expires(&mut publisher) = Time::from_unix(NOW - 1);
        check_refused(&publisher.files(), Seen::default(), expected);
    }
}

#[test]
fn a_file_expires_in_the_second_it_names() {
    let files = Publisher::new().files();
    let at = |seconds| walk(&files, Seen::default(), Time::from_unix(seconds));
    assert!(at(NOW + WEEK - 1).is_ok());
    assert!(at(NOW + WEEK).is_err());
}

#[test]
fn a_clock_in_1970_does_not_bring_back_what_expired() {
    let old = Publisher::new().files();
    let epoch = Time::from_unix(0);
    let mut later = Publisher::new();
    later.publish();
    let issued = Time::from_unix(NOW + 2 * WEEK);
    later.timestamp.issued = Some(issued);
    for head in [
        &mut later.timestamp.head,
        &mut later.snapshot.head,
        &mut later.targets.head,
        &mut later.channel.head,
        &mut later.root.head,
    ] {
        head.expires = Time::from_unix(NOW + 3 * WEEK);
    }
    let (_, seen) = walk(&later.files(), Seen::default(), epoch).unwrap();
    assert_eq!(seen.clock, issued);
    let forgot_versions = Seen {
        clock: seen.clock,
        ..Seen::default()
    };
    let error = walk(&old, forgot_versions, epoch).unwrap_err();
    assert!(chain_text(&error).contains("expires is 2030-01-08T00:00:00Z, and it is 2030-01-15"));
}

#[test]
fn older_versions_than_seen_are_refused() {
    let old = Publisher::new().files();
    let mut publisher = Publisher::new();
    publisher.publish();
    let (_, seen) = walk(&publisher.files(), Seen::default(), now()).unwrap();
    check_refused(
        &old,
        seen.clone(),
        "timestamp is at version 1, but version 2 was seen",
    );

    let mut mixed = Publisher::new();
    mixed.timestamp.head.version = 3;
    check_refused(
        &mixed.files(),
        seen.clone(),
        "snapshot is at version 1, but version 2 was seen",
    );

    mixed.snapshot.head.version = 3;
    check_refused(
        &mixed.files(),
        seen.clone(),
        "3.snapshot.json is refused: stable.json is at",
    );

    let mut files = publisher.files();
    let mut snapshot = publisher.snapshot.clone();
    snapshot.head.version = 3;
    files.snapshot = sign(snapshot, &[&publisher.online]);
    let mut timestamp = publisher.timestamp.clone();
    (timestamp.head.version, timestamp.meta.snapshot.version) = (3, 3);
    (
        timestamp.meta.snapshot.length,
        timestamp.meta.snapshot.hashes,
    ) = (None, None);
    files.timestamp = sign(timestamp, &[&publisher.online]);
    check_refused(
        &files,
        seen,
        "3.snapshot.json is refused: it has no entry for stable.json",
    );
}

#[test]
fn parts_of_different_states_do_not_mix() {
    let old = Publisher::new().files();
    let mut publisher = Publisher::new();
    publisher.publish();
    for (mix, expected) in [
        (
            Files {
                snapshot: old.snapshot,
                ..publisher.files()
            },
            "2.snapshot.json is refused",
        ),
        (
            Files {
                targets: old.targets,
                ..publisher.files()
            },
            "2.targets.json is refused",
        ),
        (
            Files {
                channel: old.channel,
                ..publisher.files()
            },
            "2.stable.json is refused",
        ),
    ] {
        check_refused(&mix, Seen::default(), expected);
    }
}

#[test]
fn endless_files_are_refused_unparsed() {
    let mut files = Publisher::new().files();
    files.snapshot.extend(vec![b' '; 4096]);
    check_refused(
        &files,
        Seen::default(),
        "1.snapshot.json is refused: length is",
    );
    let mut files = Publisher::new().files();
    files.timestamp.extend(vec![b' '; 1 << 20]);
    check_refused(&files, Seen::default(), "it is longer than 16384 bytes");
}

#[test]
fn root_steps_one_by_one_with_the_old_keys_consent() {
    let first = Publisher::new();
    let files = first.files();
    let next = |version, signers: &[u8], keys: &[u8]| {
        let mut root = first.root.clone();
        root.head.version = version;
        let keys: Vec<_> = keys.iter().map(|seed| key(*seed)).collect();
        let refs: Vec<_> = keys.iter().collect();
        root.roles.root = role(&refs, 2);
        root.keys.extend(
            keys.iter()
                .map(|key| (public(key).id().unwrap(), public(key))),
        );
        let signers: Vec<_> = signers.iter().map(|seed| key(*seed)).collect();
        sign(root, &signers.iter().collect::<Vec<_>>())
    };
    for (version, signers, expected) in [
        (2, &[1, 2, 11, 12][..], None),
        (
            3,
            &[1, 2, 11, 12],
            Some("2.root.json is refused: version is 3, expected 2"),
        ),
        (
            1,
            &[1, 2, 11, 12],
            Some("2.root.json is refused: version is 1, expected 2"),
        ),
        (
            2,
            &[1, 11, 12],
            Some("1 of the 2 signatures that root needs"),
        ),
        (
            2,
            &[1, 2, 11],
            Some("1 of the 2 signatures that root needs"),
        ),
        (2, &[11, 12], Some("0 of the 2 signatures that root needs")),
    ] {
        let mut chain = Chain::start(&files.root).unwrap();
        let outcome = chain.extend(&next(version, signers, &[11, 12]));
        match expected {
            None => assert_eq!((outcome.unwrap(), chain.next_version()), ((), 3)),
            Some(expected) => {
                let text = chain_text(&outcome.unwrap_err());
                assert!(text.contains(expected), "{text}");
                assert_eq!(chain.next_version(), 2, "a refused root changes nothing");
            }
        }
    }
}

#[test]
fn removing_a_stolen_online_key_undoes_its_fast_forward() {
    let mut thief = Publisher::new();
    thief.timestamp.head.version = u64::MAX >> 1;
    thief.snapshot.head.version = u64::MAX >> 1;
    let (_, seen) = walk(&thief.files(), Seen::default(), now()).unwrap();
    let mut honest = Publisher::new();
    honest.publish();
    check_refused(
        &honest.files(),
        seen.clone(),
        "timestamp is at version 2, but version 92",
    );

    let stolen = public(&honest.online).id().unwrap();
    honest.online = key(6);
    honest.root.keys.remove(&stolen);
    honest
        .root
        .keys
        .insert(public(&key(6)).id().unwrap(), public(&key(6)));
    honest.root.roles.timestamp = role(&[&key(6)], 1);
    honest.root.roles.snapshot = role(&[&key(6)], 1);
    let (_, seen) = walk(&honest.files(), seen, now()).unwrap();
    assert_eq!((seen.timestamp, seen.snapshot), (2, 2));
}

#[test]
fn a_key_under_a_false_id_is_refused() {
    let mut publisher = Publisher::new();
    let id = public(&publisher.offline).id().unwrap();
    publisher.root.keys.insert(id, public(&key(9)));
    check_refused(
        &publisher.files(),
        Seen::default(),
        "is listed under another id than its own",
    );
    let mut publisher = Publisher::new();
    let id = public(&publisher.channel_key).id().unwrap();
    publisher
        .targets
        .delegations
        .as_mut()
        .unwrap()
        .keys
        .insert(id, public(&key(9)));
    check_refused(
        &publisher.files(),
        Seen::default(),
        "1.targets.json is refused: it cannot be",
    );
}

#[test]
fn a_channel_that_is_not_delegated_has_no_targets() {
    let files = Publisher::new().files();
    let anchor = Chain::start(&files.root)
        .unwrap()
        .close(Seen::default(), now())
        .unwrap();
    let view = anchor
        .timestamp(&files.timestamp)
        .unwrap()
        .snapshot(&files.snapshot)
        .unwrap();
    let verified = view.targets(&files.targets).unwrap();
    let error = verified.channel("beta", &files.channel).unwrap_err();
    assert_eq!(
        chain_text(&error),
        "1.targets.json is refused: no role beta is delegated"
    );
}

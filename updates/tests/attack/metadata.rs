//! Rows 2, 3, 4, 9 and 13: old, frozen, mixed or confused metadata, and clocks that are wrong.

use std::fs;

use strake_updates::policy::Choice;
use strake_updates::time::{Span, Timestamp as Time};
use strake_updates::tuf::role::{Snapshot, Targets};

use super::forger::{list, meta, newest, publish_timestamp, read, sign, stable, steal};
use super::{forging, machine_of, now, refused, site};
use crate::network::server::Server;
use crate::workshop::files;

#[tokio::test]
async fn row_2_an_older_state_is_served_again() {
    let (workshop, machine, _) = site();
    let old = files(&workshop.repo().join("metadata"));
    workshop.ok("retract 1.1.0 --channel stable --reason bad");
    workshop.ok("sign");
    let server = Server::honest(workshop.repo()).await;
    assert_eq!(
        machine.update(&server.url, now()).await.unwrap(),
        Choice::Stay
    );
    for (path, content) in old {
        fs::write(path, content).unwrap();
    }
    let says = [
        "timestamp.json is refused",
        "timestamp is at version",
        "was seen before (rollback)",
    ];
    refused(&machine, &server.url, now(), &says).await;
}

#[tokio::test]
async fn row_2_an_older_release_is_offered_by_whoever_holds_the_online_keys() {
    let (workshop, machine, _) = site();
    let server = Server::honest(workshop.repo()).await;
    machine.check(&server.url, now()).await.unwrap();
    let (_, version) = stable(&workshop);
    let path = workshop
        .repo()
        .join(format!("metadata/{}.stable.json", version - 1));
    list(&workshop, "stable", version - 1, &fs::read(path).unwrap());
    let says = [
        "snapshot.json is refused",
        "stable.json is at version",
        "(rollback)",
    ];
    refused(&machine, &server.url, now(), &says).await;
}

#[tokio::test]
async fn row_2_a_release_below_the_one_that_runs_is_not_taken() {
    let (workshop, mut machine, _) = site();
    machine.facts.running = super::machine::version("1.2.0");
    let server = Server::honest(workshop.repo()).await;
    let before = machine.disk();
    assert_eq!(
        machine.update(&server.url, now()).await.unwrap(),
        Choice::Stay
    );
    assert!(machine.disk() == before);
}

#[tokio::test]
async fn row_3_new_releases_are_hidden_by_serving_the_same_forever() {
    let (workshop, machine, _) = site();
    let server = Server::honest(workshop.repo()).await;
    machine.check(&server.url, now()).await.unwrap();
    let later = now().after(Span::days(8));
    refused(
        &machine,
        &server.url,
        later,
        &["timestamp.json is refused: expires is"],
    )
    .await;
    workshop.ok("refresh");
    machine.update(&server.url, now()).await.unwrap();
}

#[tokio::test]
async fn row_4_files_of_two_states_are_mixed() {
    let (workshop, machine, _) = site();
    let (_, version) = stable(&workshop);
    let metadata = workshop.repo().join("metadata");
    let older = fs::read(metadata.join(format!("{}.stable.json", version - 1))).unwrap();
    let name = format!("{version}.stable.json");
    let server = forging(&workshop, vec![(name, older)]).await;
    refused(
        &machine,
        &server.url,
        now(),
        &["stable.json is refused: ", "sha256 is"],
    )
    .await;

    let (timestamp, _) = newest(&workshop);
    let number = timestamp.meta.snapshot.version;
    let older = fs::read(metadata.join(format!("{}.snapshot.json", number - 1))).unwrap();
    let name = format!("{number}.snapshot.json");
    let server = forging(&workshop, vec![(name, older)]).await;
    let machine = machine_of(&workshop);
    refused(
        &machine,
        &server.url,
        now(),
        &["snapshot.json is refused: ", "sha256 is"],
    )
    .await;
}

#[tokio::test]
async fn row_9_one_kind_of_file_is_served_as_another() {
    let (workshop, machine, _) = site();
    let (timestamp, _) = newest(&workshop);
    let path = workshop.repo().join("metadata/timestamp.json");
    // Signed by the right key, but it says that it is another kind.
    let mut confused = timestamp.clone();
    confused.head.kind = "snapshot".into();
    fs::write(&path, sign(confused, &steal(&workshop, "timestamp"))).unwrap();
    let server = Server::honest(workshop.repo()).await;
    let says = ["timestamp.json is refused: ", "_type"];
    refused(&machine, &server.url, now(), &says).await;

    // The timestamp where the snapshot should be, listed and signed by the snapshot's key.
    let version = timestamp.meta.snapshot.version + 1;
    let mut confused = timestamp.clone();
    confused.head.version = version;
    let confused = sign(confused, &steal(&workshop, "snapshot"));
    let name = format!("metadata/{version}.snapshot.json");
    fs::write(workshop.repo().join(name), &confused).unwrap();
    let mut listing = timestamp.clone();
    listing.head.version += 1;
    listing.meta.snapshot = meta(version, &confused);
    publish_timestamp(&workshop, listing);
    let says = ["snapshot.json is refused: "];
    refused(&machine, &server.url, now(), &says).await;
}

#[tokio::test]
async fn row_9_one_channel_does_not_speak_for_another() {
    let (workshop, machine, _) = site();
    let (mut targets, version) = stable(&workshop);
    targets.head.version = version + 1;
    let forged = sign(targets, &steal(&workshop, "alpha"));
    list(&workshop, "stable", version + 1, &forged);
    let server = Server::honest(workshop.repo()).await;
    let says = ["stable.json is refused: too few signatures"];
    refused(&machine, &server.url, now(), &says).await;

    // And what alpha signs under names of stable is no offer of stable.
    let mut targets = read::<Targets>(&workshop, &format!("{version}.stable.json"));
    targets.head.version = 9;
    let forged = sign(targets, &steal(&workshop, "alpha"));
    list(&workshop, "alpha", 9, &forged);
    let mut machine = machine;
    machine.facts.channel = "alpha".parse().unwrap();
    assert_eq!(
        machine.update(&server.url, now()).await.unwrap(),
        Choice::Stay
    );
}

#[tokio::test]
async fn row_9_bytes_after_or_beside_what_is_signed_change_nothing() {
    let (workshop, machine, _) = site();
    let path = workshop.repo().join("metadata/timestamp.json");
    let good = fs::read_to_string(&path).unwrap();
    let server = Server::honest(workshop.repo()).await;
    let (timestamp, _) = newest(&workshop);
    let version = format!("\"version\":{},", timestamp.head.version);
    let doubled = good.replacen(&version, &format!("{version}\"version\":9,"), 1);
    for (forged, says) in [
        (format!("{good}{good}"), "it cannot be read"),
        (doubled, "timestamp.json is refused"),
        (
            good.replacen("\"expires\":\"2", "\"expires\":\"3", 1),
            "too few signatures",
        ),
    ] {
        assert_ne!(forged, good);
        fs::write(&path, forged).unwrap();
        refused(
            &machine,
            &server.url,
            now(),
            &["timestamp.json is refused", says],
        )
        .await;
    }
}

#[tokio::test]
async fn row_13_a_clock_in_1970_brings_nothing_old_back() {
    let (workshop, machine, _) = site();
    let server = Server::honest(workshop.repo()).await;
    // What was signed proves what time it is at least.
    machine
        .check(&server.url, Time::from_unix(0))
        .await
        .unwrap();
    let (timestamp, _) = newest(&workshop);
    let old = fs::read(workshop.repo().join("metadata/timestamp.json")).unwrap();
    let mut later = timestamp;
    later.head.version += 1;
    later.head.expires = now().after(Span::days(30));
    later.issued = Some(now().after(Span::days(20)));
    publish_timestamp(&workshop, later.clone());
    // Its snapshot expired meanwhile, by the time that the timestamp proves; the clock's own would do.
    let says = ["snapshot.json is refused: expires is"];
    refused(&machine, &server.url, Time::from_unix(0), &says).await;
    fs::write(workshop.repo().join("metadata/timestamp.json"), old).unwrap();
    refused(&machine, &server.url, Time::from_unix(0), &["(rollback)"]).await;
}

#[tokio::test]
async fn row_13_a_clock_far_ahead_stops_updates_and_is_forgotten() {
    let (workshop, machine, _) = site();
    let server = Server::honest(workshop.repo()).await;
    let far = Time::from_unix(4_000_000_000);
    refused(
        &machine,
        &server.url,
        far,
        &["1.root.json is refused: expires is"],
    )
    .await;
    machine.update(&server.url, now()).await.unwrap();
}

/// Not read anywhere else: a snapshot that lists nothing.
#[tokio::test]
async fn row_4_a_snapshot_without_a_channel_it_had_is_refused() {
    let (workshop, machine, _) = site();
    let server = Server::honest(workshop.repo()).await;
    machine.check(&server.url, now()).await.unwrap();
    let (mut timestamp, mut snapshot): (_, Snapshot) = newest(&workshop);
    snapshot.meta.remove("stable.json");
    snapshot.head.version += 1;
    let version = snapshot.head.version;
    let bytes = sign(snapshot, &steal(&workshop, "snapshot"));
    let path = format!("metadata/{version}.snapshot.json");
    fs::write(workshop.repo().join(path), &bytes).unwrap();
    timestamp.head.version += 1;
    timestamp.meta.snapshot = meta(version, &bytes);
    publish_timestamp(&workshop, timestamp);
    let says = ["snapshot.json is refused: it has no entry for stable.json"];
    refused(&machine, &server.url, now(), &says).await;
}

//! Rows 6, 7, 8 and 12: stolen keys, and what was signed long ago.

use std::fs;

use strake_updates::policy::Choice;
use strake_updates::tuf::role::{Root, Targets};

use super::forger::{list, newest, publish_timestamp, read, sign, stable, steal};
use super::machine::{Machine, version};
use super::{now, refused, releases, site};
use crate::network::server::Server;
use crate::workshop::Workshop;

#[tokio::test]
async fn row_6_the_online_keys_are_stolen() {
    let (workshop, machine, _) = site();
    let (mut targets, number) = stable(&workshop);
    targets.head.version = number + 1;
    for target in targets.targets.values_mut() {
        target.hashes.sha256.0[0] ^= 1;
    }
    for thief in ["timestamp", "snapshot", "targets", "alpha"] {
        let forged = sign(targets.clone(), &steal(&workshop, thief));
        list(&workshop, "stable", number + 1, &forged);
        let server = Server::honest(workshop.repo()).await;
        let says = ["stable.json is refused: too few signatures"];
        refused(&machine, &server.url, now(), &says).await;
    }
    // Nor do they delegate the channel to a key of their own.
    let (_, snapshot) = newest(&workshop);
    let top = snapshot.meta["targets.json"].version;
    let mut body: Targets = read(&workshop, &format!("{top}.targets.json"));
    body.head.version = top + 1;
    let forged = sign(body, &steal(&workshop, "snapshot"));
    list(&workshop, "targets", top + 1, &forged);
    let server = Server::honest(workshop.repo()).await;
    let says = ["targets.json is refused: too few signatures"];
    refused(&machine, &server.url, now(), &says).await;
}

#[tokio::test]
async fn row_7_a_part_of_the_root_keys_is_stolen() {
    let workshop = Workshop::empty();
    workshop.ok("init --channel stable --root-keys 3 --root-threshold 2");
    let (old, new) = releases();
    workshop.add("1.0.0", &old, "stable", "");
    workshop.add("1.1.0", &new, "stable", "");
    workshop.ok("sign");
    let machine = Machine::new(workshop.root(), old);
    let thief = steal(&workshop, "root");
    let mut root: Root = read(&workshop, "1.root.json");
    root.head.version = 2;
    let path = workshop.repo().join("metadata/2.root.json");
    let server = Server::honest(workshop.repo()).await;
    // One key, and the same key twice.
    for keys in [&thief[..1], &[thief[0].clone(), thief[0].clone()]] {
        fs::write(&path, sign(root.clone(), keys)).unwrap();
        let says = ["2.root.json is refused: too few signatures"];
        refused(&machine, &server.url, now(), &says).await;
    }
    // A lower threshold is believed only from those who reached the old one.
    let mut lower = root.clone();
    lower.roles.root.threshold = 1.try_into().unwrap();
    fs::write(&path, sign(lower, &thief[..1])).unwrap();
    let says = ["2.root.json is refused: too few signatures"];
    refused(&machine, &server.url, now(), &says).await;
    fs::remove_file(&path).unwrap();
    machine.update(&server.url, now()).await.unwrap();
}

#[tokio::test]
async fn row_8_versions_are_driven_up_with_a_stolen_key_and_its_removal_heals() {
    let (workshop, machine, new) = site();
    let server = Server::honest(workshop.repo()).await;
    let path = workshop.repo().join("metadata/timestamp.json");
    let good = fs::read(&path).unwrap();
    let (mut timestamp, _) = newest(&workshop);
    timestamp.head.version = u64::MAX - 1;
    publish_timestamp(&workshop, timestamp);
    machine.check(&server.url, now()).await.unwrap();
    fs::write(&path, good).unwrap();
    refused(
        &machine,
        &server.url,
        now(),
        &["timestamp.json is refused", "(rollback)"],
    )
    .await;
    workshop.ok("rotate timestamp");
    workshop.ok("sign");
    machine.update(&server.url, now()).await.unwrap();
    assert!(machine.slot_holds(&new));
}

#[tokio::test]
async fn row_12_an_old_signed_release_is_brought_back_by_hand() {
    let (workshop, mut machine, _) = site();
    workshop.ok("floor 1.1.0 --channel stable");
    workshop.ok("sign");
    machine.facts.running = version("1.2.0");
    machine.facts.pinned = Some(version("1.0.0"));
    let server = Server::honest(workshop.repo()).await;
    let before = machine.disk();
    assert_eq!(
        machine.update(&server.url, now()).await.unwrap(),
        Choice::Stay
    );
    assert!(machine.disk() == before);
    let decision = machine.check(&server.url, now()).await.unwrap().to_string();
    assert!(
        decision.contains("1.0.0: below the channel's floor 1.1.0"),
        "{decision}"
    );
}

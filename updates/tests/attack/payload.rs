//! Rows 1, 4 (payload), 5, 10 and 19: the server lies about bytes, or sends too many or too slowly.

use std::fs;
use std::time::Duration;

use strake_updates::policy::Choice;

use super::forger::{stable, steal};
use super::{forger, forging, machine_of, now, refused, refused_in_the_slot, site};
use crate::network::server::{Reply, Server};
use crate::workshop::{Workshop, files, small};

/// Published files by the end of their name.
fn published(workshop: &Workshop, end: &str) -> Vec<u8> {
    let all = files(&workshop.repo().join("targets"));
    let found = all
        .into_iter()
        .find(|(path, _)| path.to_str().unwrap().ends_with(end));
    found.unwrap().1
}

fn altered(workshop: &Workshop, end: &str) -> Vec<u8> {
    let mut bytes = published(workshop, end);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    bytes
}

/// No frame and no patch is left as it was.
fn altered_all_over(workshop: &Workshop, end: &str) -> Vec<u8> {
    let mut bytes = published(workshop, end);
    bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x40);
    bytes
}

#[tokio::test]
async fn row_1_a_mirror_alters_the_image() {
    let (workshop, machine, new) = site();
    let machine = machine.without_old_blocks();
    let server = forging(
        &workshop,
        vec![("1.1.0.tree", altered(&workshop, "1.1.0.tree"))],
    )
    .await;
    let says = ["strake_1.1.0.tree: sha256 is", "signed is"];
    refused(&machine, &server.url, now(), &says).await;

    let blocks = altered(&workshop, "1.1.0.usr.zst");
    let server = forging(&workshop, vec![("1.1.0.usr.zst", blocks)]).await;
    refused_in_the_slot(&machine, &new, &server.url, &["strake_1.1.0.usr.zst"]).await;

    let server = forging(
        &workshop,
        vec![("1.1.0.efi", altered(&workshop, "1.1.0.efi"))],
    )
    .await;
    let error = machine.update(&server.url, now()).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("strake_1.1.0.efi: sha256 is"), "{error}");
    assert_eq!(
        machine.entries(),
        ["strake_1.0.0.efi"],
        "the slot is whole, the entry is not"
    );
}

#[tokio::test]
async fn row_1_a_mirror_alters_every_patch_and_every_block() {
    let (workshop, machine, new) = site();
    let forged = ["1.1.0.usr.patch", "1.1.0.tree.patch", "1.1.0.usr.zst"];
    let forged = forged.map(|end| (end, altered_all_over(&workshop, end)));
    let server = forging(&workshop, forged.to_vec()).await;
    refused_in_the_slot(&machine, &new, &server.url, &["strake_1.1.0.usr.zst"]).await;
    let honest = Server::honest(workshop.repo()).await;
    machine.update(&honest.url, now()).await.unwrap();
    assert!(machine.slot_holds(&new), "an honest server mends it");
}

#[tokio::test]
async fn row_4_parts_of_two_releases_are_mixed() {
    let (workshop, _, new) = site();
    for end in ["efi", "tree", "usr.zst"] {
        let machine = machine_of(&workshop).without_old_blocks();
        let old = published(&workshop, &format!("1.0.0.{end}"));
        let name = format!("1.1.0.{end}");
        let server = forging(&workshop, vec![(name.as_str(), old)]).await;
        let error = machine.update(&server.url, now()).await.unwrap_err();
        let error = format!("{error:#}");
        // The older file is shorter, so its frame table is not where the newer one's is.
        let cause = match end {
            "usr.zst" => "it ended after",
            _ => "sha256 is",
        };
        let says = format!("strake_{name}: {cause}");
        assert!(error.contains(&says), "{error}");
        assert_eq!(machine.entries(), ["strake_1.0.0.efi"]);
        assert!(end == "efi" || !machine.slot_holds(&new));
    }
}

#[tokio::test]
async fn row_5_data_without_end_or_without_haste() {
    let (workshop, _, new) = site();
    let fresh = || machine_of(&workshop).without_old_blocks();
    let at = async |part: &'static str, reply: Reply| {
        Server::start(workshop.repo(), move |path, _| match path.contains(part) {
            true => reply.clone(),
            false => Reply::File,
        })
        .await
    };
    for (part, limit) in [
        ("2.root.json", "524288 bytes"),
        ("timestamp.json", "16384 bytes"),
        ("snapshot.json", "bytes allowed"),
        ("stable.json", "bytes allowed"),
    ] {
        let server = at(part, Reply::Endless).await;
        let says = [part, "it is longer than the", limit];
        refused(&fresh(), &server.url, now(), &says).await;
        assert!(server.sent() < 8 << 20, "{part}: {} bytes", server.sent());
    }
    for reply in [Reply::Silence, Reply::Trickle(Duration::from_millis(20))] {
        let server = at("snapshot.json", reply.clone()).await;
        let says = ["snapshot.json", "fewer than 16384 bytes came in"];
        refused(&fresh(), &server.url, now(), &says).await;
        let server = at("1.1.0.usr.zst", reply).await;
        refused_in_the_slot(&fresh(), &new, &server.url, &["usr.zst", "fewer than"]).await;
    }
    // More than was asked for is not read: the part that is signed is what counts.
    let server = at("1.1.0.usr.zst", Reply::Endless).await;
    refused_in_the_slot(&fresh(), &new, &server.url, &["strake_1.1.0.usr.zst"]).await;
    assert!(server.sent() < 16 << 20, "{} bytes", server.sent());
}

#[tokio::test]
async fn row_10_the_server_changes_the_file_after_its_beginning_was_checked() {
    let (workshop, machine, new) = site();
    let machine = machine.without_old_blocks();
    // The frame table is asked for first and comes as signed; then the frames are others.
    let forged = altered(&workshop, "1.1.0.usr.zst");
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(workshop.repo(), move |path, _| {
        let is_blocks = path.contains("1.1.0.usr.zst");
        let before = seen.fetch_add(usize::from(is_blocks), std::sync::atomic::Ordering::Relaxed);
        match is_blocks && before > 0 {
            true => Reply::Bytes(forged.clone()),
            false => Reply::File,
        }
    })
    .await;
    refused_in_the_slot(&machine, &new, &server.url, &["strake_1.1.0.usr.zst"]).await;
}

#[tokio::test]
async fn row_10_somebody_changes_the_slot_while_it_is_filled() {
    let (workshop, machine, new) = site();
    // A block that was found good by the scan, and is another when all is read back.
    fs::write(
        machine.path("usr-b"),
        [new.usr.clone(), vec![0; (4 << 20) - new.usr.len()]].concat(),
    )
    .unwrap();
    let usr = machine.path("usr-b");
    let mut bytes = fs::read(&usr).unwrap();
    bytes[210 * 4096] ^= 1;
    fs::write(&usr, &bytes).unwrap();
    let server = Server::start(workshop.repo(), move |path, _| {
        if path.contains("1.1.0.usr.") {
            let mut bytes = fs::read(&usr).unwrap();
            bytes[10 * 4096..][..9].fill(0x5A);
            fs::write(&usr, bytes).unwrap();
        }
        Reply::File
    })
    .await;
    let says = ["block 10 of the slot reads back with other content than written"];
    refused_in_the_slot(&machine, &new, &server.url, &says).await;
}

#[tokio::test]
async fn row_19_a_server_pushes_a_release_to_all_at_once() {
    let workshop = Workshop::new();
    let (old, new) = super::releases();
    workshop.add("1.0.0", &old, "stable", "");
    workshop.ok("sign");
    workshop.add("1.1.0", &new, "stable", "--waves 1@1h,50@2d --deadline 6d");
    workshop.ok("sign");
    let machine = super::machine::Machine::new(workshop.root(), old);

    // An honest server cannot make the machine hurry: it is not its turn.
    let server = Server::honest(workshop.repo()).await;
    let before = machine.disk();
    let choice = machine.update(&server.url, now()).await.unwrap();
    assert!(matches!(choice, Choice::Wait { .. }), "{choice:?}");
    assert!(machine.disk() == before);
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.path.starts_with("/metadata/"))
    );

    // Waves that the server widened are not those the channel signed.
    let (mut targets, version) = stable(&workshop);
    targets.head.version = version + 1;
    for target in targets.targets.values_mut() {
        if let Some(custom) = &mut target.custom {
            custom["strake"]["rollout"]["waves"] = serde_json::json!([]);
            custom["strake"]["rollout"]["deadline"] = serde_json::json!(0);
        }
    }
    let wide = forger::sign(targets, &steal(&workshop, "timestamp"));
    let name = format!("{version}.stable.json");
    let server = forging(&workshop, vec![(name, wide.clone())]).await;
    let machine = machine_of(&workshop);
    refused(
        &machine,
        &server.url,
        now(),
        &["stable.json is refused", "signed"],
    )
    .await;

    // Not even with the online keys, which can make the snapshot list the forged file.
    forger::list(&workshop, "stable", version + 1, &wide);
    let server = Server::honest(workshop.repo()).await;
    refused(
        &machine,
        &server.url,
        now(),
        &["stable.json is refused: too few signatures"],
    )
    .await;
}

#[tokio::test]
async fn row_19_a_release_that_goes_wrong_is_stopped_for_those_it_has_not_reached() {
    let workshop = Workshop::new();
    let (old, _) = super::releases();
    workshop.add("1.0.0", &old, "stable", "");
    workshop.add("1.1.0", &small(9), "stable", "--deltas 0");
    workshop.ok("sign");
    workshop.ok("hold 1.1.0 --channel stable --reason loops");
    let machine = super::machine::Machine::new(workshop.root(), old);
    let server = Server::honest(workshop.repo()).await;
    let before = machine.disk();
    assert_eq!(
        machine.update(&server.url, now()).await.unwrap(),
        Choice::Stay
    );
    assert!(machine.disk() == before);
    let decision = machine.check(&server.url, now()).await.unwrap().to_string();
    assert!(
        decision.contains("1.1.0: rollout held by the repository since"),
        "{decision}"
    );
}

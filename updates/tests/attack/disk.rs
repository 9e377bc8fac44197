//! Rows 11 and 14 to 16: hands on the disk, the power, a full partition. Cuts between single block
//! writes are replayed on machines; here whatever the client was doing is stopped at each request.

use std::fs;
use std::process::Command;

use super::{machine_of, now, refused, site};
use crate::network::server::{Reply, Server};
use crate::workshop::files;

#[tokio::test]
async fn row_11_blocks_of_the_new_slot_are_changed_by_hand() {
    let (workshop, machine, new) = site();
    let server = Server::honest(workshop.repo()).await;
    machine.update(&server.url, now()).await.unwrap();
    for (name, at) in [
        ("usr-b", 77 * 4096 + 5),
        ("tree-b", 4096 + 40),
        ("tree-b", 2 * 4096),
    ] {
        let good = fs::read(machine.path(name)).unwrap();
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(machine.path(name), bytes).unwrap();
        assert!(!machine.slot_holds(&new), "{name} at {at}");
        fs::write(machine.path(name), good).unwrap();
    }
    assert!(machine.slot_holds(&new));
    // The next installation finds and mends what was changed.
    let mut bytes = fs::read(machine.path("usr-b")).unwrap();
    bytes[9 * 4096] ^= 1;
    fs::write(machine.path("usr-b"), bytes).unwrap();
    machine.update(&server.url, now()).await.unwrap();
    assert!(machine.slot_holds(&new));
}

#[tokio::test]
async fn row_11_what_the_machine_remembers_is_damaged() {
    let (workshop, machine, _) = site();
    let server = Server::honest(workshop.repo()).await;
    machine.check(&server.url, now()).await.unwrap();
    fs::write(machine.path("trust/trust.json"), b"{").unwrap();
    let says = ["keeping what was learnt", "trust.json is damaged"];
    refused(&machine, &server.url, now(), &says).await;
}

/// The client is dropped in the middle, as by a cut; what is left is what a boot finds.
#[tokio::test]
async fn row_14_the_power_is_cut_while_the_slot_is_written() {
    let (workshop, first, new) = site();
    let server = Server::honest(workshop.repo()).await;
    first.update(&server.url, now()).await.unwrap();
    let requests = server.asked().len();
    assert!(requests > 8, "{requests} requests");
    for cut in 0..requests {
        let machine = machine_of(&workshop);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stop = std::sync::Mutex::new(Some(stop));
        let dying = Server::start(workshop.repo(), move |_, number| match number < cut {
            true => Reply::File,
            false => {
                drop(stop.lock().unwrap().take());
                Reply::Silence
            }
        })
        .await;
        tokio::select! {
            finished = machine.update(&dying.url, now()) => panic!("{finished:?}"),
            _ = stopped => {}
        }
        assert_eq!(
            machine.entries(),
            ["strake_1.0.0.efi"],
            "cut at request {cut}"
        );
        // Only the entry is missing when the slot is whole already.
        assert!(
            machine.slot_is_no_release() || machine.slot_holds(&new),
            "cut at request {cut}"
        );
        machine.update(&server.url, now()).await.unwrap();
        assert!(machine.slot_holds(&new), "cut at request {cut}");
    }
}

#[tokio::test]
async fn row_15_the_power_is_cut_while_the_entry_is_put_in_its_place() {
    let (workshop, machine, new) = site();
    let server = Server::honest(workshop.repo()).await;
    machine.update(&server.url, now()).await.unwrap();
    let whole = machine.path("esp/strake_1.1.0+3.efi");
    let part = machine.path("esp/strake_1.1.0.part");
    let uki = fs::read(&whole).unwrap();
    // Before the rename, with any part of the file on the disk, only the old release is shown.
    for length in [0, 1, uki.len() / 2, uki.len()] {
        let _ = fs::remove_file(&whole);
        fs::write(&part, &uki[..length]).unwrap();
        assert_eq!(machine.entries(), ["strake_1.0.0.efi"]);
        machine.update(&server.url, now()).await.unwrap();
        assert_eq!(
            machine.entries(),
            ["strake_1.0.0.efi", "strake_1.1.0+3.efi"]
        );
        assert!(fs::read(&whole).unwrap() == new.uki && !part.exists());
    }
    // What a cut leaves of another file under the temporary name is not taken for the entry.
    fs::remove_file(&whole).unwrap();
    fs::write(&part, vec![7; uki.len() + 4096]).unwrap();
    machine.update(&server.url, now()).await.unwrap();
    assert!(fs::read(&whole).unwrap() == new.uki);
}

#[tokio::test]
async fn row_16_the_esp_is_full() {
    let (workshop, machine, _) = site();
    let esp = machine.path("esp");
    let kept = files(&esp);
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=96k", "none"])
        .arg(&esp)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("SKIPPED: mounting a small file system needs root");
        return;
    }
    for (path, content) in &kept {
        fs::write(path, content).unwrap();
    }
    let server = Server::honest(workshop.repo()).await;
    let outcome = tokio::spawn(async move {
        let says = ["the release needs 50000 bytes in the ESP, which has"];
        refused(&machine, &server.url, now(), &says).await;
        let payload = server
            .asked()
            .into_iter()
            .filter(|a| a.path.starts_with("/targets/"));
        assert_eq!(
            payload.count(),
            0,
            "nothing is fetched for an entry that does not fit"
        );
        machine
    })
    .await;
    let unmounted = Command::new("umount").arg(&esp).status().unwrap();
    assert!(unmounted.success());
    outcome.unwrap();
}

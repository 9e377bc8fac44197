//! The attack matrix: what a network, a server, a mirror, a thief of keys or the power may do, one
//! test for each row of the threat model, against the whole client over HTTP.
//!
//! Each is refused with an error that names the file and what is wrong with it, and afterwards the
//! machine has exactly the entries and slots it had, or a slot that no boot program takes for a
//! release.

mod disk;
mod forger;
mod keys;
pub(crate) mod machine;
mod metadata;
mod payload;

use strake_updates::time::Timestamp;

use crate::network::server::{Reply, Server};
use crate::workshop::{Made, Workshop, make, noise};
use machine::Machine;

/// The time of these tests is the present: the built program signs by its clock.
pub(crate) fn now() -> Timestamp {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_unix(since_1970.unwrap().as_secs())
}

/// What runs, and what comes.
pub(crate) fn releases() -> (Made, Made) {
    let old = noise(1, 200 * 4096);
    let mut new = old.clone();
    new[5_000] ^= 1;
    new[400_000] ^= 1;
    new.extend(noise(2, 20 * 4096));
    (make(old, noise(3, 50_000)), make(new, noise(4, 50_000)))
}

/// A repository that offers 1.0.0 and 1.1.0 in stable, and a machine that runs the former.
pub(crate) fn site() -> (Workshop, Machine, Made) {
    let workshop = Workshop::new();
    let (old, new) = releases();
    workshop.add("1.0.0", &old, "stable", "");
    workshop.ok("sign");
    workshop.add("1.1.0", &new, "stable", "");
    workshop.ok("sign");
    let machine = Machine::new(workshop.root(), old);
    (workshop, machine, new)
}

/// Another machine of a site that runs 1.0.0.
fn machine_of(workshop: &Workshop) -> Machine {
    Machine::new(workshop.root(), releases().0)
}

/// The update must fail with all of `says`, and leave every byte that boots as it was.
async fn refused(machine: &Machine, url: &str, at: Timestamp, says: &[&str]) {
    let before = machine.disk();
    let error = machine.update(url, at).await;
    let error = format!("{:#}", error.expect_err("the update went through"));
    for expected in says {
        assert!(
            error.contains(expected),
            "{expected:?} is not said: {error}"
        );
    }
    assert!(machine.disk() == before, "something was written: {error}");
}

/// The update must fail while the slot is written: no entry appears, and the slot is no release.
async fn refused_in_the_slot(machine: &Machine, made: &Made, url: &str, says: &[&str]) {
    let error = machine.update(url, now()).await;
    let error = format!("{:#}", error.expect_err("the update went through"));
    for expected in says {
        assert!(
            error.contains(expected),
            "{expected:?} is not said: {error}"
        );
    }
    assert_eq!(machine.entries(), ["strake_1.0.0.efi"], "{error}");
    assert!(
        !machine.slot_holds(made) && machine.slot_is_no_release(),
        "{error}"
    );
}

/// A server that has other bytes for the files whose path contains a text.
async fn forging<N: Into<String>>(workshop: &Workshop, forged: Vec<(N, Vec<u8>)>) -> Server {
    let forged = forged.into_iter().map(|(name, bytes)| (name.into(), bytes));
    let forged: Vec<(String, Vec<u8>)> = forged.collect();
    Server::start(workshop.repo(), move |path, _| {
        let forged = forged.iter().find(|(part, _)| path.contains(part.as_str()));
        forged.map_or(Reply::File, |(_, bytes)| Reply::Bytes(bytes.clone()))
    })
    .await
}

#[tokio::test]
async fn without_an_attack_the_machine_updates() {
    let (workshop, machine, new) = site();
    let server = Server::honest(workshop.repo()).await;
    machine.update(&server.url, now()).await.unwrap();
    assert!(machine.slot_holds(&new));
    assert_eq!(
        machine.entries(),
        ["strake_1.0.0.efi", "strake_1.1.0+3.efi"]
    );
}

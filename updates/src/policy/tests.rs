use super::*;
use crate::digest::Digest;
use crate::offer::{FORMAT, Part, Usr};
use crate::rollout::Rollout;

const NOW: u64 = 1_000_000;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

fn machine(running: &str) -> Machine {
    Machine {
        id: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        architecture: "x86-64".into(),
        running: version(running),
        staged: None,
        pinned: None,
        refused: BTreeSet::new(),
        slot_size: 2 << 30,
        window: Window::Open,
    }
}

fn offer(text: &str) -> Offer {
    Offer {
        format: FORMAT,
        version: version(text),
        architecture: "x86-64".into(),
        kernel: "6.12.0".into(),
        min_from: None,
        floor: None,
        retracted: None,
        rollout: Rollout::immediate(at(0)),
        usr: Usr {
            size: 4096,
            root_hash: Digest::of(b""),
            salt: String::new(),
            blocks: "blocks".into(),
            index: Part {
                length: 0,
                sha256: Digest::of(b""),
            },
            tree: "tree".into(),
        },
        uki: "uki".into(),
        deltas: Vec::new(),
        held: None,
    }
}

fn catalog(offers: Vec<Offer>) -> Catalog {
    Catalog {
        offers,
        invalid: Vec::new(),
    }
}

/// The releases 1.1.0 and 1.2.0, changed by `change`, on a machine that runs 1.0.0.
#[track_caller]
fn check(change: impl FnOnce(&mut Machine, &mut Offer, &mut Offer), choice: Choice, says: &str) {
    let mut machine = machine("1.0.0");
    let (mut older, mut newer) = (offer("1.1.0"), offer("1.2.0"));
    change(&mut machine, &mut older, &mut newer);
    let decision = decide(&machine, &catalog(vec![older, newer]), at(NOW));
    assert_eq!(decision.choice, choice, "{decision}");
    assert!(
        decision.to_string().contains(says),
        "{decision}\ndoes not say {says}"
    );
}

#[test]
fn a_release_that_the_repository_holds_is_not_taken_and_the_next_is() {
    let hold = |offer: &mut Offer| {
        offer.held = Some(crate::tuf::role::Hold {
            channel: "stable".into(),
            target: "stable_1.2.0.json".into(),
            since: at(5),
            reason: "5 of the last 20 fell back".into(),
        });
    };
    let says = "1.2.0: rollout held by the repository since 1970-01-01T00:00:05Z: 5 of the last 20";
    check(|_, _, n| hold(n), Choice::Install(version("1.1.0")), says);
    let staged = |machine: &mut Machine, older: &mut Offer, newer: &mut Offer| {
        machine.staged = Some(version("1.2.0"));
        older.retracted = Some("x".into());
        hold(newer);
    };
    check(staged, Choice::Discard(version("1.2.0")), "held");
}

#[test]
fn the_newest_release_is_taken() {
    let newest = Choice::Install(version("1.2.0"));
    check(|_, _, _| {}, newest, "1.2.0: allowed");
}

#[test]
fn what_stands_against_the_newest_leaves_the_next() {
    let next = || Choice::Install(version("1.1.0"));
    check(
        |_, _, n| n.retracted = Some("eats disks".into()),
        next(),
        "publisher: eats disks",
    );
    check(
        |_, _, n| n.architecture = "arm64".into(),
        next(),
        "1.2.0: for arm64 machines",
    );
    check(
        |_, _, n| n.usr.size = 4 << 30,
        next(),
        "needs 4294967296 bytes, a slot has 2147483648",
    );
    check(
        |_, _, n| n.min_from = Some(version("1.1.0")),
        next(),
        "from 1.1.0 or newer (barrier)",
    );
    check(
        |m, _, _| m.pinned = Some(version("1.1.0")),
        next(),
        "1.2.0: this machine is pinned",
    );
    check(
        |m, _, _| m.refused = [version("1.2.0")].into(),
        next(),
        "did not come up healthy",
    );
    check(
        |_, _, n| n.rollout.paused = Some(at(5)),
        next(),
        "paused by the publisher since 1970",
    );
    check(
        |_, _, n| n.rollout.start = at(NOW + 9),
        next(),
        "wave opens 1970-01-12T13:46:49Z",
    );
}

#[test]
fn what_stands_against_all_leaves_the_machine_as_it_is() {
    check(
        |_, o, n| (o.floor, n.retracted) = (Some(version("1.2.0")), Some(String::new())),
        Choice::Stay,
        "1.1.0: below the channel's floor 1.2.0",
    );
    check(
        |m, _, _| m.pinned = Some(version("1.0.0")),
        Choice::Stay,
        "pinned to 1.0.0",
    );
    check(
        |m, _, _| m.running = version("1.2.0"),
        Choice::Stay,
        "1.2.0: not newer",
    );
}

#[test]
fn when_only_time_is_missing_the_machine_knows_until_when() {
    let wait = |text: &str, until| Choice::Wait {
        version: version(text),
        until: at(until),
    };
    check(
        |m, _, _| m.window = Window::OpensAt(at(NOW + 60)),
        wait("1.1.0", NOW + 60),
        "window",
    );
    check(
        |m, o, n| {
            m.window = Window::OpensAt(at(NOW + 60));
            o.rollout.start = at(NOW + 90);
            n.rollout.start = at(NOW + 30);
        },
        wait("1.2.0", NOW + 60),
        "this machine's wave opens",
    );
}

#[test]
fn a_staged_release_is_not_installed_again_but_a_newer_one_is() {
    check(
        |m, _, _| m.staged = Some(version("1.2.0")),
        Choice::Staged(version("1.2.0")),
        "reboot",
    );
    check(
        |m, _, _| m.staged = Some(version("1.1.0")),
        Choice::Install(version("1.2.0")),
        "",
    );
}

#[test]
fn a_pin_goes_back_and_skips_waves_but_not_the_floor() {
    let back = |m: &mut Machine| (m.running, m.pinned) = (version("1.2.0"), Some(version("1.1.0")));
    check(
        |m, _, _| back(m),
        Choice::Install(version("1.1.0")),
        "1.1.0: allowed",
    );
    check(
        |m, o, _| {
            back(m);
            o.rollout.start = at(NOW + 90);
        },
        Choice::Install(version("1.1.0")),
        "1.1.0: allowed",
    );
    check(
        |m, _, n| {
            back(m);
            n.floor = Some(version("1.2.0"));
        },
        Choice::Stay,
        "1.1.0: below the channel's floor",
    );
}

#[test]
fn what_is_staged_and_then_withdrawn_is_discarded() {
    let newest = version("1.2.0");
    let stage = |m: &mut Machine, o: &mut Offer| {
        m.staged = Some(newest);
        o.retracted = Some("older one, gone".into());
    };
    let discard = || Choice::Discard(newest);
    check(
        |m, o, n| {
            stage(m, o);
            n.retracted = Some("eats disks".into());
        },
        discard(),
        "1.2.0 is installed, do not boot it",
    );
    check(
        |m, o, n| {
            stage(m, o);
            n.rollout.paused = Some(at(NOW));
        },
        discard(),
        "rollout paused",
    );
    check(
        |m, o, _| {
            stage(m, o);
            m.window = Window::OpensAt(at(NOW + 60));
        },
        Choice::Wait {
            version: newest,
            until: at(NOW + 60),
        },
        "the update window opens",
    );
}

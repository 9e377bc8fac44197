//! What is wrong around updates is an alarm, and the node goes on and can still roll back.

mod machine;
mod publisher;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use publisher::bench::{Bench, bench};
use publisher::made;
use serde_json::Value;

/// A signature that lasts a second is over by then.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_damaged_passive_slot_is_an_alarm_and_no_way_back() {
    let Bench { node, .. } = &Bench::updated();
    let mut slot = node.slot("vda2");
    slot[5 * 4096] ^= 1;
    node.fill("vda2", &slot);
    let refused = node.code("rollback", 1);
    assert!(refused.contains("block 5 of USR-A is damaged"), "{refused}");
    assert_eq!(node.entries(), ["strake_1.0.0.efi", "strake_1.1.0.efi"]);
    node.fill("vda3", &[0; 8192]);
    let status = node.status();
    assert_eq!(status["alarms"][0]["kind"], "passive-slot", "{status}");
}

#[test]
fn lost_state_and_a_wrong_clock_are_alarms() {
    let Bench { node, .. } = &Bench::updated();
    let trust = node.machine.path("state/update/trust");
    let path = trust.join("trust.json");
    let text = std::fs::read_to_string(&path).expect("trust");
    let mut kept: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    kept["seen"]["clock"] = "2999-01-01T00:00:00Z".into();
    std::fs::write(&path, kept.to_string()).expect("trust");
    assert_eq!(node.status()["alarms"][0]["kind"], "clock");
    std::fs::write(&path, "{").expect("trust");
    let alarm = &node.status()["alarms"][0];
    assert_eq!(alarm["kind"], "state");
    assert!(
        alarm["text"]
            .as_str()
            .expect("text")
            .contains("trust.json is damaged")
    );
    node.code("check", 1);
    std::fs::remove_dir_all(&trust).expect("trust");
    assert_eq!(node.status()["alarms"][0]["kind"], "state");
    node.code("check", 3);
    assert_eq!(node.status()["alarms"], serde_json::json!([]));
}

#[test]
fn a_repository_uploaded_by_half_is_an_alarm_until_it_is_whole() {
    let Bench {
        publisher, node, ..
    } = &bench();
    let timestamp = std::fs::read_to_string(publisher.path("repo/metadata/timestamp.json"));
    let timestamp: serde_json::Value =
        serde_json::from_str(&timestamp.expect("timestamp")).expect("JSON");
    let current = &timestamp["signed"]["meta"]["snapshot.json"]["version"];
    let path = publisher.path(&format!("repo/metadata/{current}.snapshot.json"));
    let whole = std::fs::read(&path).expect("snapshot");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("half");
    node.code("check", 1);
    let status = node.status();
    assert_eq!(status["alarms"][0]["kind"], "repository", "{status}");
    std::fs::write(&path, whole).expect("whole");
    node.code("check", 0);
    assert_eq!(node.status()["alarms"], serde_json::json!([]));
}

/// Something goes wrong, and with what words the next check is refused.
type Trouble = fn(&Bench) -> &'static str;

fn json(path: &PathBuf) -> Value {
    let text = std::fs::read_to_string(path).expect("readable");
    serde_json::from_str(&text).expect("JSON")
}

fn change(path: &PathBuf, change: impl FnOnce(&mut Value)) {
    let mut value = json(path);
    change(&mut value);
    std::fs::write(path, value.to_string()).expect("written");
}

fn clock_in_1970(bench: &Bench) -> &'static str {
    // The clock is the kernel's; what is moved is the time that was proven before.
    let path = bench.node.machine.path("state/update/trust/trust.json");
    change(&path, |kept| {
        kept["seen"]["clock"] = "2999-01-01T00:00:00Z".into();
    });
    "expires is"
}

fn damaged_state(bench: &Bench) -> &'static str {
    let path = bench.node.machine.path("state/update/trust/trust.json");
    std::fs::write(path, "{").expect("written");
    "trust.json is damaged"
}

fn half_a_repository(bench: &Bench) -> &'static str {
    let metadata = bench.publisher.path("repo/metadata");
    bench.publisher.publish("1.2.0", &made(3), "");
    let timestamp = json(&metadata.join("timestamp.json"));
    let version = &timestamp["signed"]["meta"]["snapshot.json"]["version"];
    let path = metadata.join(format!("{version}.snapshot.json"));
    let whole = std::fs::read(&path).expect("snapshot");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("half");
    "snapshot.json"
}

fn expired_timestamp(bench: &Bench) -> &'static str {
    change(&bench.publisher.path("repo/publisher.json"), |settings| {
        settings["online_expiry"] = 1.into();
    });
    bench.publisher.ok("refresh");
    let end = Instant::now() + LIMIT;
    while bench.node.update("check").code != 1 {
        assert!(Instant::now() < end, "it never expires");
    }
    "timestamp.json is refused: expires is"
}

fn no_repository(bench: &Bench) -> &'static str {
    std::fs::remove_dir_all(bench.publisher.path("repo/metadata")).expect("removed");
    "there is no such file"
}

#[test]
fn whatever_is_wrong_is_an_alarm_in_status_and_the_node_can_still_roll_back() {
    let troubles: [Trouble; 5] = [
        clock_in_1970,
        damaged_state,
        half_a_repository,
        expired_timestamp,
        no_repository,
    ];
    for (index, trouble) in troubles.into_iter().enumerate() {
        let bench = Bench::updated();
        let words = trouble(&bench);
        let refused = bench.node.code("check", 1);
        assert!(refused.contains(words), "trouble {index}: {refused}");
        let shown = bench.node.machine.strake(&["status"]).out;
        assert!(shown.contains("ALARM"), "trouble {index}: {shown}");
        let told = bench.node.code("rollback", 0);
        assert!(told.contains("1.0.0"), "trouble {index}: {told}");
        let entries = bench.node.entries();
        assert_eq!(entries, ["strake_1.0.0+3.efi", "strake_1.1.0+0.efi"]);
    }
}

#[test]
fn a_node_that_lost_its_state_can_still_roll_back() {
    let Bench { node, .. } = &Bench::updated();
    std::fs::remove_dir_all(node.machine.path("state/update")).expect("removed");
    assert_eq!(node.status()["alarms"][0]["kind"], "state");
    let shown = node.machine.strake(&["status"]).out;
    assert!(shown.contains("ALARM"), "{shown}");
    node.code("rollback", 0);
    assert_eq!(node.entries(), ["strake_1.0.0+3.efi", "strake_1.1.0+0.efi"]);
}

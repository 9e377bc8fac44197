//! `strake update ...` against a repository served by `strake-release serve`, on slots in files.

mod machine;
mod publisher;

use publisher::bench::{Bench, bench};
use publisher::made;

#[test]
fn a_release_is_found_installed_and_waits_for_a_reboot() {
    let Bench { node, new, .. } = &bench();
    let found = node.code("check", 0);
    assert_eq!(found, "runs 1.0.0, channel stable: install 1.1.0\n");
    let installed = node.code("install", 0);
    assert!(
        installed.starts_with("1.1.0 installed as strake_1.1.0+3.efi"),
        "{installed}"
    );
    assert!(installed.contains("40 copied, 40 fetched"), "{installed}");
    assert_eq!(node.slot("vda4")[..new.usr.len()], new.usr);
    assert_eq!(
        node.slot("vda5")[..new.tree.bytes().len()],
        *new.tree.bytes()
    );
    assert_eq!(node.entries(), ["strake_1.0.0.efi", "strake_1.1.0+3.efi"]);
    let again = node.code("install", 3);
    assert!(
        again.contains("1.1.0 is installed, reboot to use it"),
        "{again}"
    );
    let status = node.status();
    assert_eq!(status["staged"], "1.1.0");
    assert_eq!(status["operation"], "UPDATE_STATUS_UPDATED_NEED_REBOOT");
    assert_eq!(status["alarms"], serde_json::json!([]));
}

#[test]
fn a_download_changes_no_boot() {
    let Bench { node, new, .. } = &bench();
    node.code("download", 0);
    assert_eq!(node.slot("vda4")[..new.usr.len()], new.usr);
    assert_eq!(node.entries(), ["strake_1.0.0.efi", "strake_1.1.0.part"]);
    let installed = node.code("install", 0);
    assert!(
        installed.contains("80 present, 0 copied, 0 fetched"),
        "{installed}"
    );
}

#[test]
fn a_blessed_release_is_remembered_and_there_is_nothing_more_to_do() {
    let Bench { node, .. } = &Bench::updated();
    node.code("check", 3);
    let status = node.status();
    assert_eq!(
        (&status["attempt"], &status["fallback"]),
        (&serde_json::Value::Null, &"1.0.0".into())
    );
    let history = node.code("history", 0);
    let words: Vec<&str> = history
        .lines()
        .filter_map(|line| line.split("  ").nth(1))
        .collect();
    assert_eq!(words, ["installed", "blessed"], "{history}");
}

#[test]
fn nothing_is_installed_while_the_running_release_is_on_trial() {
    let Bench {
        node, publisher, ..
    } = &bench();
    node.code("install", 0);
    node.boots("1.1.0", "B", &made(2));
    node.rename_entry("strake_1.1.0+3.efi", "strake_1.1.0+2-1.efi");
    publisher.publish("1.2.0", &made(3), "");
    let refused = node.code("install", 1);
    assert!(
        refused.contains("release 1.1.0 runs and is not blessed yet"),
        "{refused}"
    );
    assert_eq!(node.entries(), ["strake_1.0.0.efi", "strake_1.1.0+2-1.efi"]);
}

#[test]
fn a_release_that_fell_back_is_refused_until_it_is_asked_for() {
    let Bench {
        node,
        publisher,
        old,
        ..
    } = &bench();
    node.code("install", 0);
    node.rename_entry("strake_1.1.0+3.efi", "strake_1.1.0+0-3.efi");
    let failure = r#"{"release":"1.1.0","entry":null,"reason":"app.service: failed","time":1}"#;
    node.machine.put("state/health/last-failure.json", failure);
    node.boots("1.0.0", "A", old);
    let explained = node.code("explain", 0);
    assert!(
        explained.contains("1.1.0: did not come up healthy here before"),
        "{explained}"
    );
    let cause = "3 boots, none healthy: not healthy: app.service: failed";
    assert_eq!(node.status()["refused"][0]["cause"], cause);
    assert!(node.code("status", 0).contains(cause));
    assert!(node.code("history", 0).contains(cause));
    node.code("install", 3);
    let refused = node.code("install 1.1.0", 1);
    assert!(
        refused.contains("release 1.1.0 is not for this machine"),
        "{refused}"
    );
    publisher.publish("1.2.0", &made(3), "");
    node.code("install", 0);
    assert_eq!(node.entries(), ["strake_1.0.0.efi", "strake_1.2.0+3.efi"]);
    node.code("retry 1.1.0", 0);
    node.code("retry 1.1.0", 3);
    node.code("install 1.1.0", 0);
}

#[test]
fn a_rollback_boots_the_older_release_and_stays_on_it() {
    let Bench { node, old, new, .. } = &Bench::updated();
    let text = node.code("rollback", 0);
    assert!(
        text.starts_with("1.0.0 is booted next, with three tries"),
        "{text}"
    );
    assert_eq!(node.entries(), ["strake_1.0.0+3.efi", "strake_1.1.0+0.efi"]);
    node.boots("1.0.0", "A", old);
    node.rename_entry("strake_1.0.0+3.efi", "strake_1.0.0.efi");
    let explained = node.code("explain", 0);
    assert!(
        explained.contains("1.1.0: this machine is pinned to 1.0.0"),
        "{explained}"
    );
    node.code("install", 3);
    assert_eq!(node.status()["refused"], serde_json::json!([]));
    node.code("unpin", 0);
    let forward = node.code("install", 0);
    assert!(
        forward.contains("80 present, 0 copied, 0 fetched"),
        "{forward}"
    );
    assert_eq!(node.entries(), ["strake_1.0.0.efi", "strake_1.1.0+3.efi"]);
    node.boots("1.1.0", "B", new);
}

#[test]
fn a_rollback_can_be_taken_back_before_the_reboot() {
    let Bench { node, .. } = &Bench::updated();
    node.code("rollback", 0);
    node.code("rollback --undo", 0);
    assert_eq!(node.entries(), ["strake_1.0.0.efi", "strake_1.1.0.efi"]);
    node.code("rollback --undo", 3);
}

#[test]
fn without_a_server_or_a_root_it_says_where_they_belong() {
    let Bench { node, .. } = &bench();
    std::fs::remove_file(node.machine.path("etc/strake/update/root.json")).expect("root");
    let refused = node.code("check", 1);
    assert!(
        refused.contains("/usr/share/strake/update/root.json"),
        "{refused}"
    );
    node.machine.put("etc/coreos/update.conf", "GROUP=stable\n");
    let off = node.code("check", 1);
    assert!(
        off.contains("updates are off: no SERVER in /etc/coreos/update.conf"),
        "{off}"
    );
    assert!(node.code("status", 0).contains("none: updates are off"));
}

#[test]
fn an_older_release_is_booted_only_by_force_or_pin_and_the_newer_one_steps_back() {
    let Bench { node, .. } = &Bench::updated();
    let refused = node.code("install 1.0.0", 1);
    assert!(refused.contains("not newer than what runs"), "{refused}");
    node.code("pin 1.0.0", 0);
    node.code("install", 0);
    assert_eq!(node.entries(), ["strake_1.0.0+3.efi", "strake_1.1.0+0.efi"]);
    // A cut between the two renames is made good.
    node.rename_entry("strake_1.1.0+0.efi", "strake_1.1.0.efi");
    node.code("settle", 0);
    assert_eq!(node.entries(), ["strake_1.0.0+3.efi", "strake_1.1.0+0.efi"]);
}

#[test]
fn the_server_is_told_how_far_a_release_came() {
    let Bench {
        node, old, server, ..
    } = &bench();
    node.code("install", 0);
    node.rename_entry("strake_1.1.0+3.efi", "strake_1.1.0+0-3.efi");
    node.boots("1.0.0", "A", old);
    node.code("settle", 0);
    let metrics = server.get("/metrics");
    for kind in ["checked", "downloading", "installed", "fell_back"] {
        let counted = format!("strake_events_total{{kind=\"{kind}\"}} 1\n");
        assert!(
            metrics.contains(&counted),
            "{counted} is not in:\n{metrics}"
        );
    }
}

/// As without root on a machine: the ESP cannot be read.
#[test]
fn what_cannot_be_read_is_said_to_be_not_known() {
    let Bench { node, .. } = &Bench::updated();
    let before = node.status();
    assert_eq!(
        (&before["blessed"], &before["fallback"]),
        (&true.into(), &"1.0.0".into())
    );
    assert_eq!(before["not_known"], serde_json::json!([]));
    std::fs::remove_dir_all(node.machine.path("efi")).expect("removed");
    let after = node.status();
    assert_eq!(after["blessed"], serde_json::Value::Null);
    let reason = after["not_known"][0].to_string();
    assert!(reason.contains("/efi/EFI/Linux"), "{reason}");
    let shown = node.code("status", 0);
    for said in [
        "1.1.0, not known whether blessed",
        "passive slot  not known",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
}

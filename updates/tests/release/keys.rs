use std::fs;

use crate::workshop::{VERIFY, Workshop, files, small};

#[test]
fn root_keys_sign_one_after_the_other_on_different_machines() {
    let workshop = Workshop::empty();
    workshop.ok("init --channel alpha --root-keys 2 --root-threshold 2");
    let away: Vec<_> = fs::read_dir(workshop.path("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("root-")
        })
        .collect();
    let vault = workshop.path("vault");
    fs::create_dir(&vault).unwrap();
    fs::rename(&away[0], vault.join("root.key")).unwrap();
    workshop.ok("refresh root");
    let text = workshop.ok("sign");
    assert!(
        text.contains("1 of the 2 signatures that root needs are valid"),
        "{text}"
    );
    let text = workshop.ok("--keys vault sign");
    assert!(
        text.contains("the keys of snapshot and timestamp are not at hand"),
        "{text}"
    );
    assert_eq!(workshop.ok("sign"), "published: root\n");
    assert!(workshop.repo().join("metadata/2.root.json").exists());
    workshop.ok("verify repo --root repo/metadata/1.root.json");
}

#[test]
fn every_role_can_be_rotated_and_old_clients_follow() {
    let workshop = Workshop::new();
    workshop.add("1.0.0", &small(1), "stable", "");
    workshop.ok("sign");
    for role in ["timestamp", "snapshot", "targets", "stable", "root"] {
        let before = files(&workshop.path("keys")).len();
        workshop.ok(&format!("rotate {role}"));
        workshop.ok("sign");
        assert_eq!(files(&workshop.path("keys")).len(), before + 1);
        workshop.ok(VERIFY);
    }
    workshop.ok("retract 1.0.0 --channel stable");
    workshop.ok("sign");
    workshop.ok(VERIFY);
}

#[test]
fn a_lost_online_key_is_replaced() {
    let workshop = Workshop::new();
    for entry in fs::read_dir(workshop.path("keys")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("timestamp-")
        {
            fs::remove_file(path).unwrap();
        }
    }
    assert!(
        workshop
            .code("refresh", 1)
            .contains("its key is not at hand")
    );
    workshop.ok("rotate timestamp");
    workshop.ok("sign");
    workshop.ok("refresh");
    workshop.ok(VERIFY);
}

#[test]
fn encrypted_keys_need_their_passphrase() {
    let workshop = Workshop::empty();
    fs::write(workshop.path("words"), "correct horse\n").unwrap();
    fs::write(workshop.path("wrong"), "wrong horse\n").unwrap();
    workshop.ok("--passphrase-file words init --channel alpha --encrypt");
    workshop.ok("refresh alpha");
    assert!(
        workshop
            .code("--passphrase-file wrong sign", 1)
            .contains("wrong passphrase")
    );
    workshop.ok("--passphrase-file words sign");
}
